/* name.h - the name of a thread or process: text that anyone may read while it is changed, since no old name is freed
 * before its owner is. */
#ifndef BROOD_RUN_NAME_H
#define BROOD_RUN_NAME_H

#include <stdatomic.h>

#define NAME_MAX_BYTES 63

struct name {
    struct name *older;
    char text[NAME_MAX_BYTES + 1];
};

/* Who sets it stores with release, who reads it loads with acquire: the text is whole. */
struct names {
    struct name *_Atomic newest;
};

/* 0; -EINVAL: empty or NULL; -ENOMEM. */
int brood__name_set(struct names *names, const char *text);

/* "" before the first. */
const char *brood__name(const struct names *names);

/* By the last who may read it. */
void brood__names_free(struct names *names);

#endif
