/* process.h - the handle of a process.
 *
 * A child waits at its gate, a pipe, until its parent has a pidfd of it: until then the parent could not tell it from
 * another process with its number, if the program ignores SIGCHLD or reaps all children.  A daemon keeps the pipe as its
 * life line: it is killed when the last writer is gone, and the parent is the only one.  (A signal for the parent's
 * death, PR_SET_PDEATHSIG, comes when the forking *thread* ends.)  So whatever else this process forks closes the writing
 * ends, and all other descriptors of its parent's children, in the fork's child handler.
 */
#ifndef BROOD_RUN_PROCESS_H
#define BROOD_RUN_PROCESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <brood/process.h>

#include "run/name.h"

enum process_kind { PROCESS_SELF, PROCESS_CHILD, PROCESS_PARENT };

/* What start needs only until the child runs, or -1. */
struct gate {
    int read;         /* by the child: a byte when the parent has its pidfd */
    int parent;       /* a pidfd of the parent */
    int trouble_read; /* by the parent: an errno if the executable cannot be started */
    int trouble_write;
};

struct brood_process {
    enum process_kind kind;
    unsigned generation; /* of the process that has it: see brood__fork_generation */
    pid_t pid;
    bool daemon;
    struct names names;
    char numbers[64]; /* "1:2": its names' part of its children's names */
    /* Under brood__run_lock: */
    unsigned holders; /* handles given out, and one until it was found ended; the last one given back frees */
    int pidfd;        /* of a child or the parent; -1 while it is being started */
    int life_line;    /* the gate's writing end, or -1 */
    struct gate gate;
    bool ended, is_held_for_life; /* the latter: one of the holders is for its life, and has not been given back yet */
    int status, unknown;          /* after the end: a status, or why there is none */
    struct brood_process *next, **place; /* among the children of this process that have a holder */
};

/* Closes what is not -1, and makes it that. */
void brood__close_fd(int *fd);
void brood__close_gate(struct gate *gate);

/* ---- by process.c, for start.c ---- */

/* The handle that the next fork of this thread makes a child for: the fork's child handler leaves it alone. */
extern _Thread_local struct brood_process *brood__process_starting;

/* The next number, for its name. */
void brood__process_number(struct brood_process *process);

/* Among the children; under brood__run_lock. */
void brood__process_list(struct brood_process *process);

/* The holder that is for its life gives that back: it has been found ended, or could not be started. */
void brood__process_release_life(struct brood_process *process);

/* By one of its holders. */
void brood__process_release(struct brood_process *process);

/* True: it has ended, and its status is known as far as it can be. */
bool brood__process_has_ended(struct brood_process *process);

/* Finds out which children have ended: of all, or only of those without a handle, which no other call will look at. */
void brood__process_reap(bool all);

/* ---- by run_hooks.c ---- */

void brood__processes_init(void);
void brood__processes_after_fork(void);
void brood__processes_end(void);

/* ---- the child ---- */

/* In the child: becomes what the options say.  `process` is the handle that its parent made for it. */
_Noreturn void brood__child_main(struct brood_process *process, const struct brood_process_options *options);

/* In the child: what its parent's handle says is now its own. */
void brood__process_become(struct brood_process *process);

extern struct failure_hook brood__process_hook;

#endif
