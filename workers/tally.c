/* tally.c - what became of the work in a storm. */
#include "tally.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *key, *words;
} names[COUNTS] = {
    [SUBMITTED] = {"submitted", "submitted"},
    [FINISHED] = {"finished", "finished"},
    [REFUSED] = {"refused", "refused, as told"},
    [CANCELLED] = {"cancelled", "cancelled"},
    [LOST] = {"lost", "lost with their worker"},
    [UNANSWERED] = {"unanswered", "without any outcome"},
    [NOT_TAKEN] = {"not_taken", "not taken"},
    [DUPLICATED] = {"duplicated", "run twice"},
    [NOT_RUN] = {"not_run", "finished but not run"},
    [WRONG_RESULT] = {"wrong_result", "with a wrong result"},
    [WRONG_OUTCOME] = {"wrong_outcome", "with a wrong outcome"},
    [WRONG_DEATH] = {"wrong_death", "with a wrong death"},
    [OVERCHARGED] = {"overcharged", "beyond one for each death"},
};

const char *count_key(enum count count)
{
    return names[count].key;
}

const char *count_words(enum count count)
{
    return names[count].words;
}

void tally_fault(struct tally *tally, enum count fault, const char *format, ...)
{
    va_list args;

    tally->counts[fault]++;
    if (tally->first_fault[0])
        return;
    va_start(args, format);
    vsnprintf(tally->first_fault, sizeof(tally->first_fault), format, args);
    va_end(args);
}

void tally_add(struct tally *sum, const struct tally *more)
{
    for (int i = 0; i < COUNTS; i++)
        sum->counts[i] += more->counts[i];
    if (!sum->first_fault[0])
        snprintf(sum->first_fault, sizeof(sum->first_fault), "%s", more->first_fault);
}

static uint64_t sum_of(const struct tally *tally, int from, int end)
{
    uint64_t sum = 0;

    for (int i = from; i < end; i++)
        sum += tally->counts[i];
    return sum;
}

uint64_t tally_faults(const struct tally *tally)
{
    return sum_of(tally, FIRST_FAULT, COUNTS);
}

uint64_t tally_fates(const struct tally *tally)
{
    return sum_of(tally, FIRST_FATE, FIRST_FAULT);
}
