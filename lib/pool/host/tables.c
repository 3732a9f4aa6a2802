/* tables.c - the kinds of future and of deferred work: one entry for each. */
#include "pool/core/deferred.h"
#include "pool/future/death_report.h"
#include "pool/future/event_thread.h"
#include "pool/future/promise.h"
#include "pool/work/backlog.h"
#include "pool/work/fetch.h"
#include "pool/work/map.h"
#include "pool/work/map_window.h"
#include "pool/work/retry.h"
#include "pool/work/task_future.h"

const struct deferred *const brood__deferred[] = {
    &brood__deferred_death_reports, /* first: the program is notified of a death before its consequences */
    &brood__deferred_fetches,       /* a result that is there already */
    &brood__deferred_maps,          /* workers may have nothing to do until the host runs an idle window */
    &brood__deferred_retries,       /* tasks that were submitted long ago */
    &brood__deferred_backlog,       /* tasks that wait for room */
    &brood__deferred_calls,         /* last: a callback may take any time */
    NULL,
};

const struct future_ops *const brood__future_kinds[] = {
    [FUTURE_TASK] = &brood__task_future,
    [FUTURE_MAP] = &brood__map_future,
    [FUTURE_PROMISE] = &brood__promise_future,
};
