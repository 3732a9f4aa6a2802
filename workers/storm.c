/* storm.c - work for a pool while its workers are killed. */
#include "storm.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chore.h"

#define ITEMS 20000         /* of a map */
#define ITEMS_A_DEATH 20000 /* one of so many ends its worker, or refuses */
#define TASKS 64            /* outstanding at most */
#define TASKS_A_DEATH 300
#define TASKS_A_CANCEL 16
#define TASKS_A_LETTER 8
#define BURSTS_A_LONE 2 /* one burst of so many is a single task, which takes longer */
#define LONE_US 10000
#define STUCK_MS 60000 /* an outcome that has not come by then will not come */
#define REST_ROUNDS 5  /* fewer than a pool bears if all of them hit workers that are not ready */

/* A thread that hands out work. */
struct host {
    struct storm *storm;
    struct tally *tally;
    struct dice dice;
    struct cell *cells;   /* one for each chore; shared with the workers */
    struct latency known; /* from a kill to the outcome */
};

static bool is_over(const struct storm *storm)
{
    return storm->stop || latency_now_ns() >= storm->end_ns;
}

/* ---- what is handed out ---- */

static struct chore make_chore(struct host *host, unsigned index, uint32_t number, unsigned chores_a_death)
{
    struct chore chore = {.cell = &host->cells[index], .salt = dice_roll(&host->dice), .number = number};

    if (chores_a_death > 0 && dice_once_in(&host->dice, chores_a_death))
        chore.way = (uint8_t)(REFUSE + dice_below(&host->dice, WAYS - REFUSE));
    return chore;
}

/* ---- what came of it ---- */

/* One chore with its outcome. */
struct verdict {
    const struct chore *chore;
    int outcome;
    bool cancelled;                  /* at the host's wish */
    bool right;                      /* if it finished: the result */
    const struct brood_death *death; /* NULL: nothing is known */
};

static bool was_killed(const struct storm *storm, pid_t pid)
{
    const struct account *account = ledger_account(&storm->ledger, pid);

    return account && account->kills > 0;
}

/* Did that process die of this chore, or of a kill? */
static bool death_is_true(const struct storm *storm, const struct verdict *verdict, pid_t pid)
{
    const struct chore *chore = verdict->chore;
    const struct brood_death *death = verdict->death;
    bool dying = chore->cell->dying;

    if (!death)
        return dying || was_killed(storm, pid);
    if (chore->cell->pid != 0 && chore->cell->pid != death->pid)
        return false;
    if (dying && way_explains((enum way)chore->way, death))
        return true;
    return death->signal == SIGKILL && was_killed(storm, pid);
}

/* Of an item that was lost before it began only the first one's death is known. */
static void judge_loss(const struct host *host, const struct verdict *verdict)
{
    const struct chore *chore = verdict->chore;
    const struct brood_death *death = verdict->death;
    pid_t pid = death ? death->pid : chore->cell->pid;
    struct account *account = ledger_account(&host->storm->ledger, pid);

    host->tally->counts[LOST]++;
    if (!account && !death)
        return;
    if (!account || !death_is_true(host->storm, verdict, pid))
        tally_fault(host->tally, WRONG_DEATH, "chore %u, way %d, of process %d: lost with process %d, signal %d, status %d",
                    chore->number, chore->way, chore->cell->pid, pid, death ? death->signal : 0,
                    death ? death->exit_code : 0);
    if (!account)
        return;
    if (chore->cell->dying)
        atomic_fetch_add(&account->suicides, 1);
    atomic_fetch_add(&account->lost, 1);
}

static void judge_success(const struct host *host, const struct verdict *verdict)
{
    const struct chore *chore = verdict->chore;
    const struct cell *cell = chore->cell;

    host->tally->counts[FINISHED]++;
    if (chore->way != WELL)
        tally_fault(host->tally, WRONG_OUTCOME, "chore %u finished, though it was told not to (%d)", chore->number,
                    chore->way);
    if (cell->begun == 0 || cell->ended == 0)
        tally_fault(host->tally, NOT_RUN, "chore %u finished, and began %u times and ended %u times", chore->number,
                    cell->begun, cell->ended);
    if (!verdict->right)
        tally_fault(host->tally, WRONG_RESULT, "chore %u finished with a wrong result", chore->number);
}

/* It says itself that it did not run well: is that possible? */
static void judge_failure(const struct host *host, const struct verdict *verdict, enum count fate, bool possible)
{
    const struct chore *chore = verdict->chore;

    host->tally->counts[fate]++;
    if (!possible)
        tally_fault(host->tally, WRONG_OUTCOME, "chore %u, way %d, began %u times: outcome %d", chore->number, chore->way,
                    chore->cell->begun, verdict->outcome);
}

