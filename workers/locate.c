/* locate.c - finding the executable of a worker. */
#include "locate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 0: a file that may be executed.  Directories may, in the sense of access(), so they are told apart first. */
static int executable(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EACCES;
    return access(path, X_OK) < 0 ? -errno : 0;
}

static int try_in(const char *directory, size_t length, const char *name, struct location *ret_location)
{
    struct location found;
    int written = snprintf(found.path, sizeof(found.path), "%.*s/%s", (int)length, directory, name);
    int r;

    if (written < 0 || (size_t)written >= sizeof(found.path))
        return -ENAMETOOLONG;
    r = executable(found.path);
    if (r == 0)
        *ret_location = found;
    return r;
}

static int search_path(const char *name, struct location *ret_location)
{
    const char *rest = getenv("PATH");

    while (rest && *rest) {
        size_t length = strcspn(rest, ":");

        if (length > 0 && try_in(rest, length, name, ret_location) == 0)
            return 0;
        rest += length;
        rest += *rest == ':';
    }
    return -ENOENT;
}

int locate_program(const char *name, struct location *ret_location)
{
    int r;

    if (!strchr(name, '/'))
        return search_path(name, ret_location);
    if (strlen(name) >= sizeof(ret_location->path))
        return -ENAMETOOLONG;
    r = executable(name);
    if (r == 0)
        strcpy(ret_location->path, name);
    return r;
}

static int search_near_self(struct location *ret_location)
{
    static const char *const names[] = {"brood-worker", "../libexec/brood-worker", "../libexec/brood/brood-worker"};
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self));

    if (length <= 0 || (size_t)length == sizeof(self))
        return -ENOENT;
    while (length > 0 && self[length - 1] != '/')
        length--;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (try_in(self, (size_t)length - 1, names[i], ret_location) == 0)
            return 0;
    return -ENOENT;
}

int locate_brood_worker(struct location *ret_location)
{
    if (search_near_self(ret_location) == 0)
        return 0;
#ifdef BROOD_LIBEXEC_DIR
    if (try_in(BROOD_LIBEXEC_DIR, sizeof(BROOD_LIBEXEC_DIR) - 1, "brood-worker", ret_location) == 0)
        return 0;
#endif
    return search_path("brood-worker", ret_location);
}
