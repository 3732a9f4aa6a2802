/* binding.c - how a binding to another language calls its functions: one task that is told which, and a reply that is a
 * value or an error, either of any size.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <brood.h>

/* What the other language has: functions that C knows by their names in a string alone. */
struct function {
    const char *name;
    int (*call)(struct brood_bytes arg, struct brood_reply *reply);
};

/* A reply begins with what it is.  What the other language has thrown is a reply, too: brood_fail() carries a line of
 * words, and no traceback.  The task has failed, for brood, only if there is no reply. */
enum { VALUE = 'v', ERROR = 'e' };

/* Where the rest of the reply goes; NULL: there is no memory for it, and the reply knows that. */
static char *begin(struct brood_reply *reply, char what, size_t size)
{
    char *to = brood_reply_space(reply, 1 + size);

    if (to)
        *to++ = what;
    return to;
}

static int double_text(struct brood_bytes arg, struct brood_reply *reply)
{
    char *to = begin(reply, VALUE, 2 * arg.len);

    if (!to)
        return 0;
    memcpy(to, arg.ptr, arg.len);
    memcpy(to + arg.len, arg.ptr, arg.len);
    return 0;
}

static int count_bytes(struct brood_bytes arg, struct brood_reply *reply)
{
    char *to = begin(reply, VALUE, sizeof(arg.len));

    if (to)
        memcpy(to, &arg.len, sizeof(arg.len));
    return 0;
}

/* As deep as the argument says. */
static int throw(struct brood_bytes arg, struct brood_reply *reply)
{
    static const char line[] = "  in recurse(n - 1)\n";
    size_t bytes = sizeof(line) - 1;
    char number[8] = "";

    memcpy(number, arg.ptr, arg.len < sizeof(number) ? arg.len : sizeof(number) - 1);
    int depth = atoi(number);
    char *to = begin(reply, ERROR, (size_t)depth * bytes);

    for (int i = 0; to && i < depth; i++)
        memcpy(to + (size_t)i * bytes, line, bytes);
    return 0;
}

static const struct function functions[] = {{"double_text", double_text}, {"count_bytes", count_bytes}, {"throw", throw}};

static const struct function *find(const char *name)
{
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}

/* The argument is the name, a zero byte, and what the function gets. */
BROOD_TASK_BYTES(call_by_name, BROOD_ANY_SIZE)
{
    const char *name = arg.ptr, *end = memchr(name, '\0', arg.len);
    const struct function *function = end ? find(name) : NULL;

    if (!function)
        return brood_fail(-ENOENT, "no such function");
    return function->call((struct brood_bytes){end + 1, arg.len - (size_t)(end + 1 - name)}, reply);
}

struct outcome {
    char what; /* VALUE, ERROR, or 0: the runtime's own, in brood_error() */
    size_t bytes;
    char *text; /* malloc()ed */
};

static int take(struct brood_future *future, struct outcome *ret_outcome)
{
    struct brood_bytes reply;
    int r = brood_future_bytes(future, &reply);
    const char *from = reply.ptr;

    if (r < 0)
        return r;
    *ret_outcome = (struct outcome){from[0], reply.len - 1, malloc(reply.len)};
    if (!ret_outcome->text)
        return -ENOMEM;
    memcpy(ret_outcome->text, from + 1, reply.len - 1);
    ret_outcome->text[reply.len - 1] = '\0';
    return 0;
}

/* What the binding does for each call. */
static struct outcome call(struct brood_pool *pool, const char *name, const char *text)
{
    brood_auto(future) *future = NULL;
    size_t name_bytes = strlen(name) + 1, bytes = name_bytes + strlen(text);
    struct outcome outcome = {.what = 0};
    char *payload = malloc(bytes);

    if (!payload)
        return outcome;
    memcpy(payload, name, name_bytes);
    memcpy(payload + name_bytes, text, bytes - name_bytes);
    int r = brood_apply_bytes_async(pool, call_by_name, &future, ((struct brood_bytes){payload, bytes}));
    free(payload); /* it has been copied */
    if (r == 0)
        r = brood_future_wait(future, BROOD_FOREVER);
    if (r == 0)
        r = take(future, &outcome);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", name, brood_error());
    return outcome;
}

/* Up to 393216 bytes; NULL if anything fails. */
static char *grow(struct brood_pool *pool)
{
    char *text = strdup("brood ");

    for (int i = 0; i < 16 && text; i++) {
        struct outcome twice = call(pool, "double_text", text);

        free(text);
        text = twice.text;
    }
    return text;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    size_t counted = 0;

    if (brood_pool_open(&pool, BROOD_POOL(.workers = 2)) < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    char *text = grow(pool);
    struct outcome count = call(pool, "count_bytes", text ? text : "");
    struct outcome thrown = call(pool, "throw", "1000");
    struct outcome missing = call(pool, "no such", "");

    if (count.what == VALUE)
        memcpy(&counted, count.text, sizeof(counted));
    printf("%zu bytes\nan error of %zu bytes: %.19s ...\n", counted, thrown.bytes, thrown.text ? thrown.text : "");
    int good = counted == 393216 && thrown.what == ERROR && thrown.bytes == 20000 && missing.what == 0;

    free(text);
    free(count.text);
    free(thrown.text);
    return good ? 0 : 1;
}