static void judge(const struct host *host, const struct verdict *verdict)
{
    const struct chore *chore = verdict->chore;
    const struct cell *cell = chore->cell;

    if (cell->begun > 1 || cell->ended > 1)
        tally_fault(host->tally, DUPLICATED, "chore %u, outcome %d, began %u times and ended %u times", chore->number,
                    verdict->outcome, cell->begun, cell->ended);
    if (verdict->outcome == 0)
        judge_success(host, verdict);
    else if (verdict->outcome == -EOWNERDEAD)
        judge_loss(host, verdict);
    else if (verdict->outcome == -ECANCELED)
        judge_failure(host, verdict, CANCELLED, verdict->cancelled && cell->begun == 0);
    else if (verdict->outcome == -EDOM)
        judge_failure(host, verdict, REFUSED, chore->way == REFUSE && cell->ended == 1);
    else
        tally_fault(host->tally, WRONG_OUTCOME, "chore %u: outcome %d: %s", chore->number, verdict->outcome, brood_error());
}

static void give_up(struct host *host, uint64_t unanswered, const char *what)
{
    tally_fault(host->tally, UNANSWERED, "%s: no outcome after %d s", what, STUCK_MS / 1000);
    host->tally->counts[UNANSWERED] += unanswered - 1;
    host->storm->stop = true;
}

static void not_taken(struct host *host)
{
    tally_fault(host->tally, NOT_TAKEN, "could not be submitted: %s", brood_error());
    host->storm->stop = true;
}

/* ---- maps ---- */

struct map {
    struct chore *chores;
    uint64_t *results;
};

static void judge_map(struct host *host, const struct map *map, struct brood_future *future)
{
    struct brood_death death;
    bool is_known = brood_future_death(future, &death) == 0;

    for (size_t i = 0; i < ITEMS; i++) {
        const struct chore *chore = &map->chores[i];
        struct verdict verdict = {.chore = chore, .outcome = brood_future_item(future, i)};

        verdict.right = map->results[i] == chore_salted(host->storm->values[chore->number], chore->salt);
        verdict.death = is_known && death.item == i ? &death : NULL;
        judge(host, &verdict);
    }
    if (is_known && brood_future_item(future, death.item) != -EOWNERDEAD)
        tally_fault(host->tally, WRONG_DEATH, "item %d is said to be lost, and is not", (int)death.item);
}

/* One map from beginning to end. */
static void run_map(struct host *host, const struct map *map, unsigned items_a_death)
{
    struct storm *storm = host->storm;
    struct brood_future *future = NULL;
    size_t chunk = dice_once_in(&host->dice, 2) ? 0 : 1 + dice_below(&host->dice, 32);

    memset(host->cells, 0, ITEMS * sizeof(*host->cells));
    for (unsigned i = 0; i < ITEMS; i++)
        map->chores[i] = make_chore(host, i, i, items_a_death);
    if (brood_pool_map_async(storm->pool, &chaos_chore.task, &future, map->results, map->chores, ITEMS,
                             BROOD_MAP(.chunk = chunk)) < 0) {
        not_taken(host);
        return;
    }
    host->tally->counts[SUBMITTED] += ITEMS;
    if (brood_future_wait(future, brood_after_ms(STUCK_MS)) < 0) {
        give_up(host, ITEMS, "a map"); /* and leave the future: to free it would be to wait for it */
        return;
    }
    judge_map(host, map, future);
    brood_future_free(future);
}

static int open_map(struct storm *storm, bool shared, struct map *map)
{
    size_t chores = ITEMS * sizeof(*map->chores), results = ITEMS * sizeof(*map->results);

    map->chores = shared ? brood_alloc(storm->pool, chores) : malloc(chores);
    map->results = shared ? brood_alloc(storm->pool, results) : malloc(results);
    return map->chores && map->results ? 0 : -ENOMEM;
}

static void close_map(struct map *map)
{
    free(map->chores);
    free(map->results);
}

/* From arrays that are copied and from such that are shared. */
static void *run_maps(void *argument)
{
    struct host *host = argument;
    struct map own = {0}, shared = {0};

    if (open_map(host->storm, false, &own) < 0 || open_map(host->storm, true, &shared) < 0)
        not_taken(host);
    while (!is_over(host->storm))
        run_map(host, dice_once_in(&host->dice, 2) ? &own : &shared, ITEMS_A_DEATH);
    close_map(&own); /* the pool frees the others */
    return NULL;
}

/* ---- single tasks ---- */

/* One that is handed out. */
struct ticket {
    struct brood_future *future;
    struct letter letter; /* of the chore alone, where it is no letter */
    bool is_letter, cancelled;
};

