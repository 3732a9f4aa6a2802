/* words.h - printing for people: paragraphs, and complaints. */
#ifndef BROOD_WORKERS_WORDS_H
#define BROOD_WORKERS_WORDS_H

#include <stdio.h>

/* Prints a paragraph, broken into lines of at most 79 columns. */
void say(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints one line on stderr, after the program's name.  Returns -EINVAL, for a caller that has nothing to add. */
int complain(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
