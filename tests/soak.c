/* soak.c - `brood chaos` for a while: its exit status, and whether its numbers agree with each other.
 *
 * The environment says where the program is (BROOD_PROGRAM), and for how many seconds to run it (BROOD_SOAK_SECONDS, 20).
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

extern char **environ;

/* ---- running it ---- */

struct storm {
    pid_t pid;
    int out; /* its standard output */
    int status;
    json_t *json;
};

static struct storm start(const char *seconds)
{
    char *program = getenv("BROOD_PROGRAM");
    char *argv[] = {program, "chaos", "--json", "-", "--workers", "4", "--seconds", (char *)(uintptr_t)seconds, NULL};
    posix_spawn_file_actions_t actions;
    struct storm storm = {0};
    int ends[2];

    ck_assert_msg(program != NULL, "BROOD_PROGRAM is not set");
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    ck_assert_int_eq(posix_spawn(&storm.pid, program, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    storm.out = ends[0];
    return storm;
}

static void finish(struct storm *storm)
{
    json_error_t error;

    storm->json = json_loadfd(storm->out, 0, &error);
    close(storm->out);
    ck_assert_int_eq(waitpid(storm->pid, &storm->status, 0), storm->pid);
    ck_assert_msg(json_is_object(storm->json), "%s (status 0x%x)", error.text, (unsigned)storm->status);
}

static json_t *part(const struct storm *storm, const char *name)
{
    json_t *value = json_object_get(storm->json, name);

    ck_assert_msg(value != NULL, "%s", name);
    return value;
}

static double number(const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);

    ck_assert_msg(json_is_number(value), "%s", field);
    return json_number_value(value);
}

/* ---- what must hold ---- */

static void each_has_one_fate(const struct storm *storm, const char *name)
{
    static const char *const faults[] = {"unanswered",   "not_taken",     "duplicated",  "not_run",
                                         "wrong_result", "wrong_outcome", "wrong_death", "overcharged"};
    const json_t *tally = part(storm, name);

    ck_assert_double_gt(number(tally, "finished"), 0);
    ck_assert_double_eq(number(tally, "submitted"), number(tally, "finished") + number(tally, "refused") +
                                                        number(tally, "cancelled") + number(tally, "lost"));
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        ck_assert_msg(number(tally, faults[i]) == 0, "%s: %g %s", name, number(tally, faults[i]), faults[i]);
}

static void each_death_cost_one_task_at_most(const struct storm *storm)
{
    const json_t *deaths = part(storm, "deaths");
    double lost = number(part(storm, "map_items"), "lost") + number(part(storm, "tasks"), "lost");

    ck_assert_double_gt(number(deaths, "killed"), 0);
    ck_assert_double_gt(number(deaths, "by_task"), 0);
    ck_assert_double_gt(lost, 0);
    ck_assert_double_eq(number(deaths, "killed") + number(deaths, "by_task"), lost + number(deaths, "cost_no_task"));
}

static void deaths_at_rest_cost_nothing(const struct storm *storm)
{
    const json_t *rest = part(storm, "after_rest");

    ck_assert_double_gt(number(part(storm, "deaths"), "killed_at_rest"), 0);
    ck_assert_double_eq(number(rest, "submitted"), number(rest, "finished"));
}

static void is_measured(const struct storm *storm, const char *name)
{
    const json_t *spread = part(storm, name);

    ck_assert_double_gt(number(spread, "count"), 0);
    ck_assert_double_le(number(spread, "count"), number(part(storm, "deaths"), "killed"));
    ck_assert_double_gt(number(spread, "median_seconds"), 0);
    ck_assert_double_le(number(spread, "median_seconds"), number(spread, "p99_seconds"));
    ck_assert_double_le(number(spread, "p99_seconds"), number(spread, "max_seconds"));
}

static void nothing_was_left(const struct storm *storm)
{
    const char *name;
    json_t *count;

    ck_assert(json_is_true(part(storm, "closed")));
    json_object_foreach(part(storm, "leaks"), name, count) ck_assert_msg(json_integer_value(count) == 0, "%s", name);
}

START_TEST(a_storm_of_deaths_costs_one_task_for_each_death_at_most)
{
    const char *seconds = getenv("BROOD_SOAK_SECONDS");
    struct storm storm = start(seconds ? seconds : "20");

    finish(&storm);
    ck_assert_str_eq(json_string_value(part(&storm, "first_fault")), "");
    each_has_one_fate(&storm, "map_items");
    each_has_one_fate(&storm, "tasks");
    each_has_one_fate(&storm, "after_rest");
    each_death_cost_one_task_at_most(&storm);
    deaths_at_rest_cost_nothing(&storm);
    is_measured(&storm, "outcome_known");
    is_measured(&storm, "replaced");
    nothing_was_left(&storm);
    ck_assert(json_is_true(part(&storm, "even")));
    ck_assert_int_eq(storm.status, 0);
    json_decref(storm.json);
}
END_TEST

/* ---- what must not ---- */

/* The parent of a process: a field of /proc/PID/stat behind the name, which ends in the last parenthesis. */
static pid_t parent_of(const char *pid)
{
    char path[300], text[512] = "";
    const char *rest;
    pid_t parent = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    file = fopen(path, "re");
    rest = file && fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
    if (file)
        fclose(file);
    return rest && sscanf(rest + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* A process whose parent that is, or 0. */
static pid_t child_of(pid_t parent)
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    pid_t child = 0;

    while (processes && child == 0 && (entry = readdir(processes)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]) && parent_of(entry->d_name) == parent)
            child = (pid_t)atoi(entry->d_name);
    if (processes)
        closedir(processes);
    return child;
}

/* Its work is lost without a worker that died of it, which is what the account is there to find. */
START_TEST(a_storm_in_which_the_supervisor_dies_is_not_even)
{
    struct storm storm = start("60");
    pid_t supervisor, worker;

    await((supervisor = child_of(storm.pid)) > 0);
    await((worker = child_of(supervisor)) > 0);
    await(kill(worker, 0) < 0); /* it has been killed: so the pool is open */
    ck_assert_int_eq(kill(supervisor, SIGKILL), 0);
    finish(&storm);
    ck_assert(WIFEXITED(storm.status) && WEXITSTATUS(storm.status) == 1);
    ck_assert(json_is_false(part(&storm, "even")));
    ck_assert_str_ne(json_string_value(part(&storm, "first_fault")), "");
    json_decref(storm.json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("soak");

    add_tests(suite, "storm", a_storm_of_deaths_costs_one_task_for_each_death_at_most,
              a_storm_in_which_the_supervisor_dies_is_not_even, NULL);
    return run_suite(suite);
}