static void submit(struct host *host, struct ticket *ticket, struct chore chore)
{
    const struct brood_task *task = ticket->is_letter ? &chaos_letter.task : &chaos_chore.task;
    int r;

    memset(chore.cell, 0, sizeof(*chore.cell));
    ticket->future = NULL;
    ticket->cancelled = false;
    ticket->letter.chore = chore;
    r = brood_pool_apply_async(host->storm->pool, task, &ticket->future, &ticket->letter, brood_after_ms(STUCK_MS));
    if (r < 0)
        not_taken(host);
    host->tally->counts[SUBMITTED] += r == 0;
}

static bool reply_is_right(const struct host *host, const struct ticket *ticket, const struct reply *reply)
{
    const struct chore *chore = &ticket->letter.chore;

    if (reply->value != chore_salted(host->storm->values[chore->number], chore->salt))
        return false;
    for (size_t i = 0; ticket->is_letter && i < LETTER_BYTES; i++)
        if (reply->text[i] != letter_changed(ticket->letter.text[i], chore->salt))
            return false;
    return true;
}

/* If the kill came while this thread waited for just this outcome. */
static void measure(struct host *host, const struct verdict *verdict, int64_t since_ns)
{
    int64_t now = latency_now_ns(), killed_ns;

    if (!verdict->death || verdict->death->signal != SIGKILL || verdict->chore->cell->dying)
        return;
    killed_ns = ledger_account(&host->storm->ledger, verdict->death->pid)->killed_ns;
    if (killed_ns > since_ns && killed_ns < now)
        latency_add(&host->known, now - killed_ns);
}

static void collect(struct host *host, struct ticket *ticket)
{
    struct verdict verdict = {.chore = &ticket->letter.chore, .cancelled = ticket->cancelled};
    struct brood_death death;
    struct reply reply;
    int64_t since_ns = latency_now_ns();

    if (brood_future_wait(ticket->future, brood_after_ms(STUCK_MS)) < 0) {
        give_up(host, 1, "a task");
        return;
    }
    verdict.outcome = brood_future_result(ticket->future, &reply, sizeof(reply));
    verdict.death = brood_future_death(ticket->future, &death) == 0 ? &death : NULL;
    measure(host, &verdict, since_ns);
    verdict.right = verdict.outcome == 0 && reply_is_right(host, ticket, &reply);
    if (verdict.outcome == -EOWNERDEAD && !verdict.death)
        tally_fault(host->tally, WRONG_DEATH, "chore %u was lost without a death", ticket->letter.chore.number);
    judge(host, &verdict);
    brood_future_free(ticket->future);
}

static void run_burst(struct host *host, struct ticket *tickets, unsigned count)
{
    for (unsigned i = 0; i < count && !host->storm->stop; i++) {
        tickets[i].is_letter = dice_once_in(&host->dice, TASKS_A_LETTER);
        submit(host, &tickets[i], make_chore(host, i, dice_below(&host->dice, ITEMS), TASKS_A_DEATH));
        if (tickets[i].future && dice_once_in(&host->dice, TASKS_A_CANCEL))
            tickets[i].cancelled = brood_future_cancel(tickets[i].future) == 0;
    }
    for (unsigned i = 0; i < count && !host->storm->stop; i++)
        collect(host, &tickets[i]);
}

/* Waited for alone, so that its outcome is known as soon as it is there. */
static void run_lone(struct host *host, struct ticket *ticket)
{
    struct chore chore = make_chore(host, 0, dice_below(&host->dice, ITEMS), 0);

    chore.pause_us = (uint16_t)(1 + dice_below(&host->dice, LONE_US));
    ticket->is_letter = false;
    submit(host, ticket, chore);
    if (ticket->future)
        collect(host, ticket);
}

static void *run_tasks(void *argument)
{
    struct host *host = argument;
    struct ticket *tickets = calloc(TASKS, sizeof(*tickets));

    if (!tickets)
        not_taken(host);
    for (size_t i = 0; tickets && i < TASKS * LETTER_BYTES; i++)
        tickets[i / LETTER_BYTES].letter.text[i % LETTER_BYTES] = (unsigned char)dice_roll(&host->dice);
    while (!is_over(host->storm)) {
        if (dice_once_in(&host->dice, BURSTS_A_LONE))
            run_lone(host, tickets);
        else
            run_burst(host, tickets, 1 + dice_below(&host->dice, TASKS));
    }
    free(tickets);
    return NULL;
}

/* ---- all of them ---- */

static int open_host(struct storm *storm, struct host *host, struct tally *tally, unsigned cells)
{
    *host = (struct host){.storm = storm, .tally = tally, .dice = {storm->seed + cells}};
    host->cells = brood_alloc(storm->pool, cells * sizeof(struct cell));
    return host->cells ? 0 : -ENOMEM;
}

