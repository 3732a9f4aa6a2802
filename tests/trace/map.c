/* map.c - prints the address of each function of the library that the host's thread enters in a map of one item.
 *
 * tests/trace/run.sh builds it with a library that is compiled with -finstrument-functions.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <brood.h>

#define UNTRACED __attribute__((no_instrument_function))

#define ENTERED_MAX 100000
#define MAPS 5000 /* the shortest is printed: in most the host has to wait longer for the worker */

static void *entered[2][ENTERED_MAX]; /* of this map, and of the shortest so far */
static size_t count, least;
static pid_t host; /* its first thread */
static volatile int is_on;

UNTRACED void __cyg_profile_func_enter(void *function, void *site);
UNTRACED void __cyg_profile_func_exit(void *function, void *site);

void __cyg_profile_func_enter(void *function, void *site)
{
    (void)site;
    if (is_on && gettid() == host && count < ENTERED_MAX)
        entered[0][count++] = function;
}

void __cyg_profile_func_exit(void *function, void *site)
{
    (void)function;
    (void)site;
}

BROOD_TASK(square, double, double)
{
    *result = *arg * *arg;
    return 0;
}

int main(void)
{
    struct brood_pool *pool = NULL;
    double in = 3, out = 0;

    host = gettid();
    if (brood_pool_open(&pool, BROOD_POOL(.workers = 1)) < 0)
        return 1;
    for (int i = 0; i < MAPS; i++) {
        count = 0;
        is_on = 1;
        if (brood_map(pool, square, &out, &in, 1) < 0 || out != 9)
            return 1;
        is_on = 0;
        if (least == 0 || count < least)
            memcpy(entered[1], entered[0], (least = count) * sizeof(entered[0][0]));
    }
    for (size_t i = 0; i < least; i++)
        printf("%p\n", entered[1][i]);
    return brood_pool_close(pool, BROOD_FOREVER) < 0;
}
