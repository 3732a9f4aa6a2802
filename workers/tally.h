/* tally.h - what became of the work in a storm: a count for each fate, and of what must not be the first case in words. */
#ifndef BROOD_WORKERS_TALLY_H
#define BROOD_WORKERS_TALLY_H

#include <stdint.h>

enum count {
    SUBMITTED,
    /* Its fate: one of these. */
    FINISHED,
    REFUSED, /* by the task itself, as it was told to */
    CANCELLED,
    LOST, /* with its worker */
    /* What must not be. */
    UNANSWERED,    /* no outcome in all that time */
    NOT_TAKEN,     /* could not be submitted */
    DUPLICATED,    /* began, or came to its end, more than once */
    NOT_RUN,       /* is said to have finished, and has not */
    WRONG_RESULT,  /* finished with another result */
    WRONG_OUTCOME, /* an outcome that it cannot have had */
    WRONG_DEATH,   /* lost with a process that did not die of it, nor was killed */
    OVERCHARGED,   /* lost, though the death of its worker had cost another task */
    COUNTS,
};

#define FIRST_FATE FINISHED
#define FIRST_FAULT UNANSWERED

struct tally {
    uint64_t counts[COUNTS];
    char first_fault[200]; /* in words; "" if there is none */
};

/* As a key in JSON; and as words for a table. */
const char *count_key(enum count count);
const char *count_words(enum count count);

/* Counts a fault, and keeps the words of the first. */
void tally_fault(struct tally *tally, enum count fault, const char *format, ...) __attribute__((format(printf, 3, 4)));

void tally_add(struct tally *sum, const struct tally *more);

uint64_t tally_faults(const struct tally *tally);

/* Everything that has a fate, or should have. */
uint64_t tally_fates(const struct tally *tally);

#endif
