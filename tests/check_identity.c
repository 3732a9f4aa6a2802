/* check_identity.c - the identity of a process or a thread, and whether it is dead. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "child.h"
#include "os/identity.h"
#include "os/pidfd.h"

static uint64_t *identities(void)
{
    return shared_memory(2 * sizeof(uint64_t));
}

static void say_who(void *argument)
{
    uint64_t *said = argument;

    said[0] = brood__self();
    said[1] = brood__self_thread();
}

static void say_who_and_pause(void *argument)
{
    say_who(argument);
    for (;;)
        (void)pause();
}

static pid_t spawn_known(uint64_t *said)
{
    pid_t pid = spawn(say_who_and_pause, said);

    await(atomic_load((_Atomic uint64_t *)&said[1]) != 0);
    return pid;
}

START_TEST(a_process_has_one_identity_and_its_number_is_in_it)
{
    ck_assert_uint_eq(brood__self(), brood__self());
    ck_assert_int_eq(brood__identity_number(brood__self()), getpid());
    ck_assert_uint_eq(brood__self() & ~IDENTITY_BITS, 0);
    ck_assert_uint_ne(brood__self() >> 32, 0);
}
END_TEST

static void *store_thread(void *argument)
{
    *(uint64_t *)argument = brood__self_thread();
    return NULL;
}

START_TEST(threads_have_identities_of_their_own_and_share_that_of_the_process)
{
    uint64_t said = 0;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, store_thread, &said), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_ne(said, 0);
    ck_assert_uint_ne(said, brood__self_thread());
    ck_assert(!brood__thread_is_dead(brood__self_thread()));
    await(brood__thread_is_dead(said));
}
END_TEST

START_TEST(the_child_of_a_fork_has_another_identity)
{
    uint64_t *said = identities(), parent = brood__self(), thread = brood__self_thread();

    in_child(say_who, said);
    ck_assert_uint_ne(said[0], parent);
    ck_assert_uint_ne(said[1], thread);
    ck_assert_uint_eq(brood__self(), parent);
    ck_assert_uint_eq(brood__self_thread(), thread);
}
END_TEST

START_TEST(a_living_process_is_not_dead_and_a_killed_one_is_even_before_it_is_reaped)
{
    uint64_t *said = identities();
    pid_t pid = spawn_known(said);
    siginfo_t info;

    ck_assert(!brood__identity_is_dead(said[0]));
    ck_assert(!brood__thread_is_dead(said[1]));
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert(brood__identity_is_dead(said[0]));
    ck_assert(brood__thread_is_dead(said[1]));
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(brood__identity_is_dead(said[0]));
    ck_assert(brood__thread_is_dead(said[1]));
}
END_TEST

/* A part of an identity that says when its process was started; another value of it that is known. */
static uint64_t with_another(uint64_t identity, int shift)
{
    uint64_t known = identity >> shift & 2047;

    return (identity & ~(UINT64_C(2047) << shift)) | (known == 1 ? 2 : known - 1) << shift;
}

static uint64_t started_before(uint64_t identity)
{
    return with_another(identity, IDENTITY_TICK_SHIFT);
}

/* A process that was started in the same tick, and had the number. */
static uint64_t just_before(uint64_t identity)
{
    return with_another(identity, IDENTITY_INODE_SHIFT);
}

static bool has_inodes(void)
{
    int pidfd = brood__pidfd_open(getpid());
    bool has = pidfd >= 0 && brood__pidfd_inode(pidfd) != 0;

    (void)close(pidfd);
    return has;
}

START_TEST(a_number_reused_within_a_tick_names_another_process)
{
    uint64_t *said = identities();
    pid_t pid = spawn_known(said);

    if (has_inodes()) {
        ck_assert(brood__identity_is_dead(just_before(said[0])));
        ck_assert(brood__thread_is_dead(just_before(said[1])));
        ck_assert(brood__identity_is_dead(just_before(brood__self())));
    }
    ck_assert(!brood__identity_is_dead(said[0]));
    ck_assert(!brood__thread_is_dead(said[1]));
    put_to_death(pid);
}
END_TEST

static bool starts_with_the_number(pid_t pid)
{
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC), length;
    bool written;

    length = snprintf(text, sizeof(text), "%d", (int)pid - 1);
    written = fd >= 0 && write(fd, text, (size_t)length) == length;
    (void)close(fd);
    return written;
}

