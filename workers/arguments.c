/* arguments.c - numbers among a command's arguments. */
#include "arguments.h"

#include <math.h>
#include <stdlib.h>

int64_t count_arg(const struct argp_state *state, const char *option, const char *text, int64_t most)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 1 && value <= (double)most) || value != floor(value))
        argp_failure(state, USAGE, 0, "--%s '%s': give a whole number from 1 to %lld", option, text, (long long)most);
    return (int64_t)value;
}

double real_arg(const struct argp_state *state, const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(value))
        argp_failure(state, USAGE, 0, "--%s '%s': give a number", option, text);
    return value;
}
