/* cpus.h - how many CPUs this process may use, which is often fewer than the machine has.
 *
 * Two things limit it.  The affinity mask (taskset, cpusets, `docker run --cpuset-cpus`) says on which CPUs it may run.
 * The quotas of its control groups (`docker run --cpus`, Kubernetes limits, systemd's CPUQuota=) say how much time it
 * gets on them: with more busy processes than that, the kernel stops all of them for the rest of each period.
 *
 * brood_workers_default() of brood/pool.h makes this public.
 */
#ifndef BROOD_OS_CPUS_H
#define BROOD_OS_CPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/cgroup.h"

/* The smaller of the CPUs in the calling thread's affinity mask and those that the quotas allow, rounded up; at least 1. */
int brood__cpus_usable(void);

/* ---- for tests: the same with a file system of their own ---- */

/* The tightest quota: `quota_us` of CPU time in each `period_us`, set in the directory `where`. */
struct brood__quota {
    int64_t quota_us, period_us;
    int version; /* of control groups: 2 reads cpu.max, 1 reads cpu.cfs_quota_us and cpu.cfs_period_us */
    char where[CGROUP_PATH_MAX];
};

/* Looks for the quotas of the process whose cgroup and mountinfo files are in the directory `proc`.  Every path that
 * these name is taken to be below `root`, and `where` omits that.  False: there is none. */
bool brood__cpus_quota(const char *proc, const char *root, struct brood__quota *ret_quota);

/* brood_workers_default() of that process, but with the caller's environment and affinity mask. */
int brood__cpus_workers(const char *proc, const char *root, char *reason, size_t size);

#endif
