/* certificate.h - the death certificate: a crash report about a worker, in the segment.
 *
 * Before the supervisor starts a worker it puts a certificate aside for it.  A worker that faults or exceeds its time
 * limit writes there what it sees.  If the worker dies of a task, the supervisor adds how it died, names the certificate
 * in the slot's extension, and puts another one aside for the successor; the host copies it and frees it.  If there was
 * none to put aside, the worker takes one itself when it needs it, by writing its number into the certificate's state:
 * so the supervisor finds it whenever the worker dies.
 */
#ifndef BROOD_PROTO_CERTIFICATE_H
#define BROOD_PROTO_CERTIFICATE_H

#include <stdatomic.h>
#include <stddef.h>

#include <brood/base.h>

#define CERTIFICATE_NONE 0 /* else its index + 1 */
/* certificates beyond one for each worker: this many workers may die before the host collects the first */
#define CERTIFICATES_MORE 30

#define CERTIFICATE_OUTPUT 4096
#define CERTIFICATE_FRAMES_MAX 48 /* of a backtrace */

/* From WORKER on: taken by that worker, which was started without a certificate. */
enum certificate_state { CERTIFICATE_FREE, CERTIFICATE_TAKEN, CERTIFICATE_WORKER };

struct certificate {
    /* The supervisor stores TAKEN, a worker WORKER + its number, both by CAS from FREE, acquire; the process that is
     * done with it stores FREE, release, which pairs with the CAS. */
    _Alignas(64) _Atomic uint32_t state;

    /* Written by the worker, in a signal handler. */
    int32_t fault_code; /* si_code */
    uint64_t fault_address;

    /* Written by the supervisor, after the worker's death. */
    int64_t user_us, system_us, peak_rss_kib;
    uint32_t dumped_core, out_of_memory;

    char backtrace[4096 - 64]; /* worker: a line for each frame */

    char output[CERTIFICATE_OUTPUT]; /* supervisor: the tail of what the task has printed, if output is captured */
};
_Static_assert(sizeof(struct certificate) == 8192, "shared layout");

#endif
