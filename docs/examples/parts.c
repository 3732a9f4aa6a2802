/* parts.c - two functions that each take a lock, and a third that calls both under it: a recursive lock lets its owner in
 * again.  Meanwhile another thread changes the data, and no reader sees the first part of one version with the second of
 * another. */
#include <stdio.h>

#include <brood.h>

#define VERSIONS 10000

static struct {
    struct brood_rlock lock;
    int first, second; /* parts of one version: the same number */
} document;

static int get_first(void)
{
    int part = 0;

    BROOD_WITH_RLOCK (&document.lock, NULL)
        part = document.first;
    return part;
}

static int get_second(void)
{
    int part = 0;

    BROOD_WITH_RLOCK (&document.lock, NULL)
        part = document.second;
    return part;
}

/* With a plain lock the call of get_first() would wait for ever. */
static void get_all(int *ret_first, int *ret_second)
{
    BROOD_WITH_RLOCK (&document.lock, NULL) {
        *ret_first = get_first();
        *ret_second = get_second();
    }
}

static int edit(void *nothing)
{
    (void)nothing;
    for (int version = 1; version <= VERSIONS; version++) {
        BROOD_WITH_RLOCK (&document.lock, NULL) {
            document.first = version;
            document.second = version;
        }
    }
    return 0;
}

int main(void)
{
    brood_auto(thread) *editor = NULL;
    int first = 0, second = 0, mixed = 0, reads = 0;

    if (brood_thread_start(&editor, BROOD_THREAD(.run = edit, .name = "editor")) < 0)
        return 1;
    for (; second < VERSIONS; reads++) {
        get_all(&first, &second);
        mixed += first != second;
    }
    printf("read %d times, up to version %d; %d times the parts were of two versions\n", reads, second, mixed);
    return mixed == 0 ? 0 : 1;
}
