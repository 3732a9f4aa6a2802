/* main.c - runs a fuzz target as a test: fuzz_NAME [--runs N] [--seed N] [FILE...] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

static uint64_t state;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static int run_file(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "re");
    size_t size;

    if (!file) {
        perror(path);
        return EXIT_FAILURE;
    }
    size = fread(data, 1, sizeof(data), file);
    fclose(file);
    return LLVMFuzzerTestOneInput(data, size);
}

/* Small numbers are likelier than in noise: counts, states, offsets. */
static void make_up(uint8_t *data, size_t size)
{
    unsigned style = (unsigned)(next() % 3);

    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(style == 0 || next() % 4 == 0 ? next() : style == 1 ? next() % 6 : 0xff);
}

static void run_random(uint64_t seed)
{
    static uint8_t data[FUZZ_BYTES_MAX];
    size_t size;

    state = seed * 0x9e3779b97f4a7c15 + 1;
    size = next() % sizeof(data);
    make_up(data, size);
    (void)LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv)
{
    uint64_t runs = 0, seed = 1;
    int r = 0;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
            runs = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            r |= run_file(argv[i]);
    for (uint64_t i = seed; i < seed + runs; i++) {
        if ((i - seed) % 1000 == 0) { /* a search for its death begins here */
            printf("seed %llu\n", (unsigned long long)i);
            fflush(stdout);
        }
        run_random(i);
    }
    return r;
}
