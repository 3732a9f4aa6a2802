/* check_namespaces.c - processes of several PID namespaces share memory, and no process takes the living of another one for
 * dead.
 *
 *     check_namespaces --namespaces     with PID, time and control group namespaces of its own
 *     check_namespaces --quota          with a control group that has a quota of CPU time, and such a namespace
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "child.h"
#include "os/clock.h"
#include "os/cpus.h"
#include "os/identity.h"
#include "support.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

struct scene {
    struct brood_lock lock;
    struct brood_rlock rlock;
    struct brood_condition condition;
    struct brood_barrier barrier;
    struct brood_semaphore semaphore;
    struct brood_event event;
    _Atomic uint64_t identity;
    _Atomic int go, taken;
    _Atomic int64_t until_ns; /* the deadline of a wait for the condition */
    _Alignas(64) char array[1024];
    _Alignas(64) char heap[65536];
};

static struct scene *new_scene(void)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    ck_assert_int_eq(brood_condition_init(&scene->condition, &scene->lock), 0);
    ck_assert_int_eq(brood_barrier_init(&scene->barrier, 2), 0);
    ck_assert_int_eq(brood_array_init((void *)scene->array, 4, 8), 0);
    ck_assert_int_eq(brood_heap_init((void *)scene->heap, sizeof(scene->heap)), 0);
    return scene;
}

/* ---- namespaces of one's own ---- */

struct elsewhere {
    int flags;
    void (*body)(struct scene *scene);
    struct scene *scene;
};

static void be_elsewhere(void *argument)
{
    struct elsewhere *elsewhere = argument;

    elsewhere->body(elsewhere->scene);
}

static void go_elsewhere(void *argument)
{
    struct elsewhere *elsewhere = argument;

    ck_assert_msg(unshare(elsewhere->flags) == 0, "unshare: %s", strerror(errno));
    in_child(be_elsewhere, elsewhere);
}

/* Calls body(scene) in a process of other namespaces. */
static void there(int flags, void (*body)(struct scene *scene), struct scene *scene)
{
    in_child(go_elsewhere, &(struct elsewhere){flags, body, scene});
}

static bool may_have_namespaces(void)
{
    return unshare(CLONE_NEWPID) == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* ---- locks ---- */

static void expect_told(int r)
{
    ck_assert_msg(r == -EXDEV, "%d: %s", r, brood_error());
    ck_assert_ptr_nonnull(strstr(brood_error(), "namespace"));
}

static void find_the_locks_held(struct scene *scene)
{
    expect_told(brood_lock_acquire(&scene->lock, BROOD_NOW));
    expect_told(brood_lock_acquire(&scene->lock, BROOD_FOREVER));
    expect_told(brood_rlock_acquire(&scene->rlock, brood_after_ms(60000)));
    ck_assert(!brood__identity_is_dead(atomic_load(&scene->identity)));
}

START_TEST(a_lock_held_in_another_pid_namespace_is_refused_and_not_inherited)
{
    struct scene *scene = new_scene();

    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), 0);
    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, BROOD_NOW), 0);
    atomic_store(&scene->identity, brood__self());
    there(CLONE_NEWPID, find_the_locks_held, scene);
    there(CLONE_NEWTIME, find_the_locks_held, scene);
    ck_assert_int_eq(brood_rlock_depth(&scene->rlock), 1);
    ck_assert_int_eq(brood_lock_release(&scene->lock), 0);
    ck_assert_int_eq(brood_rlock_release(&scene->rlock), 0);
}
END_TEST

static void hold_the_lock_until_told(struct scene *scene)
{
    await(brood_lock_acquire(&scene->lock, BROOD_NOW) == 0);
    atomic_store(&scene->taken, 1);
    await(atomic_load(&scene->go) == 1);
    ck_assert_int_eq(brood_lock_release(&scene->lock), 0);
}

static void hold_the_lock_there(void *scene)
{
    there(CLONE_NEWPID, hold_the_lock_until_told, scene);
}

