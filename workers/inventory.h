/* inventory.h - what this process has that a pool could leave behind. */
#ifndef BROOD_WORKERS_INVENTORY_H
#define BROOD_WORKERS_INVENTORY_H

struct inventory {
    int descriptors, threads;
    int mappings; /* of a pool's memory */
    int names;    /* brood-… in /dev/shm */
    int children; /* 1 if there is any */
};

/* From now on orphans among this process's descendants become its children, so that none can hide. */
void inventory_begin(void);

struct inventory inventory_take(void);

/* What there is more than before. */
struct inventory inventory_more(const struct inventory *before, const struct inventory *now);

#endif
