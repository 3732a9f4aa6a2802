/* output.h - what the tasks of a worker process print, on its way to the supervisor: the worker's side.
 *
 * Standard output and error of the worker are pipes that the supervisor reads (voice.h).  So that it knows which task a
 * text is of, the worker writes a mark between the texts of two tasks.  Between tasks that print nothing there is none: the
 * worker compares how much has ever gone into the pipe, which is what the supervisor has read and what lies there, with
 * what that was behind the last mark.
 */
#ifndef BROOD_POOL_OUTPUT_H
#define BROOD_POOL_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/lane.h"

#define OUTPUT_PIPES 2 /* at most: one for both, or standard output's and standard error's */

#define OUTPUT_NO_TASK UINT16_MAX

/* Begins with a zero byte, which texts seldom have.  A task that writes one itself lies about nobody but its worker. */
#define MARK_MAGIC "\0\036brood\036"
#define MARK_MAGIC_BYTES 8

struct mark {
    char magic[MARK_MAGIC_BYTES];
    uint16_t task; /* the board's index of what begins, or OUTPUT_NO_TASK */
    uint16_t reserved;
    uint32_t number; /* of the mark, from 1 */
};
_Static_assert(sizeof(struct mark) == 16, "what is written at once is read at once");

struct output {
    const struct station *station;
    int fds[OUTPUT_PIPES];
    unsigned pipes; /* 0: nobody listens */
    unsigned task;  /* what the last mark says */
    uint32_t number;
    uint64_t behind[OUTPUT_PIPES]; /* how much had gone into the pipe behind the last mark; UINT64_MAX: unknown */
};

/* For a worker process whose standard output, and error, are `pipes` pipes; they stay open whatever a task closes. */
void brood__output_open(struct output *ret_output, const struct station *station, unsigned pipes);

/* From here on it is this task, or none: what the one before has left in stdio's buffers is written out first. */
void brood__output_begin(struct output *output, unsigned task);

/* The task is over: what it has left in stdio's buffers is written out. */
void brood__output_end(const struct output *output);

#endif
