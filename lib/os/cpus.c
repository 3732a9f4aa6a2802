/* cpus.c - the affinity mask, and the quotas of control groups v1 and v2.
 *
 * /proc/self/cgroup says which group the process is in, for each hierarchy, and /proc/self/mountinfo where the hierarchies
 * are mounted and from which group downwards.  What the one names beyond what the other mounts is the directory of the
 * group; the quotas of that directory and of all above it, up to the mount, hold.
 *
 *     cgroup      4:cpu,cpuacct:/docker/abc/job
 *     mountinfo   ... /docker/abc /sys/fs/cgroup/cpu,cpuacct ... - cgroup cgroup rw,cpu,cpuacct
 *     reads       /sys/fs/cgroup/cpu,cpuacct/job and /sys/fs/cgroup/cpu,cpuacct
 */
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

#include "os/cpus.h"

/* ---- files ---- */

static FILE *open_file(const char *directory, const char *name)
{
    char path[sizeof(((struct brood__quota *)NULL)->where) + 32];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, name);

    return length < (int)sizeof(path) ? fopen(path, "re") : NULL;
}

/* The first line of a file, without its newline. */
static bool read_text(const char *directory, const char *name, char *ret_text, int size)
{
    FILE *file = open_file(directory, name);
    bool good;

    if (!file)
        return false;
    good = fgets(ret_text, size, file) != NULL;
    (void)fclose(file);
    if (good)
        ret_text[strcspn(ret_text, "\n")] = '\0';
    return good;
}

/* Calls visit(line, data) for each line of a file, without its newline; visit may write to it. */
static void each_line(const char *directory, const char *name, void (*visit)(char *line, void *data), void *data)
{
    FILE *file = open_file(directory, name);
    char *line = NULL;
    size_t room = 0;

    if (!file)
        return;
    while (getline(&line, &room, file) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        visit(line, data);
    }
    free(line);
    (void)fclose(file);
}

/* Is `word` one of the comma-separated words of `list`? */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

/* ---- which groups this process is in ---- */

struct search {
    const char *root;
    char *groups[3]; /* by version: the path of our group in the hierarchy with the CPU controller, or NULL */
    bool found;
    struct brood__quota tightest;
};

/* A line is "hierarchy:controllers:path", and the path may have colons.  Version 2 has no controllers. */
static void note_group(char *line, void *data)
{
    struct search *search = data;
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    int version;

    if (!path || path[1] != '/')
        return;
    *path++ = '\0';
    if (controllers[1] == '\0')
        version = 2;
    else if (has_word(controllers + 1, "cpu"))
        version = 1;
    else
        return;
    if (!search->groups[version])
        search->groups[version] = strdup(path);
}

/* ---- quotas ---- */

static bool read_v2(const char *directory, struct brood__quota *ret_quota)
{
    char text[64], *end;

    if (!read_text(directory, "cpu.max", text, sizeof(text)))
        return false;
    ret_quota->quota_us = strtoll(text, &end, 10); /* "max" is no number */
    ret_quota->period_us = strtoll(end, NULL, 10);
    return true;
}

