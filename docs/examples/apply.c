/* apply.c - one call at a time: a result, an error with its reason, and bytes of any length. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <brood.h>

BROOD_TASK(square_root, double, double)
{
    if (*arg < 0)
        return brood_fail(-EDOM, "%g has no square root", *arg);
    *result = sqrt(*arg);
    return 0;
}

BROOD_TASK_BYTES(shout, 100) /* the result has at most 100 bytes */
{
    const char *text = arg.ptr;
    char *loud = brood_reply_space(reply, arg.len);

    if (!loud)
        return -EMSGSIZE;
    for (size_t i = 0; i < arg.len; i++)
        loud[i] = (char)toupper((unsigned char)text[i]);
    return 0;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    double root = 0;
    char text[100];
    struct brood_space answer = {text, sizeof(text)};

    if (brood_pool_open(&pool, BROOD_POOL(.workers = 2)) < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    int r = brood_apply(pool, square_root, &root, &(double){2});
    printf("%d: %g\n", r, root);

    int failed = brood_apply(pool, square_root, &root, &(double){-1});
    printf("%s: %s\n", strerror(-failed), brood_error());

    int r2 = brood_apply_bytes(pool, shout, &answer, (struct brood_bytes){"hello", 5});
    printf("%d: %.*s\n", r2, (int)answer.len, text);

    return r == 0 && failed == -EDOM && r2 == 0 && memcmp(text, "HELLO", 5) == 0 ? 0 : 1;
}
