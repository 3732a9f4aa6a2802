/* words.h - printing for people: paragraphs, and complaints. */
#ifndef BROOD_WORKERS_WORDS_H
#define BROOD_WORKERS_WORDS_H

#include <stdint.h>
#include <stdio.h>

/* Prints a paragraph, broken into lines of at most 79 columns. */
void say(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints one line on stderr, after the program's name.  Returns -EINVAL, for a caller that has nothing to add. */
int complain(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes out what standard output has in its buffer.  0; or it could not be written, now or before, and stderr says so. */
int finish(const char *name);

/* A few words, by value: to be used where they are made. */
struct phrase {
    char text[64];
};

/* "1.20 s", "3.4 ms", "5.6 us". */
struct phrase duration(double seconds);

/* 123456789 as "123,456,789".  Not negative. */
struct phrase grouped(int64_t number);

#endif
