/* certificate.h - what is known about a worker's end, in the segment.
 *
 * The supervisor puts one aside for each worker before it starts; a worker that faults, or overruns its time, writes there
 * what it sees.  If it dies of a task, the supervisor adds how, names the certificate in the task's note and puts another
 * one aside for the successor; the host copies it and frees it.  When there is none to put aside, the worker takes one
 * itself when it has something to say, and writes its number into the state: so it is found, and not lost, whenever the
 * worker dies.
 */
#ifndef BROOD_SHM_CERTIFICATE_H
#define BROOD_SHM_CERTIFICATE_H

#include <stdatomic.h>
#include <stddef.h>

#include <brood/base.h>

#define CERTIFICATE_NONE 0   /* else its index + 1 */
#define CERTIFICATES_MORE 30 /* than there are workers: while the host has no processor, so many may die */

#define CERTIFICATE_OUTPUT 4096

/* WORKER and above: taken by that worker, which began without and has something to say. */
enum certificate_state { CERTIFICATE_FREE, CERTIFICATE_TAKEN, CERTIFICATE_WORKER };

struct certificate {
    /* TAKEN by the supervisor, WORKER + its number by a worker, by CAS; FREE by whoever is done with it.  Release /
     * acquire.
     */
    _Alignas(64) _Atomic uint32_t state;

    /* Worker, in a signal handler. */
    int32_t fault_code; /* si_code */
    uint64_t fault_address;

    /* Supervisor, behind the worker's death. */
    int64_t user_us, system_us, peak_rss_kib;
    uint32_t dumped_core, out_of_memory;

    char backtrace[4096 - 64]; /* worker: a line a frame */

    char output[CERTIFICATE_OUTPUT]; /* supervisor: the end of what the task has printed, if it is captured */
};
_Static_assert(sizeof(struct certificate) == 8192, "shared layout");

#endif
