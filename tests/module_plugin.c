/* module_plugin.c - tasks of every kind in a shared object, which conform_plugins.c loads and unloads.  It is built in two
 * versions, whose tasks have the same names, and other sizes and results. */
#include <errno.h>

#include <brood.h>

#if PLUGIN_VERSION == 1
typedef int32_t number;
#else
typedef int64_t number;
#endif

BROOD_TASK(plugin_times, number, number)
{
    *result = PLUGIN_VERSION * *arg;
    return 0;
}

BROOD_TASK_BYTES(plugin_version, 64)
{
    char version = '0' + PLUGIN_VERSION;

    (void)arg;
    return brood_reply_set(reply, &version, 1);
}

BROOD_LOOP(plugin_loop, int)
{
    (void)context;
    return index < 100 ? 0 : -EDOM;
}

BROOD_SUM(plugin_sum, int, int64_t)
{
    (void)context;
    *result += PLUGIN_VERSION * (int64_t)index;
    return 0;
}
