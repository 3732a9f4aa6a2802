/* arguments.c - numbers among a command's arguments, and in the environment. */
#include "arguments.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <brood/pool.h>

int64_t count_arg(const struct argp_state *state, const char *option, const char *text, int64_t most)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 1 && value <= (double)most) || value != floor(value))
        argp_failure(state, USAGE, 0, "--%s '%s': give a whole number from 1 to %lld", option, text, (long long)most);
    return (int64_t)value;
}

void check_environment(const char *program)
{
    const char *text = getenv("BROOD_WORKERS");
    long value;

    if (!text || !text[0])
        return;
    value = strspn(text, "0123456789") == strlen(text) ? strtol(text, NULL, 10) : 0; /* too many digits: LONG_MAX */
    if (value >= 1 && value <= BROOD_WORKERS_MAX)
        return;
    (void)fprintf(stderr, "%s: BROOD_WORKERS '%s': give a whole number from 1 to %d, or unset it\n", program, text,
                  BROOD_WORKERS_MAX);
    exit(USAGE);
}

double real_arg(const struct argp_state *state, const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(value))
        argp_failure(state, USAGE, 0, "--%s '%s': give a number", option, text);
    return value;
}
