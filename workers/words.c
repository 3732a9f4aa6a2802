/* words.c - printing for people. */
#include "words.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define COLUMNS 79

/* The length of the first line of the text: up to the last space that lets it fit, or a word longer than a line. */
static size_t line_length(const char *text)
{
    size_t length = strlen(text);

    if (length <= COLUMNS)
        return length;
    length = COLUMNS;
    while (length > 0 && text[length] != ' ')
        length--;
    return length > 0 ? length : strcspn(text, " ");
}

void say(FILE *out, const char *format, ...)
{
    char text[1024];
    const char *rest = text;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    while (*rest) {
        size_t length = line_length(rest);

        fprintf(out, "%.*s\n", (int)length, rest);
        rest += length;
        rest += strspn(rest, " ");
    }
}

int complain(const char *name, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return -EINVAL;
}

int finish(const char *name)
{
    if (fflush(stdout) == EOF || ferror(stdout))
        return complain(name, "standard output: %s", strerror(errno));
    return 0;
}

struct phrase duration(double seconds)
{
    struct phrase phrase;

    if (seconds >= 1)
        snprintf(phrase.text, sizeof(phrase.text), "%.2f s", seconds);
    else if (seconds >= 1e-3)
        snprintf(phrase.text, sizeof(phrase.text), "%.1f ms", seconds * 1e3);
    else
        snprintf(phrase.text, sizeof(phrase.text), "%.1f us", seconds * 1e6);
    return phrase;
}

struct phrase grouped(int64_t number)
{
    struct phrase phrase;
    char *at = phrase.text + sizeof(phrase.text) - 1;
    int digits = 0;

    *at = '\0';
    do {
        if (digits > 0 && digits % 3 == 0)
            *--at = ',';
        *--at = (char)('0' + number % 10);
        digits++;
        number /= 10;
    } while (number > 0);
    memmove(phrase.text, at, strlen(at) + 1);
    return phrase;
}
