/* fuzz.h - one fuzz target, two drivers.
 *
 * A target is a function that may do anything with the bytes but crash, hang, or leave something behind.  With
 * -DBROOD_FUZZ=ON (clang) libFuzzer calls it; in every other build fuzz/main.c does: once for each file that it is given,
 * and then for pseudo-random inputs, so that the target is an ordinary test.
 */
#ifndef BROOD_TESTS_FUZZ_H
#define BROOD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_BYTES_MAX 4096 /* that the driver makes up */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes the input from its front, and zeros when it is used up. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

static inline uint64_t fuzz_number(struct fuzz_input *input, int bytes)
{
    uint64_t number = 0;

    for (int i = 0; i < bytes; i++)
        number = number << 8 | fuzz_byte(input);
    return number;
}

#endif
