/* tasks.h - the tasks that the tests of the pool run, in workers of every kind. */
#ifndef BROOD_TESTS_TASKS_H
#define BROOD_TESTS_TASKS_H

#include <brood.h>

struct gate {
    char path[64]; /* of a FIFO; a task that waits there makes the file PATH.here */
};

struct block {
    unsigned char bytes[1000];
};

struct wide {
    _Alignas(16) double lanes[4];
};

struct trial {
    char path[64]; /* of a file that grows by a byte each time */
    int deaths;
};

/* Few of these fit into a window of a map. */
struct large_trial {
    struct trial trial;
    char padding[1 << 19];
};

struct place {
    int pid, worker;
};

/* What each worker writes down in a file: 'b' when it begins, 'e' when it ends in good order.  The state of the worker is a
 * struct place.  Where the file NAME.fail exists, to begin fails with -ENODEV and words, and with NAME.late, it takes 50
 * ms; with NAME.slow, to end takes a second and a half.  The context is the file's name. */
int begin_diary(void *context, void **ret_state);
void end_diary(void *context, void *state);

/* How a task may end. */
enum way { RETURN, KILL_ITSELF, ABORT, EXIT_WELL, EXIT_AT_ONCE, EXIT_THREAD, ENDINGS };

/* What a worker may write over the segment of its pool. */
enum lie_kind { LIE_OTHER_WORKER, LIE_WAITS, LIE_NOBODY }; /* who runs its task, by its slot; NOBODY: nor by its own page */

/* 24 bytes: so that it lies in the slot. */
struct lie {
    char mark[16]; /* the name of a file */
    uint32_t how;  /* enum lie_kind */
    uint32_t other;
};

enum harm_kind { HARM_ZEROS, HARM_ONES, HARM_NOISE, HARM_FLIPS, HARM_WORDS };

struct harm {
    uint8_t how; /* enum harm_kind */
    uint16_t rounds;
    uint32_t offset, bytes; /* from the segment's beginning */
    uint64_t seed;
};

/* What a task prints, and what it does then. */
struct speech {
    char text[64];
    int again; /* how often after the first time; -1: not at all */
    enum { BY_STDIO, BY_WRITE, TO_STDERR } how;
    enum { AND_RETURN, AND_DIE, AND_HANG, AND_LEAVE_A_CHILD } then;
};

