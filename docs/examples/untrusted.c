/* untrusted.c - a folder of files decoded by a decoder that cannot be trusted: it crashes, it hangs, it calls home.  Each
 * file has its outcome, and this program sees the end. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <brood.h>

/* ---- the decoder: lines of a word and a number ---- */

struct path {
    char name[64];
};

struct state {
    FILE *file;
    long *table, length, sum;
    void *room;
};

static int call_home(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0)
        return brood_fail(-errno, "no socket: %s", strerror(errno));
    close(fd);
    return 0;
}

static bool make_room(struct state *state, long bytes)
{
    free(state->room);
    state->room = malloc((size_t)bytes);
    return state->room != NULL;
}

static int decode_line(struct state *state, const char *word, long number)
{
    if (strcmp(word, "entry") == 0 && state->length < 8)
        state->table[state->length++] = number;
    else if (strcmp(word, "pick") == 0)
        state->sum += state->table[number]; /* a bug: the file may say any number */
    else if (strcmp(word, "goto") == 0)
        return fseek(state->file, number, SEEK_SET); /* another one: it may go back for ever */
    else if (strcmp(word, "room") == 0 && !make_room(state, number))
        return brood_fail(-ENOMEM, "no room for %ld bytes", number);
    else if (strcmp(word, "link") == 0)
        return call_home();
    return 0;
}

BROOD_TASK(decode, struct path, long)
{
    struct state state = {.file = fopen(arg->name, "re"), .table = (long[8]){0}};
    char word[16];
    long number;
    int r = 0;

    if (!state.file)
        return brood_fail(-errno, "%s: %s", arg->name, strerror(errno));
    while (r == 0 && fscanf(state.file, "%15s %ld", word, &number) == 2)
        r = decode_line(&state, word, number);
    fclose(state.file);
    free(state.room);
    *result = state.sum;
    return r;
}

/* ---- the folder ---- */

static const struct sample {
    const char *text;
    int outcome; /* as it should be */
} samples[] = {
    {"entry 4  entry 5  goto 27  pick 0  pick 1", 0},
    {"entry 1  pick 1000000000000000", -EOWNERDEAD},
    {"entry 7  goto 0", -ETIMEDOUT},
    {"entry 3  link 80", -EACCES},
    {"room 1000  entry 2  pick 0", 0},
    {"room 1000000000  entry 2  pick 0", -ENOMEM},
};

enum { COUNT = sizeof(samples) / sizeof(samples[0]) };

static int make_file(const struct path *path, const char *text)
{
    FILE *file = fopen(path->name, "we");

    return file && fputs(text, file) >= 0 && fclose(file) == 0 ? 0 : -errno;
}

static int make_folder(char *folder, struct path *paths)
{
    int r = mkdtemp(folder) ? 0 : -errno;

    for (int i = 0; r == 0 && i < COUNT; i++) {
        snprintf(paths[i].name, sizeof(paths[i].name), "%s/%d.txt", folder, i);
        r = make_file(&paths[i], samples[i].text);
    }
    return r;
}

static void remove_folder(const char *folder, const struct path *paths)
{
    for (int i = 0; i < COUNT; i++)
        unlink(paths[i].name);
    rmdir(folder);
}

/* ---- the host ---- */

/* One line of the list; is it what it should be? */
static int report(struct brood_future *future, const struct path *path, int expected)
{
    long sum;
    int r = brood_future_wait(future, BROOD_FOREVER);

    if (r == 0)
        r = brood_future_result(future, &sum, sizeof(sum));
    if (r == 0)
        printf("%s: %ld\n", path->name, sum);
    else
        printf("%s: %s\n", path->name, brood_future_error(future));
    return r == expected;
}

static int decode_all(struct brood_pool *pool, const struct path *paths)
{
    struct brood_future *futures[COUNT] = {NULL};
    int right = 0, r = 0;

    for (int i = 0; r == 0 && i < COUNT; i++)
        r = brood_apply_async(pool, decode, &futures[i], &paths[i]);
    for (int i = 0; i < COUNT && futures[i]; i++) {
        right += report(futures[i], &paths[i], samples[i].outcome);
        brood_future_free(futures[i]);
    }
    return r < 0 ? r : right;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    char folder[] = "/tmp/untrusted-XXXXXX";
    struct path paths[COUNT] = {{""}};
    int right = 0;

    int r = make_folder(folder, paths);
    if (r == 0) {
        const struct brood_sandbox *sandbox =
            BROOD_SANDBOX(.memory_bytes = 256 << 20, .no_network = true, .no_processes = true, .read_only = true);
        r = brood_pool_open(&pool, BROOD_POOL(.workers = 2, .sandbox = sandbox, .limit_ms = 200));
    }
    if (r == 0)
        r = right = decode_all(pool, paths);
    remove_folder(folder, paths);
    if (r == -ENOTSUP)
        return 77; /* no sandbox here */
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    printf("%d of %d files came out as they should\n", right, COUNT);
    return right == COUNT ? 0 : 1;
}
