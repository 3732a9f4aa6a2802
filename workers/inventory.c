/* inventory.c - what this process has that a pool could leave behind. */
#include "inventory.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static int count_entries(const char *path, const char *prefix)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    int count = 0;

    while (directory && (entry = readdir(directory)) != NULL)
        count += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (directory)
        closedir(directory);
    return count;
}

static int count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    int count = 0;

    while (maps && fgets(line, sizeof(line), maps))
        count += strstr(line, "/dev/shm/") || strstr(line, "/memfd:brood");
    if (maps)
        fclose(maps);
    return count;
}

/* One that has ended counts too: its parent should have reaped it. */
static int has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void inventory_begin(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

struct inventory inventory_take(void)
{
    return (struct inventory){
        .descriptors = count_entries("/proc/self/fd", ""),
        .threads = count_entries("/proc/self/task", ""),
        .mappings = count_mappings(),
        .names = count_entries("/dev/shm", "brood-"),
        .children = has_children(),
    };
}

static int more(int before, int now)
{
    return now > before ? now - before : 0;
}

struct inventory inventory_more(const struct inventory *before, const struct inventory *now)
{
    return (struct inventory){
        .descriptors = more(before->descriptors, now->descriptors),
        .threads = more(before->threads, now->threads),
        .mappings = more(before->mappings, now->mappings),
        .names = more(before->names, now->names),
        .children = more(before->children, now->children),
    };
}