/* And the number of its holder is that of no process here, or of another one. */
START_TEST(nor_is_one_whose_holder_is_in_a_namespace_below)
{
    struct scene *scene = new_scene();
    pid_t pid = spawn(hold_the_lock_there, scene);

    await(atomic_load(&scene->taken) == 1);
    expect_told(brood_lock_acquire(&scene->lock, brood_after_ms(60000)));
    atomic_store(&scene->go, 1);
    join(pid);
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), 0);
}
END_TEST

/* Until a wait has ended although a process in another namespace had the lock. */
static void wait_for_the_condition_here(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), 0);
    atomic_store(&scene->taken, 2);
    do {
        brood_deadline deadline = brood_after_ms(20);

        atomic_store(&scene->until_ns, deadline.ns);
        ck_assert_int_eq(brood_condition_wait(&scene->condition, deadline), -ETIMEDOUT);
        ck_assert(brood_lock_held(&scene->lock));
    } while (atomic_load(&scene->taken) != 1);
    ck_assert_int_eq(brood_lock_release(&scene->lock), 0);
}

/* It has the lock again when it returns, whichever process had it meanwhile. */
START_TEST(a_waiter_gets_its_lock_back_from_a_holder_in_another_namespace)
{
    struct scene *scene = new_scene();
    pid_t waiter = spawn(wait_for_the_condition_here, scene), holder;

    await(atomic_load(&scene->taken) == 2);
    holder = spawn(hold_the_lock_there, scene);
    await(atomic_load(&scene->taken) == 1);
    await(brood__now_ns() > atomic_load(&scene->until_ns) && is_asleep(waiter)); /* for the lock */
    atomic_store(&scene->go, 1);
    join(holder);
    join(waiter);
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), 0);
}
END_TEST

/* ---- objects that note where they were made ---- */

static void find_the_objects_refused(struct scene *scene)
{
    uint64_t offset;

    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), 0); /* free: it notes its holder only */
    expect_told(brood_condition_wait(&scene->condition, BROOD_NOW));
    expect_told(brood_condition_notify(&scene->condition, 1));
    ck_assert_int_eq(brood_lock_release(&scene->lock), 0);
    expect_told(brood_barrier_wait(&scene->barrier, BROOD_FOREVER));
    expect_told(brood_array_check((void *)scene->array, sizeof(scene->array), 8));
    expect_told(brood_heap_check((void *)scene->heap, sizeof(scene->heap)));
    expect_told(brood_heap_alloc((void *)scene->heap, 100, &offset, BROOD_FOREVER));
}

static void use_what_needs_no_identity(struct scene *scene)
{
    ck_assert_int_eq(brood_semaphore_release(&scene->semaphore, 1), 0);
    brood_event_set(&scene->event);
    brood_barrier_abort(&scene->barrier);
}

START_TEST(objects_that_look_for_the_dead_are_refused_in_another_namespace_and_others_work)
{
    struct scene *scene = new_scene();

    there(CLONE_NEWPID, find_the_objects_refused, scene);
    there(CLONE_NEWTIME, find_the_objects_refused, scene);
    ck_assert_int_eq(brood_barrier_waiting(&scene->barrier), 0);
    there(CLONE_NEWPID, use_what_needs_no_identity, scene);
    ck_assert_int_eq(brood_semaphore_acquire(&scene->semaphore, BROOD_NOW), 0);
    ck_assert(brood_event_is_set(&scene->event));
    ck_assert(brood_barrier_is_broken(&scene->barrier));
}
END_TEST

static struct brood_queue *queue;

static void find_the_queue_refused(struct scene *scene)
{
    (void)scene;
    expect_told(brood_queue_put(queue, (struct brood_bytes){"x", 1}, BROOD_FOREVER));
    expect_told(brood_queue_get(queue, &(struct brood_space){(char[8]){0}, 8}, BROOD_FOREVER));
}