BROOD_TASK_DECLARE(speak, struct speech, int);
BROOD_TASK_DECLARE(speak_too, struct speech, int);
BROOD_TASK_DECLARE(be_mute, int, int);   /* closes what it could print to */
BROOD_TASK_BYTES_DECLARE(die_in_result); /* writes half of its result, as long as its argument, and hangs or dies of it */
BROOD_TASK_DECLARE(square, double, double);
BROOD_TASK_DECLARE(refuse_odd, int, int); /* an odd argument is -EDOM, with words */
BROOD_TASK_DECLARE(complain, int, int);   /* fails with so many bytes of words */
BROOD_TASK_DECLARE(rotate, struct block, struct block);
BROOD_TASK_DECLARE(halve, struct wide, struct wide);
BROOD_TASK_DECLARE(whereabouts, int, struct place);
BROOD_TASK_DECLARE(tell_state, int, struct place); /* that of the worker; -ENODATA without one */
BROOD_TASK_DECLARE(wait_at, struct gate, int);  /* returns when a process has opened the gate for writing and closed it */
BROOD_TASK_DECLARE(hang, int, int);             /* for ever, unless the argument is negative */
BROOD_TASK_DECLARE(die_by, int, int);           /* raises that signal; 0: lives */
BROOD_TASK_DECLARE(tell_time, int, int64_t);    /* raises that signal, if not 0; then says the monotonic time in ns */
BROOD_TASK_DECLARE(leave_with, int, int);       /* exits with that status */
BROOD_TASK_DECLARE(call_exit, int, int);        /* the same, with what a program does at its exit */
BROOD_TASK_DECLARE(end_somehow, int, int);      /* in one of ENDINGS ways, by the argument; 0 is to return */
BROOD_TASK_DECLARE(die_if_divisible, int, int); /* SIGKILLs its worker if 97 divides the argument */
BROOD_TASK_DECLARE(nest, int, int);             /* maps over a pool of its own */
BROOD_TASK_DECLARE(tell_time_behind, struct gate, int64_t); /* the same behind that gate, or behind none if it is empty */
BROOD_TASK_DECLARE(dig, int, int);            /* in a pool of that kind of its own, as deep as it goes; says how deep */
BROOD_TASK_DECLARE(fork_and_leave, int, int); /* forks a child that returns from the task, too */
BROOD_TASK_DECLARE(leave_a_child, int, int);  /* forks a child that sleeps, and says its process id */
BROOD_TASK_DECLARE(child_dies_by, int, int);  /* forks a child that raises that signal, and says what it died of */
BROOD_TASK_DECLARE(leave_at_term, int, int);  /* runs until SIGTERM; then exits with that status, or crashes if it is 0 */
BROOD_TASK_DECLARE(change_user, int, int);    /* the user and group of that number, which only root can */
BROOD_TASK_DECLARE(stand_in_vfork, int, int); /* for ever, where SIGKILL reaches it and SIGSTOP does not */
BROOD_TASK_DECLARE(succeed_late, int, int);   /* runs until it is asked to stop; then its argument */
BROOD_TASK_DECLARE(obey, int, int);           /* runs until it is told to stop; then -EINTR, with words */
BROOD_TASK_DECLARE(shrug, int, int);     /* runs for ever, with SIGTERM ignored and, if not 0, every signal unblocked */
BROOD_TASK_DECLARE(outlast, int, int);   /* blocks every signal, leaves it so, and returns after so many ms */
BROOD_TASK_DECLARE(use_cpu, int, int);   /* so many ms of CPU time; 0: until it is told to stop; else for ever, defying */
BROOD_TASK_DECLARE(sleep_for, int, int); /* sleeps for so many ms */
BROOD_TASK_DECLARE(block_and_die, int, int);         /* blocks every signal, and raises that one, which must be SIGKILL */
BROOD_TASK_DECLARE(defy, int, int);                  /* runs for ever, with SIGTERM blocked */
BROOD_TASK_DECLARE(overflow, int, int);              /* its stack */
BROOD_TASK_DECLARE(touch_nothing, int, int);         /* writes to address 64 */
BROOD_TASK_DECLARE(load_crash, int, int);            /* loads the module that BROOD_TEST_MODULE names */
BROOD_TASK_DECLARE(smash_stack, int, int);           /* writes over its own return address */
BROOD_TASK_DECLARE(leak, int, int);                  /* so many MiB */
BROOD_TASK_DECLARE(die_at_first, struct trial, int); /* SIGKILLs its worker so many times, then says how many it took */
BROOD_TASK_DECLARE(die_at_first_large, struct large_trial, int); /* the same */
BROOD_TASK_DECLARE(do_harm, struct harm, int);                   /* writes over the memory of its own pool */
BROOD_TASK_DECLARE(lie, struct lie, int);  /* says of its task what is not true, makes the file, and hangs */
BROOD_TASK_DECLARE(cut_segment, int, int); /* how many descriptors that process (0: itself) has to cut its pool's memory */
BROOD_TASK_DECLARE(touch_beyond, uint64_t,
                   int); /* touches the pages of its pool's segment from there on, all that are mapped */
BROOD_TASK_DECLARE(has_descriptor, int, int); /* is that one open? */
BROOD_TASK_BYTES_DECLARE(reverse);            /* the bytes of its argument, backwards */
BROOD_TASK_BYTES_DECLARE(boast);              /* promises 10 bytes, and delivers as many as its argument has */
/* Asks for room for its result several times, of the sizes in its argument, each a uint32_t, of which UINT32_MAX stands for
 * more than any result may have; writes i * 7 + 1 to byte i that is new, and fails if another one has changed. */
BROOD_TASK_BYTES_DECLARE(regrow);

#endif
