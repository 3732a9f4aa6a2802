/* name.h - the name of a thread or process: text that any thread may read while it is changed.
 *
 * A new name goes into the next of a few places, so a text that was read stays as it is until the name has been set
 * NAMES_KEPT more times.  Nothing is allocated: a thread that renames itself for each piece of work uses no more memory. */
#ifndef BROOD_RUN_NAME_H
#define BROOD_RUN_NAME_H

#include <stdatomic.h>

#define NAME_MAX_BYTES 63
#define NAMES_KEPT 8

/* `set` counts the changes: the newest name is in texts[set % NAMES_KEPT].  The setter, with brood__run_lock, stores it
 * with release after the text; pairs with the acquire of readers, which see the whole text. */
struct names {
    atomic_uint set;
    char texts[NAMES_KEPT][NAME_MAX_BYTES + 1];
};

/* 0; -EINVAL: empty or NULL.  Without brood__run_lock. */
int brood__name_set(struct names *names, const char *text);

/* "" before the first. */
const char *brood__name(const struct names *names);

#endif