START_TEST(a_queue_is_refused_in_another_namespace)
{
    ck_assert_int_eq(brood_queue_open(&queue, BROOD_QUEUE(.bound = 4)), 0);
    there(CLONE_NEWPID, find_the_queue_refused, NULL);
    ck_assert_int_eq(brood_queue_put(queue, (struct brood_bytes){"x", 1}, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_close(queue), 0);
}
END_TEST

/* ---- memory ---- */

static void expect_nothing_stale(struct scene *scene)
{
    ck_assert_int_eq(brood_memory_sweep(true, NULL, scene), 0);
}

static void make_memory_and_let_go_of_it(struct scene *scene)
{
    struct brood_memory *memory = NULL;

    ck_assert_int_eq(brood_memory_create(&memory, "check_namespaces", 4096), 0);
    brood_memory_close(memory);
    atomic_store(&scene->taken, 1);
    await(atomic_load(&scene->go) == 1);
}

static void make_memory_there(void *scene)
{
    there(CLONE_NEWPID, make_memory_and_let_go_of_it, scene);
}

/* No process uses it, but its creator lives. */
START_TEST(memory_of_a_creator_in_another_namespace_is_never_stale)
{
    struct scene *scene = new_scene();
    struct brood_memory *memory = NULL;
    pid_t pid;

    pid = spawn(make_memory_there, scene);
    await(atomic_load(&scene->taken) == 1);
    ck_assert_int_eq(brood_memory_sweep(true, NULL, NULL), 0);
    atomic_store(&scene->go, 1);
    join(pid);
    ck_assert_int_eq(brood_memory_attach(&memory, "check_namespaces"), 0);
    brood_memory_close(memory);
    ck_assert_int_eq(brood_memory_unlink("check_namespaces"), 0);

    ck_assert_int_eq(brood_memory_create(&memory, "check_namespaces", 4096), 0);
    brood_memory_close(memory);
    there(CLONE_NEWPID, expect_nothing_stale, scene);
    ck_assert_int_eq(brood_memory_unlink("check_namespaces"), 0);
}
END_TEST

/* ---- /proc of another namespace ---- */

static void say_who_and_pause(void *argument)
{
    atomic_store(&((struct scene *)argument)->identity, brood__self());
    for (;;)
        (void)pause();
}

/* In the namespace, whose first process this is, the numbers in /proc are those of strangers. */
static void look_at_neighbours(struct scene *scene)
{
    pid_t pid = spawn(say_who_and_pause, scene);

    await(atomic_load(&scene->identity) != 0);
    ck_assert_int_eq(brood__identity_number(brood__self()), 1);
    ck_assert(!brood__identity_is_dead(atomic_load(&scene->identity)));
    put_to_death(pid);
    ck_assert(brood__identity_is_dead(atomic_load(&scene->identity)));
}

START_TEST(a_process_under_the_proc_of_another_namespace_is_not_taken_for_a_stranger)
{
    there(CLONE_NEWPID, look_at_neighbours, new_scene());
}
END_TEST

/* ---- control groups ---- */

static bool put(const char *directory, const char *name, const char *text)
{
    char path[256];
    int fd;
    bool done;

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        (void)close(fd);
    return done;
}

#define GROUP "brood-check-namespaces"

/* A group with a quota of half a CPU.  False: this process may not make one, or it has no quotas. */
static bool make_group(const char **ret_directory)
{
    static const struct {
        const char *directory, *file, *quota;
    } kinds[] = {{"/sys/fs/cgroup/cpu/" GROUP, "cpu.cfs_quota_us", "50000"},
                 {"/sys/fs/cgroup/" GROUP, "cpu.max", "50000 100000"}};

    for (int i = 0; i < 2; i++) {
        *ret_directory = kinds[i].directory;
        (void)rmdir(kinds[i].directory); /* of a test that failed */
        if (mkdir(kinds[i].directory, 0755) == 0 && put(kinds[i].directory, kinds[i].file, kinds[i].quota))
            return true;
        (void)rmdir(kinds[i].directory);
    }
    return false;
}

/* If it may, the group is left to the test, which makes it anew. */
static bool may_have_quota(void)
{
    const char *directory;

    if (unshare(CLONE_NEWCGROUP) < 0 || !make_group(&directory))
        return false;
    return put(directory, "cgroup.procs", "0") || (rmdir(directory), false);
}

static void find_the_quota(void *argument)
{
    const char *directory = argument;
    struct brood__quota quota = {.version = 0};

    ck_assert(put(directory, "cgroup.procs", "0"));
    ck_assert_msg(unshare(CLONE_NEWCGROUP) == 0, "unshare: %s", strerror(errno));
    ck_assert(brood__cpus_quota("/proc/self", "", &quota));
    ck_assert_msg(quota.quota_us == 50000, "%lld in %s", (long long)quota.quota_us, quota.where);
    ck_assert_str_eq(quota.where, directory);
    ck_assert_int_eq(brood__cpus_usable(), 1);
}

/* The namespace hides the name of the group, and its hierarchy is not mounted anew. */
START_TEST(the_quota_of_a_group_holds_in_a_namespace_that_came_without_a_mount)
{
    const char *directory;

    ck_assert(make_group(&directory));
    in_child(find_the_quota, (void *)(uintptr_t)directory);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

/* ---- without namespaces of one's own ---- */

/* What objects and locks of other namespaces look like, as far as /proc tells in which ones we are. */
static void move_elsewhere(struct scene *scene)
{
    uint64_t namespaces = brood__namespaces(), other = namespaces + (UINT64_C(1) << 32);

    ck_assert_uint_ne(namespaces, 0);
    ck_assert_uint_eq(scene->barrier.namespaces, namespaces);
    scene->barrier.namespaces = scene->condition.namespaces = other;
    ((struct brood_array *)(void *)scene->array)->namespaces = other;
    ((struct brood_heap *)(void *)scene->heap)->namespaces = other;
}

START_TEST(what_was_made_elsewhere_is_refused_in_words)
{
    struct scene *scene = new_scene();
    uint64_t space;
    int outcome;

    move_elsewhere(scene);
    find_the_objects_refused(scene);
    space = brood__self() >> IDENTITY_SPACE_SHIFT == 1 ? 2 : 1;
    scene->lock.word = (brood__self() & ~(UINT64_C(1023) << IDENTITY_SPACE_SHIFT)) | space << IDENTITY_SPACE_SHIFT;
    expect_told(brood_lock_acquire(&scene->lock, BROOD_FOREVER));
    BROOD_WITH_LOCK (&scene->lock, &outcome)
        ck_abort_msg("without the lock");
    expect_told(outcome);
    ck_assert(brood_lock_held(&scene->lock));
    ck_assert(!brood__identity_is_dead(scene->lock.word));
}
END_TEST

/* Where /proc does not say in which namespaces a process is, it is none that is refused. */
START_TEST(what_is_unknown_is_not_refused)
{
    struct scene *scene = new_scene();

    scene->barrier.namespaces = scene->condition.namespaces = 0;
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_NOW), -EAGAIN);
    scene->lock.word = brood__self() & ~(UINT64_C(1023) << IDENTITY_SPACE_SHIFT);
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), -EAGAIN);
}
END_TEST