/* The number is given to another process at once, mostly in the same tick: as often as it takes until it was. */
START_TEST(a_process_with_the_number_of_one_that_has_just_died_is_another)
{
    uint64_t *said = identities();
    int met = 0;

    for (int i = 0; i < 50 && has_inodes(); i++) {
        uint64_t first[2];
        pid_t pid = spawn_known(said), next;

        memcpy(first, said, sizeof(first));
        put_to_death(pid);
        memset(said, 0, sizeof(first));
        if (!starts_with_the_number(pid))
            break; /* it takes CAP_CHECKPOINT_RESTORE */
        next = spawn_known(said);
        ck_assert_msg(next != pid || brood__identity_is_dead(first[0]), "taken for alive, in round %d", i);
        ck_assert_msg(next != pid || brood__thread_is_dead(first[1]), "taken for alive, in round %d", i);
        met += next == pid && first[0] >> IDENTITY_INODE_SHIFT != said[0] >> IDENTITY_INODE_SHIFT &&
               (uint32_t)(first[0] >> 32 & 2047) == (uint32_t)(said[0] >> 32 & 2047);
        put_to_death(next);
    }
    (void)printf("the number was given again within a tick %d times\n", met);
}
END_TEST

START_TEST(a_reused_number_names_another_process)
{
    uint64_t *said = identities();
    pid_t pid = spawn_known(said);

    ck_assert(brood__identity_is_dead(started_before(said[0])));
    ck_assert(brood__thread_is_dead(started_before(said[1])));
    ck_assert(brood__identity_is_dead(started_before(brood__self())));
    put_to_death(pid);
}
END_TEST

static void *wait_for_end(void *argument)
{
    uint64_t *said = argument;

    say_who(said);
    while (atomic_load((_Atomic uint64_t *)&said[0]) != 0)
        rest();
    return NULL;
}

START_TEST(the_number_of_a_thread_names_no_process)
{
    uint64_t said[2] = {0};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_end, said), 0);
    await(atomic_load((_Atomic uint64_t *)&said[1]) != 0);
    ck_assert(!brood__thread_is_dead(said[1]));
    ck_assert(brood__identity_is_dead(said[1]));
    atomic_store((_Atomic uint64_t *)&said[0], 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

static void *outlive_the_first_thread(void *argument)
{
    const uint64_t *said = argument;

    await(brood__thread_is_dead(said[1]));
    ck_assert(!brood__identity_is_dead(said[0]));
    _exit(0);
}

static void leave_by_the_first_thread(void *argument)
{
    pthread_t thread;

    say_who(argument);
    ck_assert_int_eq(pthread_create(&thread, NULL, outlive_the_first_thread, argument), 0);
    pthread_exit(NULL);
}

START_TEST(a_process_outlives_its_first_thread)
{
    in_child(leave_by_the_first_thread, identities());
}
END_TEST

static void look_without_descriptors(void *argument)
{
    const uint64_t *said = argument;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, 0}), 0);
    ck_assert(!brood__identity_is_dead(said[0]));
    ck_assert(!brood__thread_is_dead(said[1]));
    ck_assert_int_eq(brood__identity_number(brood__self()), getpid());
    ck_assert(brood__identity_is_dead((brood__self() & ~(uint64_t)IDENTITY_NUMBER) | IDENTITY_NUMBER));
    ck_assert(brood__thread_is_dead((brood__self() & ~(uint64_t)IDENTITY_NUMBER) | IDENTITY_NUMBER));
}

START_TEST(without_descriptors_or_proc_no_living_process_is_called_dead)
{
    uint64_t *said = identities();
    pid_t pid = spawn_known(said);

    in_child(look_without_descriptors, said);
    put_to_death(pid);
}
END_TEST

static void look_without_pidfds(void *argument)
{
    const uint64_t *said = argument;

    deny(SYS_pidfd_open, EPERM);
    ck_assert(!brood__identity_is_dead(said[0]));
    ck_assert(brood__identity_is_dead(started_before(said[0])));
    ck_assert(!brood__identity_is_dead(just_before(said[0]))); /* nothing tells */
}

START_TEST(where_pidfds_are_denied_proc_tells_processes_apart)
{
    uint64_t *said = identities();
    pid_t pid = spawn_known(said);

    in_child(look_without_pidfds, said);
    put_to_death(pid);
}
END_TEST

START_TEST(looking_leaves_errno_alone)
{
    errno = EDOM;
    ck_assert(brood__identity_is_dead(IDENTITY_NUMBER));
    ck_assert(brood__thread_is_dead(IDENTITY_NUMBER));
    ck_assert_int_eq(errno, EDOM);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("identity");

    add_tests(suite, "identities", a_process_has_one_identity_and_its_number_is_in_it,
              threads_have_identities_of_their_own_and_share_that_of_the_process, the_child_of_a_fork_has_another_identity,
              NULL);
    add_tests(suite, "death", a_living_process_is_not_dead_and_a_killed_one_is_even_before_it_is_reaped,
              a_reused_number_names_another_process, a_number_reused_within_a_tick_names_another_process,
              a_process_with_the_number_of_one_that_has_just_died_is_another, the_number_of_a_thread_names_no_process,
              a_process_outlives_its_first_thread, without_descriptors_or_proc_no_living_process_is_called_dead,
              where_pidfds_are_denied_proc_tells_processes_apart, looking_leaves_errno_alone, NULL);
    return run_suite(suite);
}
