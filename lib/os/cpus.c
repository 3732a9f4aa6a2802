/* cpus.c - the affinity mask, and the quotas of control groups. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood/pool.h>

#include "os/cgroup.h"
#include "os/cpus.h"

/* ---- quotas ---- */

struct quota_search {
    const char *root;
    bool found;
    struct brood__quota tightest;
};

static bool read_v2(const char *directory, struct brood__quota *ret_quota)
{
    char text[64], *end;

    if (!brood__cgroup_read(directory, "cpu.max", text, sizeof(text)))
        return false;
    ret_quota->quota_us = strtoll(text, &end, 10); /* "max" is not a number */
    ret_quota->period_us = strtoll(end, NULL, 10);
    return true;
}

static bool read_v1(const char *directory, struct brood__quota *ret_quota)
{
    char quota[32], period[32];

    if (!brood__cgroup_read(directory, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !brood__cgroup_read(directory, "cpu.cfs_period_us", period, sizeof(period)))
        return false;
    ret_quota->quota_us = strtoll(quota, NULL, 10); /* -1: none */
    ret_quota->period_us = strtoll(period, NULL, 10);
    return true;
}

static double cpus_of(const struct brood__quota *quota)
{
    return (double)quota->quota_us / (double)quota->period_us;
}

static void quota_look_at(const char *directory, int version, void *data)
{
    struct quota_search *search = data;
    struct brood__quota quota = {.version = version};

    if (!(version == 2 ? read_v2(directory, &quota) : read_v1(directory, &quota)))
        return;
    if (quota.quota_us <= 0 || quota.period_us <= 0)
        return;
    if (search->found && cpus_of(&quota) >= cpus_of(&search->tightest))
        return;
    (void)snprintf(quota.where, sizeof(quota.where), "%s", directory + strlen(search->root));
    search->tightest = quota;
    search->found = true;
}

bool brood__cpus_quota(const char *proc, const char *root, struct brood__quota *ret_quota)
{
    struct quota_search search = {.root = root};

    brood__cgroup_each(proc, root, "cpu", quota_look_at, &search);
    if (search.found)
        *ret_quota = search.tightest;
    return search.found;
}

/* ---- the number ---- */

/* The kernel refuses a mask with room for fewer CPUs than it was built for, whatever the machine has. */
static int affinity_of(int room)
{
    cpu_set_t *set = CPU_ALLOC((size_t)room);
    size_t size = CPU_ALLOC_SIZE((size_t)room);
    int r;

    if (!set)
        return -ENOMEM;
    r = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : -errno;
    CPU_FREE(set);
    return r;
}

/* The number of CPUs in the affinity mask, or a negative errno. */
static int affinity(void)
{
    int r = -EINVAL;

    for (int room = 1024; r == -EINVAL && room <= 1 << 20; room *= 2)
        r = affinity_of(room);
    return r;
}

static int online(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > INT_MAX ? INT_MAX : (int)n;
}

static int rounded_up(const struct brood__quota *quota)
{
    int64_t cpus = quota->quota_us / quota->period_us + (quota->quota_us % quota->period_us != 0);

    return cpus > INT_MAX ? INT_MAX : (int)cpus;
}

struct cpus {
    int in_mask; /* or a negative errno */
    int online;  /* determined only if there is no mask */
    bool limited;
    struct brood__quota quota;
};

static struct cpus cpus_count(const char *proc, const char *root)
{
    struct cpus cpus = {.in_mask = affinity()};

    if (cpus.in_mask <= 0)
        cpus.online = online();
    cpus.limited = brood__cpus_quota(proc, root, &cpus.quota);
    return cpus;
}

static int usable(const struct cpus *cpus)
{
    int n = cpus->in_mask > 0 ? cpus->in_mask : cpus->online;

    return cpus->limited && rounded_up(&cpus->quota) < n ? rounded_up(&cpus->quota) : n;
}

int brood__cpus_usable(void)
{
    struct cpus cpus = cpus_count("/proc/self", "");

    return usable(&cpus);
}

/* ---- the reason, as text ---- */

struct reason_text {
    char *at; /* NULL: the caller does not want it */
    size_t left;
};

static void reason_add(struct reason_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void reason_add(struct reason_text *text, const char *format, ...)
{
    va_list arguments;
    int length;

    if (text->left == 0)
        return;
    va_start(arguments, format);
    length = vsnprintf(text->at, text->left, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if ((size_t)length >= text->left)
        length = (int)text->left - 1;
    /* names of groups and the environment may contain any bytes; the reason is one line */
    for (int i = 0; i < length; i++)
        if (iscntrl((unsigned char)text->at[i]))
            text->at[i] = '?';
    text->at += length;
    text->left -= (size_t)length;
}

static void reason_add_quota(struct reason_text *text, const struct brood__quota *quota)
{
    reason_add(text, "; cgroup quota %.2f CPUs ", cpus_of(quota));
    if (quota->version == 2)
        reason_add(text, "(cpu.max %" PRId64 " %" PRId64, quota->quota_us, quota->period_us);
    else
        reason_add(text, "(cpu.cfs_quota_us %" PRId64 ", cpu.cfs_period_us %" PRId64, quota->quota_us, quota->period_us);
    reason_add(text, " in %s)", quota->where);
    if (quota->quota_us % quota->period_us != 0)
        reason_add(text, " rounds up to %d", rounded_up(quota));
}

static void reason_add_cpus(struct reason_text *text, const struct cpus *cpus)
{
    if (cpus->in_mask > 0)
        reason_add(text, "%d CPU%s in the affinity mask", cpus->in_mask, cpus->in_mask == 1 ? "" : "s");
    else
        reason_add(text, "%d CPU%s online, and the affinity mask cannot be read (%s)", cpus->online,
                   cpus->online == 1 ? "" : "s", strerror(-cpus->in_mask));
    if (cpus->limited)
        reason_add_quota(text, &cpus->quota);
    else
        reason_add(text, "; no cgroup quota");
}

/* The number in BROOD_WORKERS; 0: no valid one. */
static int parse_workers(const char *value)
{
    long n;
    char *end;

    if (!isdigit((unsigned char)value[0]))
        return 0;
    n = strtol(value, &end, 10);
    return *end == '\0' && n <= BROOD_WORKERS_MAX ? (int)n : 0;
}

static int cpus_least(int a, int b)
{
    return a < b ? a : b;
}

static void reason_add_wish(struct reason_text *text, const char *value, int wish, int workers)
{
    if (wish == 0)
        reason_add(text, "; BROOD_WORKERS=%.40s in the environment is ignored: it is not a number from 1 to %d", value,
                   BROOD_WORKERS_MAX);
    else if (wish > workers)
        reason_add(text, "; BROOD_WORKERS=%s in the environment would be more", value);
    else
        reason_add(text, "; BROOD_WORKERS=%s in the environment", value);
}

int brood__cpus_workers(const char *proc, const char *root, char *reason, size_t size)
{
    struct reason_text text = {.at = reason, .left = reason ? size : 0};
    const char *value = getenv("BROOD_WORKERS");
    int wish = value ? parse_workers(value) : 0;
    struct cpus cpus = cpus_count(proc, root);
    int most = cpus_least(usable(&cpus), BROOD_WORKERS_MAX), n = wish > 0 ? cpus_least(wish, most) : most;

    reason_add(&text, "%d: ", n);
    reason_add_cpus(&text, &cpus);
    if (most < usable(&cpus))
        reason_add(&text, "; a pool has at most %d workers", BROOD_WORKERS_MAX);
    if (value && *value)
        reason_add_wish(&text, value, wish, n);
    return n;
}

int brood_workers_default(char *reason, size_t size)
{
    return brood__cpus_workers("/proc/self", "", reason, size);
}
