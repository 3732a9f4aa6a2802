/* arguments.h - numbers among a command's arguments, and in the environment.  What is no such number ends the program with
 * USAGE, and words. */
#ifndef BROOD_WORKERS_ARGUMENTS_H
#define BROOD_WORKERS_ARGUMENTS_H

#include <argp.h>
#include <stdint.h>

#define USAGE 2 /* exit status for bad arguments */

/* A whole number from 1 to `most`, also as 1e8.  `option` is the option's name, for the words. */
int64_t count_arg(const struct argp_state *state, const char *option, const char *text, int64_t most);

/* The same of BROOD_WORKERS in the environment, which the library would ignore if it were no such number.  Digits only, as
 * there; none is fine. */
void check_environment(const char *program);

double real_arg(const struct argp_state *state, const char *option, const char *text);

#endif