static bool read_v1(const char *directory, struct brood__quota *ret_quota)
{
    char quota[32], period[32];

    if (!read_text(directory, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !read_text(directory, "cpu.cfs_period_us", period, sizeof(period)))
        return false;
    ret_quota->quota_us = strtoll(quota, NULL, 10); /* -1: none */
    ret_quota->period_us = strtoll(period, NULL, 10);
    return true;
}

static double cpus_of(const struct brood__quota *quota)
{
    return (double)quota->quota_us / (double)quota->period_us;
}

static void look_at(struct search *search, const char *directory, int version)
{
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

/* ---- where the groups are mounted ---- */

/* How many ".." a path begins with; *ret_rest is what follows them. */
static int leading_ups(const char *path, const char **ret_rest)
{
    int n = 0;

    while (strncmp(path, "/..", 3) == 0 && (path[3] == '/' || path[3] == '\0')) {
        path += 3;
        n++;
    }
    *ret_rest = path;
    return n;
}

/* What is left of `group` below `top`, the group that is mounted: "" or "/...".  NULL: the mount does not show our group.
 *
 * In a cgroup namespace both paths are relative to the namespace's root, and ".." leads out of it.  A mount that comes from
 * outside may have a top above that root; the names in between are hidden, and all that can be asked is the top itself. */
static const char *below(const char *group, const char *top)
{
    const char *group_rest, *top_rest;
    int group_ups = leading_ups(group, &group_rest), top_ups = leading_ups(top, &top_rest);
    size_t length;

    if (strcmp(top_rest, "/") == 0)
        top_rest = "";
    if (strcmp(group_rest, "/") == 0)
        group_rest = "";
    length = strlen(top_rest);
    if (top_ups == group_ups && strncmp(group_rest, top_rest, length) == 0 &&
        (group_rest[length] == '/' || group_rest[length] == '\0'))
        return group_rest + length;
    return top_ups > group_ups && length == 0 ? "" : NULL;
}

/* Looks at the group's directory and at all above it, up to where the hierarchy is mounted. */
static void climb(struct search *search, const char *mount_point, const char *rest, int version)
{
    char directory[sizeof(search->tightest.where)];
    size_t top = strlen(search->root) + strlen(mount_point);
    int length = snprintf(directory, sizeof(directory), "%s%s%s", search->root, mount_point, rest);

    if (length >= (int)sizeof(directory))
        return;
    for (;;) {
        look_at(search, directory, version);
        if (strlen(directory) <= top)
            return;
        *strrchr(directory, '/') = '\0';
    }
}

/* mountinfo writes blanks and backslashes as \ and three octal digits. */
static char *unescape(char *text)
{
    char *to = text;

    for (const char *from = text; *from; to++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && isdigit((unsigned char)from[2]) &&
            isdigit((unsigned char)from[3])) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
    return text;
}

struct mount {
    char *top;   /* the directory of the file system that is mounted */
    char *point; /* on which directory */
    char *type;
    char *options; /* of the file system: for cgroup v1 its controllers are among them */
};

/* The next word after `skip` others; NULL: the line ends before. */
static char *next_word(char **line, int skip)
{
    while (skip-- > 0)
        (void)strsep(line, " ");
    return strsep(line, " ");
}

/* A line is "id parent device top point options [more options ...] - type source options"; the source may be empty. */
static bool parse_mount(char *line, struct mount *ret_mount)
{
    char *word;

    ret_mount->top = next_word(&line, 3);
    ret_mount->point = next_word(&line, 0);
    do
        word = next_word(&line, 0);
    while (word && strcmp(word, "-") != 0);
    ret_mount->type = next_word(&line, 0);
    ret_mount->options = next_word(&line, 1);
    return ret_mount->options != NULL;
}

static int cgroup_version(const struct mount *mount)
{
    if (strcmp(mount->type, "cgroup2") == 0)
        return 2;
    return strcmp(mount->type, "cgroup") == 0 && has_word(mount->options, "cpu") ? 1 : 0;
}

/* A hierarchy may be mounted more than once; whatever mount shows our group tells the truth about it. */
static void search_mount(char *line, void *data)
{
    struct search *search = data;
    struct mount mount;
    const char *rest;
    int version;

    if (!parse_mount(line, &mount))
        return;
    version = cgroup_version(&mount);
    if (version == 0 || !search->groups[version])
        return;
    rest = below(search->groups[version], unescape(mount.top));
    if (!rest)
        return;
    unescape(mount.point);
    climb(search, strcmp(mount.point, "/") == 0 ? "" : mount.point, rest, version);
}

bool brood__cpus_quota(const char *proc, const char *root, struct brood__quota *ret_quota)
{
    struct search search = {.root = root};

    each_line(proc, "cgroup", note_group, &search);
    each_line(proc, "mountinfo", search_mount, &search);
    free(search.groups[1]);
    free(search.groups[2]);
    if (search.found)
        *ret_quota = search.tightest;
    return search.found;
}

/* ---- how many ---- */

/* The kernel refuses a mask with room for fewer CPUs than it was built to handle, whatever the machine has. */
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

/* How many CPUs are in the affinity mask, or a negative errno. */
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
    int online;  /* is asked for only if there is no mask */
    bool limited;
    struct brood__quota quota;
};

static struct cpus count(const char *proc, const char *root)
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
    struct cpus cpus = count("/proc/self", "");

    return usable(&cpus);
}

