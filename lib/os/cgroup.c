/* cgroup.c - the groups of this process, of versions 1 and 2.
 *
 * /proc/self/cgroup says which group the process is in, for each hierarchy; /proc/self/mountinfo says where the
 * hierarchies are mounted, and from which group downwards.  The group's path without the mounted group's path is the
 * directory of the group below the mount; the limits of that directory, and of all above it up to the mount, apply.
 *
 *     cgroup      4:cpu,cpuacct:/docker/abc/job
 *     mountinfo   ... /docker/abc /sys/fs/cgroup/cpu,cpuacct ... - cgroup cgroup rw,cpu,cpuacct
 *     reads       /sys/fs/cgroup/cpu,cpuacct/job and /sys/fs/cgroup/cpu,cpuacct
 *
 * In a control group namespace that came without a mount of its own (unshare, a container that shows the host's /sys)
 * the names from the mount down to the namespace are hidden.  Then the group is the one whose list of processes contains
 * this process.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/cgroup.h"

/* ---- files ---- */

static FILE *group_file_open(const char *directory, const char *name)
{
    char path[CGROUP_PATH_MAX + 32];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, name);

    return length < (int)sizeof(path) ? fopen(path, "re") : NULL;
}

bool brood__cgroup_read(const char *directory, const char *name, char *ret_text, int size)
{
    FILE *file = group_file_open(directory, name);
    bool good;

    if (!file)
        return false;
    good = fgets(ret_text, size, file) != NULL;
    (void)fclose(file);
    if (good)
        ret_text[strcspn(ret_text, "\n")] = '\0';
    return good;
}

void brood__cgroup_lines(const char *directory, const char *name, void (*visit)(char *line, void *data), void *data)
{
    FILE *file = group_file_open(directory, name);
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

struct cgroup_search {
    const char *root, *controller;
    char *groups[3]; /* by version: the path of this process's group in the hierarchy with the controller, or NULL */
    void (*visit)(const char *directory, int version, void *data);
    void *data;
};

/* A line is "hierarchy:controllers:path", and the path may have colons.  Version 2 has no controllers. */
static void group_record(char *line, void *data)
{
    struct cgroup_search *search = data;
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    int version;

    if (!path || path[1] != '/')
        return;
    *path++ = '\0';
    if (controllers[1] == '\0')
        version = 2;
    else if (has_word(controllers + 1, search->controller))
        version = 1;
    else
        return;
    if (!search->groups[version])
        search->groups[version] = strdup(path);
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

/* Returns what remains of `group` below `top`, the mounted group: "" or "/...".  NULL: the mount does not show this
 * process's group, or *ret_hidden.
 *
 * In a cgroup namespace both paths are relative to the namespace's root, and ".." leads out of it.  A mount from outside
 * may have a top above that root; the names in between are hidden.
 */
static const char *below(const char *group, const char *top, bool *ret_hidden)
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
    *ret_hidden = top_ups > group_ups && length == 0;
    return NULL;
}

/* ---- a group whose name is hidden ---- */

#define DEPTH_MAX 32 /* levels of nested groups; far fewer are common */

static void note_us(char *line, void *data)
{
    bool *found = data;

    *found |= strtol(line, NULL, 10) == getpid();
}

static bool are_we_in(const char *directory)
{
    bool found = false;

    brood__cgroup_lines(directory, "cgroup.procs", note_us, &found);
    return found;
}

/* Looks for the group that lists this process: the directory itself or one below it, whose path replaces it. */
static bool find_us(char directory[CGROUP_PATH_MAX], int depth)
{
    size_t length = strlen(directory);
    bool found = are_we_in(directory);
    struct dirent *entry;
    DIR *folder = found || depth == DEPTH_MAX ? NULL : opendir(directory);

    while (folder && !found && (entry = readdir(folder)) != NULL) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || length + strlen(entry->d_name) + 2 > CGROUP_PATH_MAX)
            continue;
        (void)snprintf(directory + length, CGROUP_PATH_MAX - length, "/%s", entry->d_name);
        found = find_us(directory, depth + 1);
        if (!found)
            directory[length] = '\0';
    }
    if (folder)
        (void)closedir(folder);
    return found;
}

/* ---- visiting ---- */

/* Visits a directory and all above it, up to the mount, whose path has `top` bytes. */
static void climb(struct cgroup_search *search, char *directory, size_t top, int version)
{
    for (;;) {
        search->visit(directory, version, search->data);
        if (strlen(directory) <= top)
            return;
        *strrchr(directory, '/') = '\0';
    }
}

/* `rest` is the group below the mount; NULL: search for it. */
static void look_below(struct cgroup_search *search, const char *mount_point, const char *rest, int version)
{
    char directory[CGROUP_PATH_MAX];
    size_t top = strlen(search->root) + strlen(mount_point);
    int length = snprintf(directory, sizeof(directory), "%s%s%s", search->root, mount_point, rest ? rest : "");

    if (length >= (int)sizeof(directory))
        return;
    if (!rest)
        (void)find_us(directory, 0); /* without it, only the top is known to be above this process */
    climb(search, directory, top, version);
}

/* mountinfo escapes blanks and backslashes as \ and three octal digits. */
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
    char *point; /* the directory where it is mounted */
    char *type;
    char *options; /* of the file system: for cgroup v1 they include its controllers */
};

/* The next word after `skip` others; NULL: the line ends before it. */
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

static int cgroup_version(const struct mount *mount, const char *controller)
{
    if (strcmp(mount->type, "cgroup2") == 0)
        return 2;
    return strcmp(mount->type, "cgroup") == 0 && has_word(mount->options, controller) ? 1 : 0;
}

/* A hierarchy may be mounted more than once; any mount that shows the group will do. */
static void search_mount(char *line, void *data)
{
    struct cgroup_search *search = data;
    struct mount mount;
    bool hidden = false;
    const char *rest;
    int version;

    if (!parse_mount(line, &mount))
        return;
    version = cgroup_version(&mount, search->controller);
    if (version == 0 || !search->groups[version])
        return;
    rest = below(search->groups[version], unescape(mount.top), &hidden);
    if (!rest && !hidden)
        return;
    unescape(mount.point);
    look_below(search, strcmp(mount.point, "/") == 0 ? "" : mount.point, rest, version);
}

void brood__cgroup_each(const char *proc, const char *root, const char *controller,
                        void (*visit)(const char *directory, int version, void *data), void *data)
{
    struct cgroup_search search = {.root = root, .controller = controller, .visit = visit, .data = data};

    brood__cgroup_lines(proc, "cgroup", group_record, &search);
    brood__cgroup_lines(proc, "mountinfo", search_mount, &search);
    free(search.groups[1]);
    free(search.groups[2]);
}
