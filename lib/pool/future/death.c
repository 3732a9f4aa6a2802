#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/error.h"
#include "os/log.h"
#include "pool/future/backtrace.h"
#include "pool/future/death.h"
#include "pool/future/death_report.h"

/* In order of the items, and within an item in order of the attempts. */
struct record {
    struct record *next;
    struct brood_death death;
    /* The backtrace with names, malloc()ed, or NULL.  The first thread that asks for it writes it; several may ask at
     * once.  The writer stores by compare-and-swap, release; readers load, acquire. */
    _Atomic(char *) named;
    char task[BROOD_TASK_NAME_MAX + 1];
    char texts[]; /* the backtrace, then the output */
};

static enum brood_cause cause_of(const struct slot_extension *extension)
{
    uint32_t cause = read_once(extension->cause);

    return cause <= BROOD_TIMED_OUT_CPU ? (enum brood_cause)cause : BROOD_DIED;
}

static int outcome_of(enum brood_cause cause)
{
    if (cause == BROOD_TIMED_OUT || cause == BROOD_TIMED_OUT_CPU)
        return -ETIMEDOUT;
    return cause == BROOD_KILLED ? -ECANCELED : -EOWNERDEAD;
}

int brood__outcome_of_death(const struct answer *answer)
{
    return outcome_of(cause_of(answer->extension));
}

/* ---- messages ---- */

/* The limit that the task exceeded; NULL: none. */
static const char *limit_of(const struct brood_death *death)
{
    return death->cause == BROOD_TIMED_OUT ? "its time" : death->cause == BROOD_TIMED_OUT_CPU ? "its CPU time" : NULL;
}

static void say_late(char *to, size_t size, const char *limit)
{
    if (limit)
        (void)snprintf(to, size, ", when the task had had %s,", limit);
}

static void say_how(char *to, size_t size, const struct brood_death *death)
{
    const char *limit = limit_of(death);
    char late[64] = "";

    say_late(late, sizeof(late), limit);
    if (limit && (death->signal == SIGKILL || death->signal == SIGTERM))
        (void)snprintf(to, size, "was killed because the task had had %s", limit);
    else if (death->cause == BROOD_KILLED)
        (void)snprintf(to, size, "was killed on request");
    else if (death->signal)
        (void)snprintf(to, size, "was killed by signal %d (%s)%s%s", death->signal, strsignal(death->signal),
                       death->out_of_memory && death->signal == SIGKILL ? ", for memory" : "", late);
    else
        (void)snprintf(to, size, "exited with status %d%s", death->exit_code, late);
}

static void say_death(char *to, size_t size, const struct brood_future *future, const struct brood_death *death,
                      const char *attempt)
{
    char how[128], item[40] = "";

    say_how(how, sizeof(how), death);
    if (future->kind == FUTURE_MAP)
        (void)snprintf(item, sizeof(item), "item %llu of ", (unsigned long long)death->item);
    (void)snprintf(to, size, "worker %d (pid %d) %s while it ran %stask '%s'%s", death->worker, death->pid, how, item,
                   death->task, attempt);
}

static enum brood_log_level level_of(const struct brood_death *death)
{
    return death->cause == BROOD_DIED ? BROOD_LOG_ERROR : death->cause == BROOD_KILLED ? BROOD_LOG_INFO : BROOD_LOG_WARNING;
}

/* A thread that waits in the pool writes the log entry, without the lock. */
static void prepare_log(const struct brood_future *future, const struct brood_death *death)
{
    char words[384];

    if (!brood_log_is_on(level_of(death)))
        return;
    say_death(words, sizeof(words), future, death, "");
    brood__death_report_add(future->pool, level_of(death), words, death->backtrace);
}

/* ---- keeping ---- */

static struct record *new_record(const char *task, const struct certificate *certificate)
{
    size_t backtrace = certificate ? strnlen(certificate->backtrace, sizeof(certificate->backtrace)) : 0,
           output = certificate ? strnlen(certificate->output, sizeof(certificate->output)) : 0;
    struct record *record = calloc(1, sizeof(*record) + backtrace + 1 + output + 1);

    if (!record)
        return NULL;
    /* The name may lie in the pool header, where its terminator may be overwritten; the other texts may change their
     * length, too. */
    (void)snprintf(record->task, sizeof(record->task), "%.*s", BROOD_TASK_NAME_MAX, task);
    record->death.task = record->task;
    record->death.backtrace = record->texts;
    record->death.output = record->texts + backtrace + 1;
    if (!certificate)
        return record;
    memcpy(record->texts, certificate->backtrace, backtrace);
    memcpy(record->texts + backtrace + 1, certificate->output, output);
    record->death.user_us = certificate->user_us;
    record->death.system_us = certificate->system_us;
    record->death.peak_rss_kib = certificate->peak_rss_kib;
    record->death.dumped_core = certificate->dumped_core;
    record->death.out_of_memory = certificate->out_of_memory;
    record->death.fault_code = certificate->fault_code;
    record->death.fault_address = certificate->fault_address;
    return record;
}

static void record_enter(struct brood_future *future, struct record *record)
{
    struct record **place = &future->more.deaths;

    while (*place && (*place)->death.item <= record->death.item)
        place = &(*place)->next;
    record->next = *place;
    *place = record;
    future->more.death_count++;
}

