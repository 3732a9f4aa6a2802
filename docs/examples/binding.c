/* binding.c - how a binding to another language calls its functions: one task that is told which, and results of any size.
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
        return 0; /* the reply knows why */
    memcpy(to, arg.ptr, arg.len);
    memcpy(to + arg.len, arg.ptr, arg.len);
    return 0;
}

static int count_bytes(struct brood_bytes arg, struct brood_reply *reply)
{
    return brood_reply_set(reply, &arg.len, sizeof(arg.len));
}

static const struct function functions[] = {{"double_text", double_text}, {"count_bytes", count_bytes}};

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

/* What the binding does for each call.  The result is malloc()ed, and as large as it is. */
static char *call(struct brood_pool *pool, const char *name, const char *text, size_t *ret_bytes)
{
    brood_auto(future) *future = NULL;
    size_t name_bytes = strlen(name) + 1, bytes = name_bytes + strlen(text);
    char *payload = malloc(bytes), *result = NULL;

    if (!payload)
        return NULL;
    memcpy(payload, name, name_bytes);
    memcpy(payload + name_bytes, text, bytes - name_bytes);
    int r = brood_apply_bytes_async(pool, call_by_name, &future, ((struct brood_bytes){payload, bytes}));
    free(payload); /* it has been copied */
    if (r == 0)
        r = brood_future_wait(future, BROOD_FOREVER);
    if (r == 0) {
        *ret_bytes = brood_future_size(future);
        result = malloc(*ret_bytes + 1);
        r = result ? brood_future_result(future, result, *ret_bytes) : -ENOMEM;
    }
    if (r == 0)
        return result;
    fprintf(stderr, "%s: %s\n", name, brood_error());
    free(result);
    return NULL;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    size_t bytes = 0;
    char *text = strdup("brood ");

    if (brood_pool_open(&pool, BROOD_POOL(.workers = 2)) < 0)
        text = NULL;
    for (int i = 0; i < 16 && text; i++) { /* up to 393216 bytes */
        char *twice = call(pool, "double_text", text, &bytes);

        if (twice)
            twice[bytes] = '\0';
        free(text);
        text = twice;
    }
    if (!text) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    char *count = call(pool, "count_bytes", text, &bytes);
    size_t counted = 0;

    if (count)
        memcpy(&counted, count, sizeof(counted));
    printf("%zu bytes\n", counted);
    free(count);
    free(text);
    return counted == 393216 ? 0 : 1;
}