static int skip(const char *what)
{
    printf("skipped: this process may not make %s\n", what);
    return 77;
}

static int run_with_quota(Suite *suite)
{
    if (!may_child(may_have_quota))
        return skip("a control group with a quota of CPU time");
    add_tests(suite, "control groups", the_quota_of_a_group_holds_in_a_namespace_that_came_without_a_mount, NULL);
    return run_suite(suite);
}

static int run_with_namespaces(Suite *suite)
{
    if (!may_child(may_have_namespaces))
        return skip("PID and mount namespaces");
    add_tests(suite, "locks", a_lock_held_in_another_pid_namespace_is_refused_and_not_inherited,
              nor_is_one_whose_holder_is_in_a_namespace_below,
              a_waiter_gets_its_lock_back_from_a_holder_in_another_namespace, NULL);
    add_tests(suite, "objects", objects_that_look_for_the_dead_are_refused_in_another_namespace_and_others_work,
              a_queue_is_refused_in_another_namespace, memory_of_a_creator_in_another_namespace_is_never_stale,
              a_process_under_the_proc_of_another_namespace_is_not_taken_for_a_stranger, NULL);
    return run_suite(suite);
}

int main(int argc, char **argv)
{
    Suite *suite = suite_create("namespaces");

    if (argc > 1 && strcmp(argv[1], "--namespaces") == 0)
        return run_with_namespaces(suite);
    if (argc > 1 && strcmp(argv[1], "--quota") == 0)
        return run_with_quota(suite);
    add_tests(suite, "noted", what_was_made_elsewhere_is_refused_in_words, what_is_unknown_is_not_refused, NULL);
    return run_suite(suite);
}
