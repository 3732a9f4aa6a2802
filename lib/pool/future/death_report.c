#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/future/backtrace.h"
#include "pool/future/death_report.h"

struct death_report {
    struct death_report *next;
    enum brood_log_level level;
    char words[384];
    char where[]; /* a line of a backtrace, or "" */
};

void brood__death_report_add(struct brood_pool *pool, enum brood_log_level level, const char *words, const char *backtrace)
{
    brood__assert_locked(pool);
    size_t length = strcspn(backtrace, "\n");
    struct death_report *death_report = calloc(1, sizeof(*death_report) + length + 1), **last = &pool->deaths.reports;

    if (!death_report)
        return;
    death_report->level = level;
    (void)snprintf(death_report->words, sizeof(death_report->words), "%s", words);
    memcpy(death_report->where, backtrace, length);
    while (*last)
        last = &(*last)->next;
    *last = death_report;
}

/* Omits the number of the frame. */
static void log_one(const struct death_report *death_report)
{
    char *named = brood__backtrace_name(death_report->where);
    const char *where = named ? named : death_report->where, *space = strchr(where, ' ');

    if (space)
        brood_log(death_report->level, "%s, at %s", death_report->words, space + 1);
    else
        brood_log(death_report->level, "%s", death_report->words);
    free(named);
}

bool brood__death_reports_log(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    struct death_report *death_report;
    bool any = pool->deaths.reports != NULL;

    while ((death_report = pool->deaths.reports) != NULL) {
        pool->deaths.reports = death_report->next;
        brood__unlock(&pool->lock);
        log_one(death_report);
        free(death_report);
        brood__lock(&pool->lock);
    }
    return any;
}

static bool death_report_is_due(struct brood_pool *pool)
{
    return pool->deaths.reports != NULL;
}

/* The log may be a function of the program. */
const struct deferred brood__deferred_death_reports = {
    .words = {DEFERRED_WORD(deaths.reports)},
    .is_loud = true,
    .run = brood__death_reports_log,
    .is_due = death_report_is_due,
    .runs_after_wait = true,
};
