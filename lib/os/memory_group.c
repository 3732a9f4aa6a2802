#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "os/clock.h"
#include "os/error.h"
#include "os/memory_group.h"

#define PREFIX "brood."

/* What the kernel counts besides the process's own pages: page tables, stacks in the kernel, open files. */
#define KERNEL_BYTES (UINT64_C(8) << 20)

/* How long the host waits until workers that the kernel is killing have left their groups. */
#define LEAVE_NS 1000000000

/* ---- where groups can be made ---- */

struct place {
    char directory[CGROUP_PATH_MAX]; /* empty: nowhere, so far */
    int version;
    int visited; /* groups of version 2 */
};

static bool has_memory(const char *directory)
{
    char controllers[256];

    return brood__cgroup_read(directory, "cgroup.subtree_control", controllers, sizeof(controllers)) &&
           strstr(controllers, "memory") != NULL;
}

/* A file that is missing limits nothing: its controller is not enabled for the group. */
static bool limits_nothing(const char *directory)
{
    static const char *const names[] = {"memory.max", "memory.high", "memory.swap.max", "cpu.max", "pids.max"};
    char limit[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (brood__cgroup_read(directory, names[i], limit, sizeof(limit)) && strncmp(limit, "max", 3) != 0)
            return false;
    return true;
}

/* Called for the process's own group first, and then for the groups above it. */
static void place_look_at(const char *directory, int version, void *data)
{
    struct place *place = data;

    if (place->directory[0] != '\0')
        return;
    if (version == 2) {
        bool is_parent = place->visited++ == 1;

        if (place->visited > 2)
            return;
        if (!is_parent && !limits_nothing(directory))
            place->visited = 2; /* the parent would be a way out */
        if (!has_memory(directory))
            return;
    }
    place->version = version;
    (void)snprintf(place->directory, sizeof(place->directory), "%s", directory);
}

static bool place_find(struct place *ret_place)
{
    *ret_place = (struct place){.directory = ""};
    brood__cgroup_each("/proc/self", "", "memory", place_look_at, ret_place);
    return ret_place->directory[0] != '\0';
}

char *brood__memory_groups_directory(void)
{
    struct place place;

    return place_find(&place) ? strdup(place.directory) : NULL;
}

/* ---- one group ---- */

/* False: the path is too long. */
static bool path_of(char *ret_path, size_t size, const char *directory, pid_t supervisor, pid_t worker)
{
    return snprintf(ret_path, size, "%s/" PREFIX "%d.%d", directory, supervisor, worker) < (int)size;
}

/* Returns 0 or a negative errno. */
static int group_write(const char *group, const char *name, const char *text)
{
    char path[CGROUP_PATH_MAX + 32];
    int fd, r = 0;

    (void)snprintf(path, sizeof(path), "%s/%s", group, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (write(fd, text, strlen(text)) < 0)
        r = -errno;
    (void)close(fd);
    return r;
}

/* Memory that the process has for itself, and would have again if it wrote to each page after a fork. */
static uint64_t private_bytes(void)
{
    unsigned long long size, resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file && fscanf(file, "%llu %llu %llu", &size, &resident, &shared) != 3)
        resident = shared = 0;
    if (file)
        (void)fclose(file);
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int group_limit(const char *group, int version, uint64_t bytes)
{
    char text[32];
    int r;

    (void)snprintf(text, sizeof(text), "%" PRIu64, bytes);
    r = group_write(group, version == 2 ? "memory.max" : "memory.limit_in_bytes", text);
    if (r < 0)
        return r;
    /* without swap, or where it is not counted, there is no such file */
    r = group_write(group, version == 2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes", version == 2 ? "0" : text);
    return r == -ENOENT ? 0 : r;
}

int brood__memory_group_enter(uint64_t bytes)
{
    char group[CGROUP_PATH_MAX + 32];
    struct place place;
    int r;

    if (!place_find(&place) || !path_of(group, sizeof(group), place.directory, getppid(), getpid()) ||
        mkdir(group, 0755) < 0)
        return 0;
    r = group_limit(group, place.version, bytes + private_bytes() + KERNEL_BYTES);
    if (r == 0)
        r = group_write(group, "cgroup.procs", "0");
    if (r == 0)
        return 1;
    (void)rmdir(group);
    if (r == -EACCES || r == -EPERM) /* the directory may be written, but not what is in it */
        return 0;
    return brood_fail(r, "the sandbox cannot be entered: its control group %s: %s", group, strerror(-r));
}

void brood__memory_group_remove(const char *directory, pid_t supervisor, pid_t worker)
{
    char group[CGROUP_PATH_MAX + 32];

    if (path_of(group, sizeof(group), directory, supervisor, worker))
        (void)rmdir(group);
}

struct membership_search {
    const char *name;
    bool found;
};

static void group_compare(char *line, void *data)
{
    struct membership_search *search = data;
    const char *last = strrchr(line, '/');

    search->found |= last && strcmp(last + 1, search->name) == 0;
}

bool brood__memory_group_has(pid_t supervisor, pid_t worker)
{
    char name[64], proc[32];
    struct membership_search search = {.name = name};

    (void)snprintf(name, sizeof(name), PREFIX "%d.%d", supervisor, worker);
    (void)snprintf(proc, sizeof(proc), "/proc/%d", worker);
    brood__cgroup_lines(proc, "cgroup", group_compare, &search);
    return search.found;
}

/* ---- all groups ---- */

/* Calls visit(path, supervisor, data) for each group of brood's in the directory. */
static void groups_each(void (*visit)(const char *path, pid_t supervisor, void *data), void *data)
{
    struct place place;
    DIR *folder = place_find(&place) ? opendir(place.directory) : NULL;
    struct dirent *entry;

    while (folder && (entry = readdir(folder)) != NULL) {
        char path[CGROUP_PATH_MAX + 32], rest;
        int supervisor, worker;

        if (sscanf(entry->d_name, PREFIX "%d.%d%c", &supervisor, &worker, &rest) == 2 &&
            path_of(path, sizeof(path), place.directory, supervisor, worker))
            visit(path, supervisor, data);
    }
    if (folder)
        (void)closedir(folder);
}

struct removal {
    pid_t supervisor;
    bool is_left;
};

static void group_remove(const char *path, pid_t supervisor, void *data)
{
    struct removal *removal = data;

    if (supervisor == removal->supervisor && rmdir(path) < 0 && errno == EBUSY)
        removal->is_left = true;
}

/* No event says that the last process has left a group of version 1. */
void brood__memory_groups_remove(pid_t supervisor)
{
    brood_deadline deadline = brood__after_ns(LEAVE_NS);
    struct removal removal;

    do {
        removal = (struct removal){.supervisor = supervisor};
        groups_each(group_remove, &removal);
        if (removal.is_left)
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    } while (removal.is_left && !brood__is_past(deadline));
}

struct sweep {
    bool remove;
    void (*found)(void *context, const char *path, pid_t supervisor, bool is_removed);
    void *context;
};

static void note_process(char *line, void *data)
{
    (void)line;
    *(bool *)data = true;
}

static void group_sweep(const char *path, pid_t supervisor, void *data)
{
    const struct sweep *sweep = data;
    bool has_processes = false;

    if (kill(supervisor, 0) == 0 || errno != ESRCH)
        return;
    brood__cgroup_lines(path, "cgroup.procs", note_process, &has_processes);
    if (!has_processes)
        sweep->found(sweep->context, path, supervisor, sweep->remove && rmdir(path) == 0);
}

void brood__memory_groups_sweep(bool remove,
                                void (*found)(void *context, const char *path, pid_t supervisor, bool is_removed),
                                void *context)
{
    groups_each(group_sweep, &(struct sweep){remove, found, context});
}
