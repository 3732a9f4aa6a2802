/* dice.h - random numbers that a seed determines (splitmix64, after Vigna).  Each thread has dice of its own. */
#ifndef BROOD_WORKERS_DICE_H
#define BROOD_WORKERS_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

static inline uint64_t dice_roll(struct dice *dice)
{
    uint64_t x = dice->state += 0x9e3779b97f4a7c15;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* 0 … sides - 1. */
static inline unsigned dice_below(struct dice *dice, unsigned sides)
{
    return (unsigned)(dice_roll(dice) % sides);
}

/* True once in so many times. */
static inline bool dice_once_in(struct dice *dice, unsigned times)
{
    return dice_below(dice, times) == 0;
}

#endif
