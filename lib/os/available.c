/* available.c - what the machine has, and what the memory limits of control groups leave.
 *
 * What a group has in use contains pages of files, which the kernel drops where memory is short.  Pages of files in memory
 * are not among these: they can only go to the swap space.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/available.h"
#include "os/cgroup.h"

/* A line that begins with a word, and goes on with a number. */
struct entry {
    const char *word;
    uint64_t number;
    bool found;
};

static void look_for(char *line, void *data)
{
    struct entry *entry = data;
    size_t length = strlen(entry->word);

    if (strncmp(line, entry->word, length) != 0 || line[length] != ' ')
        return;
    entry->number = strtoull(line + length, NULL, 10);
    entry->found = true;
}

static struct entry find_entry(const char *directory, const char *name, const char *word)
{
    struct entry entry = {.word = word};

    brood__cgroup_lines(directory, name, look_for, &entry);
    return entry;
}

/* ---- control groups ---- */

struct search {
    uint64_t swap; /* of the machine */
    uint64_t least;
};

/* "max" is no number, and none is what it means. */
static uint64_t read_bytes(const char *directory, const char *name)
{
    char text[32], *end;
    uint64_t bytes;

    if (!brood__cgroup_read(directory, name, text, sizeof(text)))
        return UINT64_MAX;
    bytes = strtoull(text, &end, 10);
    return end == text ? UINT64_MAX : bytes;
}

static uint64_t left_of(uint64_t limit, uint64_t used)
{
    return limit > used ? limit - used : 0;
}

/* Version 1 counts memory and swap space together, if at all: the machine's is what there can be. */
static uint64_t swap_left(const struct search *search, const char *directory, int version)
{
    uint64_t limit = version == 2 ? read_bytes(directory, "memory.swap.max") : UINT64_MAX, left;

    if (limit == UINT64_MAX)
        return search->swap;
    left = left_of(limit, read_bytes(directory, "memory.swap.current"));
    return left < search->swap ? left : search->swap;
}

/* What a group of version 1 has in use is also that of the groups below it; so must be what goes off it. */
static uint64_t files_in(const char *directory, int version)
{
    const char *prefix = version == 2 ? "" : "total_";
    uint64_t bytes = 0;

    for (int active = 0; active < 2; active++) {
        char word[32];

        (void)snprintf(word, sizeof(word), "%s%s", prefix, active ? "active_file" : "inactive_file");
        bytes += find_entry(directory, "memory.stat", word).number;
    }
    return bytes;
}

static void look_at(const char *directory, int version, void *data)
{
    struct search *search = data;
    uint64_t limit = read_bytes(directory, version == 2 ? "memory.max" : "memory.limit_in_bytes"), left;
    uint64_t used = read_bytes(directory, version == 2 ? "memory.current" : "memory.usage_in_bytes");

    if (limit == UINT64_MAX || used == UINT64_MAX)
        return;
    left = left_of(limit, left_of(used, files_in(directory, version)));
    if (!__builtin_add_overflow(left, swap_left(search, directory, version), &left) && left < search->least)
        search->least = left;
}

/* ---- all of it ---- */

uint64_t brood__memory_available_to(const char *proc, const char *meminfo, const char *root)
{
    struct entry machine = find_entry(meminfo, "meminfo", "MemAvailable:");
    struct search search = {.least = UINT64_MAX};

    search.swap = find_entry(meminfo, "meminfo", "SwapFree:").number * 1024;
    if (machine.found)
        search.least = machine.number * 1024 + search.swap;
    brood__cgroup_each(proc, root, "memory", look_at, &search);
    return search.least;
}

uint64_t brood__memory_available(void)
{
    return brood__memory_available_to("/proc/self", "/proc", "");
}
