/* chore.h - a task for a storm: a result that can be checked, a record of which worker ran it, and for some a way to die.
 *
 * A worker marks in the chore's cell, in memory that it shares with the host, that it began and that it came to the end. So
 * the host can tell, whatever became of the worker, how often the chore ran and in which process.
 */
#ifndef BROOD_WORKERS_CHORE_H
#define BROOD_WORKERS_CHORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <brood/future.h>
#include <brood/task.h>

/* Written by workers, zeroed by the host before the chore is handed out; read by the host when it has an outcome. */
struct cell {
    _Atomic uint32_t begun, ended; /* how often */
    _Atomic int32_t pid;           /* of the worker that began it last */
    _Atomic uint32_t dying;        /* it is about to end its worker itself */
};

/* How a chore ends.  The host writes it down before; what it says of the worker's death is checked. */
enum way { WELL, REFUSE, BY_SEGV, BY_ABORT, BY_EXIT, BY_OVERFLOW, BY_KILL, WAYS };

struct chore {
    struct cell *cell; /* in brood_alloc() memory: at the same address in every forked worker */
    uint64_t salt;     /* a new one each time, so that an old result is no right one */
    uint32_t number;
    uint16_t pause_us; /* takes so long more */
    uint8_t way;       /* enum way */
};

#define LETTER_BYTES 1000 /* with the rest too much for a slot of a lane: it goes through the pool's heap */

struct letter {
    struct chore chore;
    unsigned char text[LETTER_BYTES];
};

struct reply {
    uint64_t value;
    unsigned char text[LETTER_BYTES]; /* the letter's, changed by its salt */
};

BROOD_TASK_DECLARE(chaos_chore, struct chore, uint64_t);
BROOD_TASK_DECLARE(chaos_letter, struct letter, struct reply);

/* Makes what tells which workers have begun a chore.  Before the pool is opened, for its workers to inherit it.  0 or
 * -ENOMEM. */
int chores_open(void);
void chores_close(void);

/* The process that began a chore last as that worker: it certainly was ready.  0: none did. */
pid_t chores_begun_by(int worker);

/* What a chore of that number computes, before the salt: a microsecond or so. */
uint64_t chore_value(uint32_t number);

static inline uint64_t chore_salted(uint64_t value, uint64_t salt)
{
    return value ^ salt;
}

static inline unsigned char letter_changed(unsigned char byte, uint64_t salt)
{
    return byte ^ (unsigned char)salt;
}

/* Would the worker of such a chore have died just so, by itself? */
bool way_explains(enum way way, const struct brood_death *death);

#endif
