/* imap.c - a stream: the longest Collatz sequence below a hundred thousand, from a function that gives numbers. */
#include <errno.h>
#include <stdio.h>

#include <brood.h>

BROOD_TASK(count_steps, long, int)
{
    *result = 0;
    for (long n = *arg; n != 1; n = n % 2 ? 3 * n + 1 : n / 2)
        ++*result;
    return 0;
}

struct numbers {
    long next, end;
};

/* Gives the next argument: 1; or 0 when there are no more. */
static int next_number(void *context, void *ret_arg)
{
    struct numbers *numbers = context;

    *(long *)ret_arg = numbers->next;
    return numbers->next++ < numbers->end;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(imap) *imap = NULL;
    struct numbers numbers = {1, 100000};
    struct brood_item item;
    int most = 0;
    long best = 0;

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 4));
    if (r == 0)
        r = brood_imap_pull(pool, count_steps, &imap, next_number, &numbers, BROOD_IMAP(.unordered = true));
    while (r == 0 && (r = brood_imap_next(imap, &item, BROOD_FOREVER)) == 0) {
        const int *steps = item.result; /* NULL if the item failed; then item.error says why */

        if (steps && *steps > most) {
            most = *steps;
            best = (long)item.index + 1;
        }
    }
    if (r != -ENODATA) { /* which is the end */
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    printf("%ld takes %d steps\n", best, most);
    return best == 77031 && most == 350 ? 0 : 1;
}
