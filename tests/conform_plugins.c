/* conform_plugins.c - tasks in shared objects that are loaded and unloaded, over every kind of worker. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pools.h"
#include "support.h"
#include "tasks.h"

static struct brood_pool *open_pool(int kind)
{
    struct brood_pool *pool = NULL;
    int r = brood_pool_open(&pool, BROOD_POOL(.kind = worker_kinds[kind].kind,
                                              .worker = worker_kinds[kind].is_exec ? worker_path() : NULL, .workers = 2));

    ck_assert_msg(r == 0, "%s: open: %s", worker_kinds[kind].name, brood_error());
    return pool;
}

/* ---- the plug-in, and copies of its descriptors, which stay ---- */

enum { TIMES, VERSION, LOOP, SUM, TASKS };

static const char *const names[TASKS] = {"plugin_times", "plugin_version", "plugin_loop", "plugin_sum"};

struct plugin {
    void *object;
    int version;
    struct brood_task tasks[TASKS];
    struct brood_reduction sum;
};

static const char *path_of(int version)
{
    const char *path = getenv(version == 1 ? "BROOD_PLUGIN_1" : "BROOD_PLUGIN_2");

    ck_assert_ptr_nonnull(path);
    return path;
}

static struct plugin load(int version)
{
    struct plugin plugin = {.version = version, .object = dlopen(path_of(version), RTLD_NOW | RTLD_LOCAL)};

    ck_assert_msg(plugin.object != NULL, "%s", dlerror());
    for (int i = 0; i < TASKS; i++) {
        ck_assert_ptr_nonnull(brood_task_find(names[i]));
        plugin.tasks[i] = *brood_task_find(names[i]);
        plugin.tasks[i].name = names[i];
    }
    plugin.sum = *(const struct brood_reduction *)(const void *)brood_task_find(names[SUM]); /* its first member */
    plugin.sum.task.name = names[SUM];
    return plugin;
}

static void unload(struct plugin *plugin)
{
    ck_assert_int_eq(dlclose(plugin->object), 0);
    ck_assert_ptr_null(dlopen(path_of(plugin->version), RTLD_NOW | RTLD_NOLOAD)); /* it is gone */
    for (int i = 0; i < TASKS; i++)
        ck_assert_ptr_null(brood_task_find(names[i]));
}

/* ---- calls ---- */

static int call_times(struct brood_pool *pool, const struct plugin *plugin, int64_t *ret_result)
{
    int64_t arg = 7;

    *ret_result = 0; /* little-endian: the lower half of it is the smaller type */
    return brood_pool_apply(pool, &plugin->tasks[TIMES], ret_result, &arg);
}

static int call_version(struct brood_pool *pool, const struct plugin *plugin, char *ret_version)
{
    return brood_pool_apply_bytes(pool, &plugin->tasks[VERSION], &(struct brood_space){ret_version, 1},
                                  (struct brood_bytes){NULL, 0});
}

static int call_loop(struct brood_pool *pool, const struct plugin *plugin)
{
    return brood_pool_for(pool, &plugin->tasks[LOOP], NULL, sizeof(int), 0, 100, NULL);
}

static int call_map(struct brood_pool *pool, const struct plugin *plugin)
{
    int64_t args[100] = {0}, results[100];

    return brood_pool_map(pool, &plugin->tasks[TIMES], results, args, 100, NULL);
}

static void expect_to_run(struct brood_pool *pool, const struct plugin *plugin)
{
    int64_t result = 0;
    char version = 0;

    ck_assert_msg(call_times(pool, plugin, &result) == 0, "%s", brood_error());
    ck_assert_int_eq(result, 7 * plugin->version);
    ck_assert_int_eq(call_version(pool, plugin, &version), 0);
    ck_assert_int_eq(version, '0' + plugin->version);
    ck_assert_int_eq(call_loop(pool, plugin), 0);
    ck_assert_int_eq(call_map(pool, plugin), 0);
}

/* What is run in the host, to combine the parts, is in the plug-in, too. */
static void expect_to_sum(struct brood_pool *pool, const struct plugin *plugin)
{
    int64_t sum = 0;

    ck_assert_int_eq(brood_pool_reduce(pool, &plugin->sum, &sum, NULL, sizeof(int), 0, 100, NULL), 0);
    ck_assert_int_eq(sum, plugin->version * INT64_C(4950));
}

static void expect_missing(int r, int task)
{
    ck_assert_msg(r == -ENOENT, "%s: %d, %s", names[task], r, brood_error());
    ck_assert_msg(strstr(brood_error(), names[task]) != NULL, "'%s' does not name %s", brood_error(), names[task]);
}

static void expect_all_missing(struct brood_pool *pool, const struct plugin *plugin)
{
    int64_t result;
    char version;

    expect_missing(call_times(pool, plugin, &result), TIMES);
    expect_missing(call_version(pool, plugin, &version), VERSION);
    expect_missing(call_loop(pool, plugin), LOOP);
    expect_missing(call_map(pool, plugin), TIMES);
    expect_working(pool);
}

/* ---- tests ---- */

START_TEST(a_pool_that_opens_after_a_plug_in_is_unloaded_misses_its_tasks_by_name)
{
    struct plugin plugin = load(1);
    struct brood_pool *pool = open_pool(_i);

    expect_to_run(pool, &plugin);
    expect_to_sum(pool, &plugin);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    unload(&plugin);
    pool = open_pool(_i);
    expect_all_missing(pool, &plugin);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* A forked worker has a copy of the plug-in, as of all memory. */
START_TEST(a_plug_in_is_unloaded_beneath_an_open_pool)
{
    struct plugin plugin = load(1);
    brood_auto(pool) *pool = open_pool(_i);

    expect_to_run(pool, &plugin);
    unload(&plugin);
    if (_i == BY_FORKS)
        expect_to_run(pool, &plugin);
    else
        expect_all_missing(pool, &plugin);
}
END_TEST

START_TEST(a_plug_in_that_is_loaded_again_runs_again)
{
    brood_auto(pool) *pool = _i == BY_FORKS ? NULL : open_pool(_i);

    for (int i = 0; i < 20; i++) {
        struct plugin plugin = load(i % 2 + 1);
        struct brood_pool *own = _i == BY_FORKS ? open_pool(_i) : NULL; /* its workers know what is there now */

        expect_to_run(own ? own : pool, &plugin);
        expect_to_sum(own ? own : pool, &plugin);
        ck_assert_int_eq(brood_pool_close(own, BROOD_FOREVER), 0);
        unload(&plugin);
    }
}
END_TEST

START_TEST(workers_forked_before_a_plug_in_is_loaded_miss_its_tasks_by_name)
{
    brood_auto(pool) *pool = open_pool(_i);
    struct plugin plugin;

    expect_working(pool);
    plugin = load(1);
    expect_all_missing(pool, &plugin);
    unload(&plugin);
    expect_all_missing(pool, &plugin);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plugins");

    add_loop_tests(suite, "unloaded", 0, BY_EXECS, a_pool_that_opens_after_a_plug_in_is_unloaded_misses_its_tasks_by_name,
                   a_plug_in_is_unloaded_beneath_an_open_pool, a_plug_in_that_is_loaded_again_runs_again, NULL);
    add_loop_tests(suite, "loaded too late", 2, WORKER_KINDS,
                   workers_forked_before_a_plug_in_is_loaded_miss_its_tasks_by_name, NULL);
    return run_suite(suite);
}
