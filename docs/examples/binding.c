/* binding.c - how a binding to another language calls its functions: one task that is told which function to call; its
 * reply is a value, or the exception of a call that failed, either of any size.
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

static int double_text(struct brood_bytes arg, struct brood_reply *reply)
{
    char *to = brood_reply_space(reply, 2 * arg.len);

    if (!to)
        return 0;
    memcpy(to, arg.ptr, arg.len);
    memcpy(to + arg.len, arg.ptr, arg.len);
    return 0;
}

static int count_bytes(struct brood_bytes arg, struct brood_reply *reply)
{
    return brood_reply_set(reply, &arg.len, sizeof(arg.len));
}

/* Fails with a traceback as deep as the argument says: more than the line of words that brood_fail() has room for. */
static int throw(struct brood_bytes arg, struct brood_reply *reply)
{
    static const char line[] = "  in recurse(n - 1)\n";
    size_t bytes = sizeof(line) - 1;
    char number[8] = "";

    memcpy(number, arg.ptr, arg.len < sizeof(number) ? arg.len : sizeof(number) - 1);
    int depth = atoi(number);
    char *to = brood_reply_space(reply, (size_t)depth * bytes);

    for (int i = 0; to && i < depth; i++)
        memcpy(to + (size_t)i * bytes, line, bytes);
    return brood_fail(-EREMOTE, "an exception was thrown");
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
    int error; /* 0: `text` is a value; -EREMOTE: it is an exception; else brood_error() says what failed */
    size_t bytes;
    char *text; /* malloc()ed, or NULL */
};

static struct outcome take(struct brood_future *future)
{
    struct brood_bytes reply = {NULL, 0};
    struct outcome outcome = {.error = brood_future_bytes(future, &reply)};

    if (outcome.error == -EREMOTE && brood_future_error_bytes(future, &reply) < 0)
        return outcome;
    outcome.text = calloc(1, reply.len + 1);
    if (outcome.text && reply.len > 0)
        memcpy(outcome.text, reply.ptr, reply.len);
    outcome.bytes = reply.len;
    return outcome;
}

/* What the binding does for each call. */
static struct outcome call(struct brood_pool *pool, const char *name, const char *text)
{
    brood_auto(future) *future = NULL;
    size_t name_bytes = strlen(name) + 1, bytes = name_bytes + strlen(text);
    struct outcome outcome = {.error = -ENOMEM};
    char *payload = malloc(bytes);

    if (!payload)
        return outcome;
    memcpy(payload, name, name_bytes);
    memcpy(payload + name_bytes, text, bytes - name_bytes);
    int r = brood_apply_bytes_async(pool, call_by_name, &future, ((struct brood_bytes){payload, bytes}));
    free(payload); /* it has been copied */
    if (r == 0)
        r = brood_future_wait(future, BROOD_FOREVER);
    outcome = r == 0 ? take(future) : (struct outcome){.error = r};
    if (outcome.error < 0)
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

    if (count.bytes == sizeof(counted))
        memcpy(&counted, count.text, sizeof(counted));
    printf("%zu bytes\nan error of %zu bytes: %.19s ...\n", counted, thrown.bytes, thrown.text ? thrown.text : "");
    int good = counted == 393216 && thrown.error == -EREMOTE && thrown.bytes == 20000 && missing.error == -ENOENT;

    free(text);
    free(count.text);
    free(thrown.text);
    free(missing.text);
    return good ? 0 : 1;
}