/* ---- and why ---- */

struct text {
    char *at; /* NULL: nobody wants to know */
    size_t left;
};

static void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *text, const char *format, ...)
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
    /* Names of groups and the environment may hold anything, and this is to be one line. */
    for (int i = 0; i < length; i++)
        if (iscntrl((unsigned char)text->at[i]))
            text->at[i] = '?';
    text->at += length;
    text->left -= (size_t)length;
}

static void say_quota(struct text *text, const struct brood__quota *quota)
{
    say(text, "; cgroup quota %.2f CPUs ", cpus_of(quota));
    if (quota->version == 2)
        say(text, "(cpu.max %" PRId64 " %" PRId64, quota->quota_us, quota->period_us);
    else
        say(text, "(cpu.cfs_quota_us %" PRId64 ", cpu.cfs_period_us %" PRId64, quota->quota_us, quota->period_us);
    say(text, " in %s)", quota->where);
    if (quota->quota_us % quota->period_us != 0)
        say(text, " rounds up to %d", rounded_up(quota));
}

static void say_cpus(struct text *text, const struct cpus *cpus)
{
    if (cpus->in_mask > 0)
        say(text, "%d CPU%s in the affinity mask", cpus->in_mask, cpus->in_mask == 1 ? "" : "s");
    else
        say(text, "%d CPU%s online, and the affinity mask cannot be read (%s)", cpus->online, cpus->online == 1 ? "" : "s",
            strerror(-cpus->in_mask));
    if (cpus->limited)
        say_quota(text, &cpus->quota);
    else
        say(text, "; no cgroup quota");
}

/* The number that BROOD_WORKERS holds; 0: none that makes sense. */
static int parse_workers(const char *value)
{
    long n;
    char *end;

    if (!isdigit((unsigned char)value[0]))
        return 0;
    n = strtol(value, &end, 10);
    return *end == '\0' && n <= BROOD_WORKERS_MAX ? (int)n : 0;
}

static int workers_of_machine(const char *proc, const char *root, struct text *text)
{
    struct cpus cpus = count(proc, root);
    int n = usable(&cpus) < BROOD_WORKERS_MAX ? usable(&cpus) : BROOD_WORKERS_MAX;

    say(text, "%d: ", n);
    say_cpus(text, &cpus);
    if (n < usable(&cpus))
        say(text, "; a pool has at most %d workers", BROOD_WORKERS_MAX);
    return n;
}

int brood__cpus_workers(const char *proc, const char *root, char *reason, size_t size)
{
    struct text text = {.at = reason, .left = reason ? size : 0};
    const char *value = getenv("BROOD_WORKERS");
    int n;

    if (!value || !*value)
        return workers_of_machine(proc, root, &text);
    n = parse_workers(value);
    if (n > 0) {
        say(&text, "%d: BROOD_WORKERS=%s in the environment", n, value);
        return n;
    }
    n = workers_of_machine(proc, root, &text);
    say(&text, "; BROOD_WORKERS=%.40s in the environment is ignored: it is not a number from 1 to %d", value,
        BROOD_WORKERS_MAX);
    return n;
}

int brood_workers_default(char *reason, size_t size)
{
    return brood__cpus_workers("/proc/self", "", reason, size);
}
