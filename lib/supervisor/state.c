#include <signal.h>
#include <stdio.h>

#include "os/error.h"
#include "os/role.h"
#include "supervisor/state.h"

static void child_signal(const struct child *child, int signal)
{
    if (child->pidfd >= 0)
        (void)brood__pidfd_kill(child->pidfd, signal);
}

void brood__workers_signal(struct supervisor *s, int signal)
{
    for (unsigned i = 0; i < s->shared->workers; i++)
        child_signal(&s->worker_slots[i].child, signal);
    for (unsigned i = 0; i < s->standbys_wanted; i++)
        child_signal(&s->standbys[i].child, signal);
}

void brood__supervisor_break(struct supervisor *s, int error)
{
    struct header *header = s->shared->header;

    brood__assert_supervisor();
    brood__assert(error < 0);
    if (s->stopping)
        return;
    (void)snprintf(header->reason, sizeof(header->reason), "%s", brood_error());
    atomic_store_explicit(&header->error, error, memory_order_relaxed);
    brood__header_set_state(header, HEADER_BROKEN);
    s->stopping = s->broken = true;
    s->kill_at = BROOD_NOW;
    brood__workers_signal(s, SIGKILL);
    brood__wake_host(header);
}
