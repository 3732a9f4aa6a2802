/* thread_cpu.h - on which CPUs the scheduler has placed threads, and a way to move one. */
#ifndef BROOD_OS_THREAD_CPU_H
#define BROOD_OS_THREAD_CPU_H

#include <sys/types.h>

#define CPU_NONE 0xffffffffu

/* The CPU on which the calling thread runs: a load and no system call.  CPU_NONE if it cannot be found out. */
unsigned brood__cpu_here(void);

/* The CPU on which that thread runs, or waits to run; CPU_NONE: it sleeps, or the CPU is unknown. */
unsigned brood__cpu_wanted_by(pid_t tid);

/* Moves that thread to the caller's CPU, if it may run there, and leaves its affinity as it was.  A hint: never fails. */
void brood__cpu_give_to(pid_t tid);

/* Moves that thread off the caller's CPU, if it may run elsewhere, and leaves its affinity as it was.  A hint: never
 * fails. */
void brood__cpu_keep_from(pid_t tid);

#endif
