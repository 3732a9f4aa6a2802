/* stepper.h - another process, one instruction at a time, by ptrace(2): to be killed between any two.
 *
 *     struct stepper stepper;
 *
 *     stepper_seize(&stepper, pid);               // where it sleeps: in a futex, or waiting for descriptors
 *     publish_something();                        // it would wake up now, and does with the first step
 *     while (stepper.steps < k && stepper_step(&stepper))
 *         ;
 *     stepper_kill(&stepper);
 *
 * A step is one instruction; a system call is one, too, the kernel's part included.  All calls have to come from one
 * thread.
 */
#ifndef BROOD_TESTS_STEPPER_H
#define BROOD_TESTS_STEPPER_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stepper {
    pid_t pid;
    unsigned long steps;       /* that it has made */
    bool was_call;             /* the last one was a system call */
    bool is_asleep;            /* the last one has not come to an end: it sleeps in the kernel again */
    bool goes_on;              /* the next one goes on with the call that it was found in */
    unsigned long instruction; /* where it is now */
    cpu_set_t processors;      /* of the caller, who shares one of them with it meanwhile */
};

/* May this process step others?  Not where ptrace is denied, nor on processors that it knows nothing of. */
bool stepper_is_possible(void);

/* Stops a process that sleeps. */
void stepper_seize(struct stepper *ret_stepper, pid_t pid);

/* The same for a process that is not there yet.  `parent` runs on its own, and is let go when it has forked: then the child
 * has not made a step. */
void stepper_watch_parent(pid_t parent);
void stepper_seize_child(struct stepper *ret_stepper, pid_t parent);

/* One step; false if it has gone to sleep instead, in a call that may last for ever, or if the next one would be its last.
 */
bool stepper_step(struct stepper *stepper);

/* Waits until the call that it sleeps in has returned, which somebody has seen to. */
void stepper_await(struct stepper *stepper);

/* Kills it where it is and waits until that is done.  The second form leaves it to be reaped by its parent, who is the
 * caller. */
void stepper_kill(struct stepper *stepper);
void stepper_kill_child(struct stepper *stepper);

/* Lets it go on by itself, if it is still there. */
void stepper_release(struct stepper *stepper);

/* In which function that is, as far as it is known to someone.  Text that lives until the next call. */
const char *stepper_where(const struct stepper *stepper);

#endif