static void free_record(struct record *record)
{
    free(atomic_load_explicit(&record->named, memory_order_relaxed));
    free(record);
}

/* Forgets the oldest death of the last item. */
static void forget_one(struct brood_future *future)
{
    struct record **place = NULL, *record;

    for (struct record **other = &future->more.deaths; *other; other = &(*other)->next)
        if (!place || (*other)->death.item != (*place)->death.item)
            place = other;
    if (!place)
        return;
    record = *place;
    *place = record->next;
    future->more.death_count--;
    free_record(record);
}

void brood__deaths_keep(struct brood_future *future, const struct answer *answer, uint64_t item, uint32_t attempt,
                        const char *task)
{
    brood__assert_locked(future->pool);
    const struct slot_extension *extension = answer->extension;
    struct record *record = new_record(task, brood__certificate(&future->pool->shared, read_once(extension->certificate)));

    if (!record)
        return;
    record->death.pid = read_once(extension->pid);
    record->death.worker = (int32_t)answer->worker;
    record->death.signal = read_once(extension->signal);
    record->death.exit_code = read_once(extension->exit_code);
    record->death.item = item;
    record->death.cause = cause_of(extension);
    record->death.attempt = attempt;
    prepare_log(future, &record->death);
    brood__future_add_more(future);
    record_enter(future, record);
    if (future->more.death_count > DEATHS_KEPT)
        forget_one(future);
}

void brood__deaths_free(struct brood_future *future)
{
    struct record *record = future->more.deaths, *next;

    for (; record; record = next) {
        next = record->next;
        free_record(record);
    }
}

/* ---- finding ---- */

static struct record *first_record(const struct brood_future *future, uint64_t item)
{
    struct record *record = future->has_more ? future->more.deaths : NULL;

    while (record && record->death.item < item)
        record = record->next;
    return record && record->death.item == item ? record : NULL;
}

static struct record *next_of(struct record *record)
{
    return record->next && record->next->death.item == record->death.item ? record->next : NULL;
}

static struct record *last_of(const struct brood_future *future, uint64_t item)
{
    struct record *last = NULL;

    for (struct record *record = first_record(future, item); record; record = next_of(record))
        last = record;
    return last;
}

bool brood__deaths_end_with(const struct brood_future *future, uint32_t attempt)
{
    const struct record *last = last_of(future, 0);

    return last && last->death.attempt == attempt;
}

static struct record *final_of(const struct brood_future *future)
{
    uint64_t item;

    return brood__future_ops(future)->lost_item(future, &item) ? last_of(future, item) : NULL;
}

bool brood__deaths_is_lost(const struct brood_future *future)
{
    return final_of(future) != NULL;
}

/* ---- reporting ---- */

/* Without retries there is nothing to report about the first attempt. */
static void say_attempt(char *to, size_t size, uint32_t attempt, bool is_quarantined)
{
    if (attempt > 1 && is_quarantined)
        (void)snprintf(to, size, ", attempt %u of %u: it is quarantined", attempt, attempt);
    else if (attempt > 1)
        (void)snprintf(to, size, ", attempt %u", attempt);
}

void brood__deaths_say(struct brood_future *future, uint64_t item, bool is_quarantined)
{
    brood__assert_locked(future->pool);
    const struct record *record = last_of(future, item);
    char words[384], attempt[64] = "";

    if (!record)
        return;
    say_attempt(attempt, sizeof(attempt), record->death.attempt, is_quarantined);
    say_death(words, sizeof(words), future, &record->death, attempt);
    brood__future_keep_message(future, words, sizeof(words));
}

bool brood__deaths_message(const struct brood_future *future, uint64_t item, int outcome, char *ret_words, size_t size)
{
    const struct record *record = last_of(future, item);

    if (!record || outcome_of(record->death.cause) != outcome)
        return false;
    say_death(ret_words, size, future, &record->death, "");
    return true;
}

/* The names are found only on demand: that takes file reads, and most readers need only the signal. */
static const char *name_frames(struct record *record)
{
    char *named = atomic_load_explicit(&record->named, memory_order_acquire), *before = NULL;

    if (named)
        return named;
    named = brood__backtrace_name(record->texts);
    if (!named ||
        atomic_compare_exchange_strong_explicit(&record->named, &before, named, memory_order_acq_rel, memory_order_acquire))
        return named ? named : record->texts;
    free(named);
    return before;
}

static void record_copy(struct record *record, struct brood_death *ret_death)
{
    *ret_death = record->death;
    ret_death->backtrace = name_frames(record);
}

int brood_future_death(const struct brood_future *future, struct brood_death *ret_death)
{
    struct record *record = future && brood__future_is_done(future) ? final_of(future) : NULL;

    if (!future)
        return brood__future_missing();
    if (!record)
        return brood_fail(-ENODATA, "no worker's death is its outcome");
    record_copy(record, ret_death);
    return 0;
}

int brood_future_deaths(const struct brood_future *future, size_t item, struct brood_death *ret_deaths, size_t count)
{
    struct record *record;
    int found = 0;

    if (!future)
        return brood__future_missing();
    if (!brood__future_is_done(future))
        return brood_fail(-EINPROGRESS, "not done yet: wait for it first");
    item = brood__future_ops(future)->item_name(future, item);
    for (record = first_record(future, item); record; record = next_of(record))
        if ((size_t)found++ < count)
            record_copy(record, &ret_deaths[found - 1]);
    return found;
}
