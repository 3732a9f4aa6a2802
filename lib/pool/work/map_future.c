/* map_future.c - the operations of a map's future.  The map is NULL if it is empty. */
#include <errno.h>

#include "os/error.h"
#include "pool/work/help.h"
#include "pool/work/kill.h"
#include "pool/work/map.h"
#include "pool/work/map_future.h"

static void collect(struct brood_future *future)
{
    if (future->map)
        brood__map_collect(future->pool, future->map);
}

static struct job *job_in_lane(struct brood_future *future)
{
    return future->map ? brood__map_job(future->map) : NULL;
}

static bool is_running(struct brood_future *future)
{
    return future->map && brood__map_is_running(future->pool, future->map);
}

static int help(struct brood_future *future)
{
    return future->map ? brood__help_map(future->pool, future->map) : 0;
}

static bool cancel(struct brood_future *future)
{
    return future->map && brood__map_cancel(future->pool, future->map);
}

static int kill_parts(struct brood_future *future)
{
    return future->map ? brood__map_each(future->pool, future->map, brood__kill_running) : 0;
}

static int item_outcome(const struct brood_future *future, size_t item)
{
    return future->map ? brood__map_item(future->map, item) : brood_fail(-ERANGE, "the map has no items");
}

static uint64_t item_name(const struct brood_future *future, uint64_t item)
{
    return future->map ? brood__map_item_name(future->map, item) : item;
}

static uint64_t first_failed(const struct brood_future *future)
{
    return future->map ? brood__map_first_failed(future->map) : 0;
}

static bool lost_item(const struct brood_future *future, uint64_t *ret_item)
{
    return future->map && brood__map_lost_item(future->map, ret_item);
}

static void drop(struct brood_future *future)
{
    brood__map_free(future->map);
}

const struct future_ops brood__map_future = {
    .collect = collect,
    .job = job_in_lane,
    .is_running = is_running,
    .help = help,
    .cancel = cancel,
    .kill = kill_parts,
    .kill_first = kill_parts, /* before the host takes back its invitations */
    .item = item_outcome,
    .item_name = item_name,
    .first_failed = first_failed,
    .lost_item = lost_item,
    .drop = drop,
    .borrows_memory = true,
};
