/* available.c - how much memory the machine has, and how much the limits of control groups leave.
 *
 * A group's usage contains page cache, which the kernel drops when memory is short.  Files in memory do not count as
 * that: they can only go to the swap space.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/available.h"
#include "os/cgroup.h"

#define LOOK_EVERY (UINT64_C(16) << 20)

/* A line that begins with a word and continues with a number. */
struct memory_entry {
    const char *word;
    uint64_t number;
    bool found;
};

static void look_for(char *line, void *data)
{
    struct memory_entry *entry = data;
    size_t length = strlen(entry->word);

    if (strncmp(line, entry->word, length) != 0 || line[length] != ' ')
        return;
    entry->number = strtoull(line + length, NULL, 10);
    entry->found = true;
}

static struct memory_entry entry_find(const char *directory, const char *name, const char *word)
{
    struct memory_entry entry = {.word = word};

    brood__cgroup_lines(directory, name, look_for, &entry);
    return entry;
}

/* ---- control groups ---- */

struct memory_search {
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

/* Version 1 counts memory and swap together, if at all: the machine's swap is the bound. */
static uint64_t swap_left(const struct memory_search *search, const char *directory, int version)
{
    uint64_t limit = version == 2 ? read_bytes(directory, "memory.swap.max") : UINT64_MAX, left;

    if (limit == UINT64_MAX)
        return search->swap;
    left = left_of(limit, read_bytes(directory, "memory.swap.current"));
    return left < search->swap ? left : search->swap;
}

/* In version 1 a group's usage includes that of the groups below it, so what is subtracted must too. */
static uint64_t files_in(const char *directory, int version)
{
    const char *prefix = version == 2 ? "" : "total_";
    uint64_t bytes = 0;

    for (int active = 0; active < 2; active++) {
        char word[32];

        (void)snprintf(word, sizeof(word), "%s%s", prefix, active ? "active_file" : "inactive_file");
        bytes += entry_find(directory, "memory.stat", word).number;
    }
    return bytes;
}

static void group_look_at(const char *directory, int version, void *data)
{
    struct memory_search *search = data;
    uint64_t limit = read_bytes(directory, version == 2 ? "memory.max" : "memory.limit_in_bytes"), left;
    uint64_t used = read_bytes(directory, version == 2 ? "memory.current" : "memory.usage_in_bytes");

    if (limit == UINT64_MAX || used == UINT64_MAX)
        return;
    left = left_of(limit, left_of(used, files_in(directory, version)));
    if (!__builtin_add_overflow(left, swap_left(search, directory, version), &left) && left < search->least)
        search->least = left;
}

/* ---- the result ---- */

uint64_t brood__memory_available_to(const char *proc, const char *meminfo, const char *root)
{
    struct memory_entry machine = entry_find(meminfo, "meminfo", "MemAvailable:");
    struct memory_search search = {.least = UINT64_MAX};

    search.swap = entry_find(meminfo, "meminfo", "SwapFree:").number * 1024;
    if (machine.found)
        search.least = machine.number * 1024 + search.swap;
    brood__cgroup_each(proc, root, "memory", group_look_at, &search);
    return search.least;
}

uint64_t brood__memory_available(void)
{
    return brood__memory_available_to("/proc/self", "/proc", "");
}

bool brood__memory_has(uint64_t bytes, uint64_t *ret_available)
{
    uint64_t available = brood__memory_available();

    *ret_available = available;
    return available == UINT64_MAX || bytes <= available - available / 16;
}

bool brood__memory_allows(uint64_t from, uint64_t to, uint64_t *ret_available)
{
    return from / LOOK_EVERY == to / LOOK_EVERY ||
           brood__memory_has(to - from > LOOK_EVERY ? to - from : LOOK_EVERY, ret_available);
}