/* Kills that find nothing to do must cost nothing: a worker that is dead when the map begins can take no item with it. */
static void kill_at_rest(struct storm *storm, struct host *host)
{
    struct map map = {0};

    host->tally = &storm->rest;
    if (open_map(storm, false, &map) < 0)
        not_taken(host);
    for (int i = 0; i < REST_ROUNDS && !storm->stop; i++) {
        storm->kills_at_rest += killer_kill_all(&storm->killer);
        run_map(host, &map, 0);
    }
    close_map(&map);
}

/* Both of them, until the storm is over. */
static int run_hosts(struct host *mapper, struct host *tasker)
{
    pthread_t maps, tasks;
    int r = -pthread_create(&maps, NULL, run_maps, mapper);

    if (r < 0)
        return r;
    r = -pthread_create(&tasks, NULL, run_tasks, tasker);
    if (r == 0)
        pthread_join(tasks, NULL);
    else
        mapper->storm->stop = true;
    pthread_join(maps, NULL);
    return r;
}

static int rage(struct storm *storm, struct host *mapper, struct host *tasker)
{
    int r;

    storm->end_ns = latency_now_ns() + storm->seconds * (int64_t)1000000000;
    storm->killer = (struct killer){
        .pool = storm->pool, .ledger = &storm->ledger, .every_ns = storm->every_ms * 1e6, .dice = {storm->seed}};
    r = killer_start(&storm->killer);
    if (r == 0) {
        r = run_hosts(mapper, tasker);
        killer_stop(&storm->killer);
    }
    if (r < 0)
        return brood_fail(r, "cannot start a thread: %s", strerror(-r));
    kill_at_rest(storm, mapper);
    return 0;
}

static int open_and_rage(struct storm *storm)
{
    struct host mapper, tasker;
    int r = open_host(storm, &mapper, &storm->maps, ITEMS);

    if (r == 0)
        r = open_host(storm, &tasker, &storm->tasks, TASKS);
    if (r < 0)
        return r;
    r = rage(storm, &mapper, &tasker);
    storm->known = latency_spread(&tasker.known);
    latency_close(&tasker.known);
    return r;
}

static int open_values(struct storm *storm)
{
    storm->values = malloc(ITEMS * sizeof(*storm->values));
    for (uint32_t i = 0; storm->values && i < ITEMS; i++)
        storm->values[i] = chore_value(i);
    return storm->values && chores_open() == 0 ? ledger_open(&storm->ledger) : -ENOMEM;
}

/* What the counts of single workers say of the whole. */
static void balance(struct storm *storm)
{
    struct balance balance = ledger_balance(&storm->ledger);
    uint64_t deaths = balance.kills + balance.suicides;

    storm->balance = balance;
    storm->lost = storm->maps.counts[LOST] + storm->tasks.counts[LOST] + storm->rest.counts[LOST];
    storm->idle = deaths > storm->lost ? deaths - storm->lost : 0;
    if (balance.overcharged > 0 || storm->lost > deaths)
        tally_fault(&storm->tasks, OVERCHARGED,
                    "%" PRIu64 " were lost in %" PRIu64 " deaths, with one worker %" PRIu64 " too many", storm->lost,
                    deaths, balance.overcharged);
    if (storm->rest.counts[LOST] > 0)
        tally_fault(&storm->rest, OVERCHARGED, "workers that had nothing to do took %" PRIu64 " items with them",
                    storm->rest.counts[LOST]);
}

int storm_run(struct storm *storm)
{
    struct inventory before, after;
    int r = open_values(storm);

    if (r < 0)
        return brood_fail(r, "out of memory");
    inventory_begin();
    before = inventory_take();
    r = brood_pool_open(&storm->pool, BROOD_POOL(.workers = storm->workers));
    if (r < 0)
        return r;
    r = open_and_rage(storm);
    storm->closed = brood_pool_close(storm->pool, storm->stop ? BROOD_NOW : brood_after_ms(STUCK_MS)) == 0;
    after = inventory_take();
    storm->leaks = inventory_more(&before, &after);
    storm->replaced = latency_spread(&storm->killer.replaced);
    killer_close(&storm->killer);
    balance(storm);
    return r;
}

bool storm_is_even(const struct storm *storm)
{
    const struct tally *const tallies[] = {&storm->maps, &storm->tasks, &storm->rest};
    const struct inventory *leaks = &storm->leaks;
    bool even = storm->closed && leaks->descriptors + leaks->mappings + leaks->names + leaks->children == 0;

    for (size_t i = 0; i < sizeof(tallies) / sizeof(tallies[0]); i++)
        even &= tally_faults(tallies[i]) == 0 && tallies[i]->counts[SUBMITTED] == tally_fates(tallies[i]);
    return even;
}

void storm_close(struct storm *storm)
{
    ledger_close(&storm->ledger);
    chores_close();
    free(storm->values);
}
