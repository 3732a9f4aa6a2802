/* check_cpus.c - how many workers a machine is good for: the affinity mask, cgroup quotas, BROOD_WORKERS; and how much
 * memory it leaves.
 *
 * Quotas and limits are read from a tree of files that the test makes: proc/cgroup, proc/mountinfo and what they point to.
 */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "os/available.h"
#include "os/cpus.h"
#include "support.h"

/* ---- the tree ---- */

static char tree[1000]; /* its directory; main() makes and removes it */
static char proc[sizeof(tree) + 8];

static void make_tree(void)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(tree, sizeof(tree), "%s/brood-cpus-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(tree)) {
        perror(tree);
        exit(EXIT_FAILURE);
    }
    (void)snprintf(proc, sizeof(proc), "%s/proc", tree);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    return where->level > 0 ? remove(path) : 0;
}

/* Every test begins with an empty one. */
static void clear_tree(void)
{
    ck_assert_int_eq(nftw(tree, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    ck_assert_int_eq(unsetenv("BROOD_WORKERS"), 0);
}

static void remove_tree(void)
{
    (void)nftw(tree, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    (void)rmdir(tree);
}

/* Writes a file of the tree, and makes the directories above it. */
static void put(const char *name, const char *text)
{
    char path[sizeof(tree) + 1000];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s%s", tree, name);
    for (char *slash = path + strlen(tree); (slash = strchr(slash + 1, '/')) != NULL;) {
        *slash = '\0';
        ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define OTHER_MOUNTS                                  \
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n" \
    "27 1 254:0 / / rw,relatime master:1 - ext4 /dev/vda rw,discard\n"

static void put_v2(const char *group)
{
    char line[PATH_MAX];

    (void)snprintf(line, sizeof(line), "0::%s\n", group);
    put("/proc/cgroup", line);
    put("/proc/mountinfo", OTHER_MOUNTS V2_MOUNT);
}

static void expect_quota(int64_t quota_us, int64_t period_us, const char *where)
{
    struct brood__quota quota;

    ck_assert(brood__cpus_quota(proc, tree, &quota));
    ck_assert_int_eq(quota.quota_us, quota_us);
    ck_assert_int_eq(quota.period_us, period_us);
    ck_assert_str_eq(quota.where, where);
}

static void expect_no_quota(void)
{
    struct brood__quota quota;

    ck_assert(!brood__cpus_quota(proc, tree, &quota));
}

/* ---- version 2 ---- */

START_TEST(a_quota_of_the_group_itself_holds)
{
    clear_tree();
    put_v2("/user/job");
    put("/sys/fs/cgroup/user/job/cpu.max", "150000 100000\n");
    put("/sys/fs/cgroup/user/cpu.max", "max 100000\n");
    expect_quota(150000, 100000, "/sys/fs/cgroup/user/job");
}
END_TEST

START_TEST(a_tighter_quota_of_a_group_above_holds)
{
    clear_tree();
    put_v2("/user/job/part");
    put("/sys/fs/cgroup/user/job/part/cpu.max", "400000 100000\n");
    put("/sys/fs/cgroup/user/job/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user/cpu.max", "25000 50000\n");
    expect_quota(25000, 50000, "/sys/fs/cgroup/user");
}
END_TEST

START_TEST(a_quota_where_the_hierarchy_is_mounted_holds)
{
    clear_tree();
    put_v2("/"); /* as in a container with a cgroup namespace */
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    expect_quota(300000, 100000, "/sys/fs/cgroup");
}
END_TEST

START_TEST(quotas_of_other_groups_do_not_matter)
{
    clear_tree();
    put_v2("/user/job");
    put("/sys/fs/cgroup/user/job/inner/cpu.max", "1000 100000\n");
    put("/sys/fs/cgroup/user/job2/cpu.max", "1000 100000\n");
    put("/sys/fs/cpu.max", "1000 100000\n");
    put("/cpu.max", "1000 100000\n");
    expect_no_quota();
}
END_TEST

START_TEST(max_is_no_quota)
{
    clear_tree();
    put_v2("/job");
    put("/sys/fs/cgroup/job/cpu.max", "max 100000\n");
    expect_no_quota();
}
END_TEST

START_TEST(what_is_no_quota_is_ignored)
{
    static const char *const texts[] = {"", "\n", "many 100000\n", "100000\n", "0 100000\n", "100000 0\n", "-5 100000\n"};

    clear_tree();

    put_v2("/job");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put("/sys/fs/cgroup/job/cpu.max", texts[i]);
        expect_no_quota();
    }
}
END_TEST

/* ---- version 1, both ---- */

#define V1_MOUNT "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define CPUSET_MOUNT "32 23 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
#define HYBRID_MOUNT "33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

START_TEST(a_quota_of_version_1_holds)
{
    clear_tree();
    put("/proc/cgroup", "5:cpuset:/set\n4:cpu,cpuacct:/user/job\n1:name=systemd:/init\n");
    put("/proc/mountinfo", OTHER_MOUNTS CPUSET_MOUNT V1_MOUNT);
    put("/sys/fs/cgroup/cpuset/set/cpu.cfs_quota_us", "1000\n"); /* not of this hierarchy */
    put("/sys/fs/cgroup/cpuset/set/cpu.cfs_period_us", "9999\n");
    put("/sys/fs/cgroup/cpuset/user/cpu.cfs_quota_us", "1000\n");
    put("/sys/fs/cgroup/cpuset/user/cpu.cfs_period_us", "9999\n");
    put("/sys/fs/cgroup/cpu,cpuacct/user/job/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/user/job/cpu.cfs_period_us", "100000\n");
    expect_no_quota();
    put("/sys/fs/cgroup/cpu,cpuacct/user/cpu.cfs_quota_us", "70000\n");
    expect_no_quota(); /* half a quota is none */
    put("/sys/fs/cgroup/cpu,cpuacct/user/cpu.cfs_period_us", "20000\n");
    expect_quota(70000, 20000, "/sys/fs/cgroup/cpu,cpuacct/user");
}
END_TEST

START_TEST(a_container_of_version_1_sees_its_own_part)
{
    clear_tree();
    put("/proc/cgroup", "4:cpuacct,cpu:/docker/abc/job\n");
    put("/proc/mountinfo", "31 23 0:27 /docker/abc /sys/fs/cgroup/cpu ro master:9 - cgroup cgroup rw,cpuacct,cpu\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "900000\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    expect_quota(50000, 100000, "/sys/fs/cgroup/cpu");
}
END_TEST

START_TEST(where_both_versions_are_mounted_the_tighter_quota_holds)
{
    clear_tree();
    put("/proc/cgroup", "4:cpu,cpuacct:/job\n0::/user\n");
    put("/proc/mountinfo", V1_MOUNT CPUSET_MOUNT HYBRID_MOUNT);
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    expect_quota(250000, 100000, "/sys/fs/cgroup/cpu,cpuacct/job");
    put("/sys/fs/cgroup/unified/user/cpu.max", "200000 100000\n");
    expect_quota(200000, 100000, "/sys/fs/cgroup/unified/user");
    put("/sys/fs/cgroup/unified/user/cpu.max", "300000 100000\n");
    expect_quota(250000, 100000, "/sys/fs/cgroup/cpu,cpuacct/job");
}
END_TEST

/* ---- paths ---- */

START_TEST(missing_files_are_no_quota)
{
    clear_tree();
    expect_no_quota(); /* no /proc at all */
    put("/proc/cgroup", "0::/job\n");
    expect_no_quota();
    put("/proc/mountinfo", V2_MOUNT);
    expect_no_quota();
    put("/proc/cgroup", "");
    put("/sys/fs/cgroup/job/cpu.max", "100000 100000\n");
    expect_no_quota();
}
END_TEST

START_TEST(torn_lines_are_skipped)
{
    clear_tree();
    put("/proc/cgroup", "\n4\n4:cpu\n:::\n0::/job\n0::/second\n");
    put("/proc/mountinfo",
        "\n1\n1 2 3 4\n1 2 3 4 5 6\n1 2 3 4 5 6 -\n1 2 3 / /sys rw - cgroup2\n1 2 3 / /sys rw - cgroup2 x\n" V2_MOUNT);
    put("/sys/fs/cgroup/job/cpu.max", "100000 100000\n");
    put("/sys/job/cpu.max", "1000 100000\n");
    expect_quota(100000, 100000, "/sys/fs/cgroup/job");
}
END_TEST

START_TEST(strange_names_are_found)
{
    clear_tree();
    put("/proc/cgroup", "0::/a:b c/d e\n");
    put("/proc/mountinfo", "30 23 0:26 /a:b\\040c /mnt/blank\\040slash\\134tab\\011 rw - cgroup2  rw\n"); /* no source */
    put("/mnt/blank slash\\tab\t/d e/cpu.max", "110000 100000\n");
    expect_quota(110000, 100000, "/mnt/blank slash\\tab\t/d e");
}
END_TEST

/* What a process in a cgroup namespace sees, by the top of the mount and the path of the group: the directory below the
 * mount point where its quota is, or NULL if the mount does not show it. */
static const struct sight {
    const char *top, *group, *directory;
} sights[] = {
    /* clang-format off */
    {"/", "/", ""},
    {"/", "/a/b", "/a/b"},
    {"/a", "/a", ""},
    {"/a", "/a/b", "/b"},
    {"/a", "/ab", NULL},
    {"/a/b", "/a", NULL},
    {"/..x", "/..x/a", "/a"},
    {"/", "/..x/a", "/..x/a"},
    /* ".." leads out of the process's cgroup namespace. */
    {"/..", "/../a", "/a"},
    {"/../a", "/../a/b", "/b"},
    {"/..", "/..", ""},
    {"/", "/..", NULL},
    {"/", "/../a", NULL},
    {"/..", "/../../a", NULL},
    {"/../b", "/a", NULL},
    /* The names between the top and the namespace are hidden: only the top itself is known to be above us. */
    {"/..", "/", ""},
    {"/../..", "/a", ""},
    {"/../..", "/../a", ""},
    /* clang-format on */
};

/* A container that shows the host's hierarchy, without a mount of its own. */
START_TEST(a_group_whose_name_is_hidden_is_the_one_that_lists_this_process)
{
    char us[16];

    clear_tree();
    put("/proc/cgroup", "0::/\n");
    put("/proc/mountinfo", "30 23 0:26 /../.. /cg rw - cgroup2 cgroup2 rw\n");
    put("/cg/cpu.max", "900000 100000\n");
    put("/cg/cgroup.procs", "1\n2\n");
    put("/cg/other/cpu.max", "50000 100000\n");
    put("/cg/other/cgroup.procs", "7\n");
    put("/cg/slice/cpu.max", "400000 100000\n");
    put("/cg/slice/cgroup.procs", "");
    (void)snprintf(us, sizeof(us), "9\n%d\n", (int)getpid());
    put("/cg/slice/ours/cgroup.procs", us);
    put("/cg/slice/ours/cpu.max", "200000 100000\n");
    expect_quota(200000, 100000, "/cg/slice/ours");
    put("/cg/slice/ours/cpu.max", "max 100000\n");
    expect_quota(400000, 100000, "/cg/slice");
    put("/cg/slice/ours/cgroup.procs", "9\n"); /* it cannot be found: the top alone is known */
    expect_quota(900000, 100000, "/cg");
}
END_TEST

START_TEST(a_mount_shows_its_own_part_of_the_hierarchy)
{
    const struct sight *sight = &sights[_i];
    char text[PATH_MAX];

    clear_tree();

    (void)snprintf(text, sizeof(text), "0::%s\n", sight->group);
    put("/proc/cgroup", text);
    (void)snprintf(text, sizeof(text), "30 23 0:26 %s /cg/x rw - cgroup2 cgroup2 rw\n", sight->top);
    put("/proc/mountinfo", text);
    put("/cpu.max", "1000 100000\n"); /* what ".." and wrong cuts would lead to */
    put("/cg/cpu.max", "1000 100000\n");
    put("/cg/a/cpu.max", "1000 100000\n");
    if (!sight->directory) {
        put("/cg/x/cpu.max", "1000 100000\n");
        expect_no_quota();
        return;
    }
    (void)snprintf(text, sizeof(text), "/cg/x%s/cpu.max", sight->directory);
    put(text, "120000 100000\n");
    (void)snprintf(text, sizeof(text), "/cg/x%s", sight->directory);
    expect_quota(120000, 100000, text);
}
END_TEST

START_TEST(any_mount_that_shows_the_group_will_do)
{
    clear_tree();
    put("/proc/cgroup", "0::/a/b\n");
    put("/proc/mountinfo", "30 23 0:26 /c /one rw - cgroup2 cgroup2 rw\n31 23 0:26 /a /two rw - cgroup2 cgroup2 rw\n"
                           "32 23 0:26 / / rw - cgroup2 cgroup2 rw\n");
    put("/one/cpu.max", "1000 100000\n");
    put("/two/b/cpu.max", "190000 100000\n");
    expect_quota(190000, 100000, "/two/b");
    put("/cpu.max", "180000 100000\n");
    expect_quota(180000, 100000, "");
}
END_TEST

/* ---- how many, and why ---- */

static int cpus_in_mask(void)
{
    cpu_set_t sets[16]; /* of 1024 each */

    ck_assert_int_eq(sched_getaffinity(0, sizeof(sets), sets), 0);
    return CPU_COUNT_S(sizeof(sets), sets);
}

static int min(int a, int b)
{
    return a < b ? a : b;
}

static void expect_workers(int n, const char *words)
{
    char reason[500], start[16];

    ck_assert_int_eq(brood__cpus_workers(proc, tree, reason, sizeof(reason)), n);
    (void)snprintf(start, sizeof(start), "%d: ", n);
    ck_assert_msg(strncmp(reason, start, strlen(start)) == 0, "%s", reason);
    ck_assert_msg(strstr(reason, words) != NULL, "%s", reason);
}

START_TEST(a_fraction_rounds_up_and_never_to_nothing)
{
    clear_tree();
    put_v2("/job");
    put("/sys/fs/cgroup/job/cpu.max", "1000 100000\n");
    expect_workers(1, "; cgroup quota 0.01 CPUs (cpu.max 1000 100000 in /sys/fs/cgroup/job) rounds up to 1");
    put("/sys/fs/cgroup/job/cpu.max", "100001 100000\n");
    expect_workers(min(2, cpus_in_mask()), " rounds up to 2");
    put("/sys/fs/cgroup/job/cpu.max", "100000 100000\n");
    expect_workers(1, "; cgroup quota 1.00 CPUs (cpu.max 100000 100000 in /sys/fs/cgroup/job)");
    put("/sys/fs/cgroup/job/cpu.max", "9000000000000000000 1\n");
    expect_workers(min(BROOD_WORKERS_MAX, cpus_in_mask()), "(cpu.max 9000000000000000000 1 in");
}
END_TEST

START_TEST(the_reason_is_a_line_of_words)
{
    char reason[300], expected[300];
    int cpus = cpus_in_mask(), n = min(2, cpus);

    clear_tree();

    put_v2("/x");
    put("/sys/fs/cgroup/x/cpu.max", "150000 100000\n");
    (void)snprintf(
        expected, sizeof(expected),
        "%d: %d CPU%s in the affinity mask; cgroup quota 1.50 CPUs (cpu.max 150000 100000 in /sys/fs/cgroup/x) rounds "
        "up to 2",
        n, cpus, cpus == 1 ? "" : "s");
    ck_assert_int_eq(brood__cpus_workers(proc, tree, reason, sizeof(reason)), n);
    ck_assert_str_eq(reason, expected);

    put("/proc/cgroup", "4:cpu:/x\n");
    put("/proc/mountinfo", "31 23 0:27 / /cg rw - cgroup cgroup rw,cpu\n");
    put("/cg/x/cpu.cfs_quota_us", "50000\n");
    put("/cg/x/cpu.cfs_period_us", "100000\n");
    expect_workers(1,
                   "; cgroup quota 0.50 CPUs (cpu.cfs_quota_us 50000, cpu.cfs_period_us 100000 in /cg/x) rounds up to 1");

    put("/proc/mountinfo", "");
    expect_workers(min(BROOD_WORKERS_MAX, cpus), "in the affinity mask; no cgroup quota");
}
END_TEST

START_TEST(the_reason_fits_the_room_it_is_given)
{
    char whole[300], part[300];

    clear_tree();

    put_v2("/x");
    put("/sys/fs/cgroup/x/cpu.max", "150000 100000\n");
    brood__cpus_workers(proc, tree, whole, sizeof(whole));
    for (size_t size = 1; size <= strlen(whole) + 1; size++) {
        memset(part, '#', sizeof(part));
        brood__cpus_workers(proc, tree, part, size);
        ck_assert_uint_eq(strlen(part), size - 1);
        ck_assert_int_eq(strncmp(part, whole, size - 1), 0);
        ck_assert_int_eq(part[size], '#');
    }
    part[0] = '#';
    brood__cpus_workers(proc, tree, part, 0);
    ck_assert_int_eq(part[0], '#');
    ck_assert_int_ge(brood__cpus_workers(proc, tree, NULL, 0), 1);
    ck_assert_int_ge(brood__cpus_workers(proc, tree, NULL, 100), 1);
}
END_TEST

static void expect_wish(const char *wish, int n, const char *words)
{
    char text[80];

    ck_assert_int_eq(setenv("BROOD_WORKERS", wish, 1), 0);
    (void)snprintf(text, sizeof(text), "; BROOD_WORKERS=%s in the environment%s", wish, words);
    expect_workers(n, text);
}

START_TEST(brood_workers_is_one_of_three_limits)
{
    int n = min(cpus_in_mask(), BROOD_WORKERS_MAX);

    clear_tree();
    expect_wish("1", 1, "");
    expect_wish("0001", 1, "");
    if (n < 1024)
        expect_wish("1024", n, " would be more");
    put_v2("/x");
    put("/sys/fs/cgroup/x/cpu.max", "50000 100000\n");
    expect_wish("1", 1, "");
    expect_wish("2", 1, " would be more");
}
END_TEST

START_TEST(a_malformed_brood_workers_is_ignored_in_words)
{
    static const char *const values[] = {
        "0", "1025", "-1", "+3", " 3", "3 ", "3x", "x", "1.5", "0x4", "99999999999999999999", "a\nb", "%s"};
    char reason[500];

    clear_tree();

    put_v2("/x");
    put("/sys/fs/cgroup/x/cpu.max", "50000 100000\n");
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char words[100];

        ck_assert_int_eq(setenv("BROOD_WORKERS", values[i], 1), 0);
        (void)snprintf(words, sizeof(words),
                       "; BROOD_WORKERS=%s in the environment is ignored: it is not a number from 1 to 1024",
                       strcmp(values[i], "a\nb") == 0 ? "a?b" : values[i]);
        expect_workers(1, words);
    }
    ck_assert_int_eq(setenv("BROOD_WORKERS", "", 1), 0);
    ck_assert_int_eq(brood__cpus_workers(proc, tree, reason, sizeof(reason)), 1);
    ck_assert_ptr_null(strstr(reason, "BROOD_WORKERS")); /* an empty one is none */
}
END_TEST

/* ---- this process ---- */

START_TEST(this_machine_has_workers)
{
    char reason[500];
    int n = brood_workers_default(reason, sizeof(reason));

    clear_tree();

    ck_assert_int_ge(n, 1);
    ck_assert_int_le(n, min(BROOD_WORKERS_MAX, cpus_in_mask()));
    ck_assert_int_eq(strtol(reason, NULL, 10), n);
    ck_assert_int_eq(n, min(BROOD_WORKERS_MAX, brood__cpus_usable()));
    ck_assert_ptr_nonnull(strstr(reason, "in the affinity mask"));
}
END_TEST

static void run_on_one_cpu(void *unused)
{
    cpu_set_t one;
    char reason[500];

    (void)unused;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    ck_assert_int_eq(brood__cpus_usable(), 1);
    ck_assert_int_eq(brood_workers_default(reason, sizeof(reason)), 1);
    ck_assert_msg(strstr(reason, "1 CPU in the affinity mask") != NULL, "%s", reason);
}

START_TEST(the_affinity_mask_limits)
{
    clear_tree();
    in_child(run_on_one_cpu, NULL);
}
END_TEST

/* From now on the kernel is one that is built for 8192 CPUs: it has no shorter masks than that. */
static void refuse_short_masks(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_getaffinity, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])), /* the low half: little endian */
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 8192 / 8, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void read_a_long_mask(void *unused)
{
    char reason[500];
    cpu_set_t set;
    int n = cpus_in_mask();

    (void)unused;
    refuse_short_masks();
    ck_assert_int_lt(sched_getaffinity(0, sizeof(set), &set), 0);
    ck_assert_int_ge(brood_workers_default(reason, sizeof(reason)), 1);
    ck_assert_int_eq(strtol(strstr(reason, ": ") + 2, NULL, 10), n);
    ck_assert_ptr_nonnull(strstr(reason, "in the affinity mask"));
}

START_TEST(a_mask_of_more_than_1024_cpus_can_be_read)
{
    clear_tree();
    in_child(read_a_long_mask, NULL);
}
END_TEST

static void do_without_a_mask(void *unused)
{
    (void)unused;
    deny(SYS_sched_getaffinity, EPERM);
    ck_assert_int_ge(brood__cpus_usable(), 1);
    put_v2("/x");
    put("/sys/fs/cgroup/x/cpu.max", "50000 100000\n");
    expect_workers(1, "online, and the affinity mask cannot be read (Operation not permitted); cgroup quota");
}

START_TEST(without_a_mask_the_cpus_that_are_online_count)
{
    clear_tree();
    in_child(do_without_a_mask, NULL);
}
END_TEST

/* ---- memory ---- */

#define MIB ((uint64_t)1 << 20)
#define MEMINFO "MemTotal: 9000000 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\nSwapTotal: 2048 kB\nSwapFree:  1024 kB\n"

static uint64_t available(void)
{
    return brood__memory_available_to(proc, proc, tree);
}

START_TEST(without_a_limit_there_is_what_the_machine_has)
{
    clear_tree();
    ck_assert_uint_eq(available(), UINT64_MAX);
    put("/proc/meminfo", MEMINFO);
    ck_assert_uint_eq(available(), 4097 * MIB);
    put_v2("/user/job");
    put("/sys/fs/cgroup/user/job/memory.max", "max\n");
    put("/sys/fs/cgroup/user/job/memory.current", "1\n");
    ck_assert_uint_eq(available(), 4097 * MIB);
}
END_TEST

START_TEST(a_limit_leaves_what_is_not_in_use_but_for_files)
{
    clear_tree();
    put("/proc/meminfo", MEMINFO);
    put_v2("/user/job");
    put("/sys/fs/cgroup/user/job/memory.max", "104857600\n");    /* 100 MiB */
    put("/sys/fs/cgroup/user/job/memory.current", "83886080\n"); /* 80 */
    ck_assert_uint_eq(available(), 21 * MIB);
    put("/sys/fs/cgroup/user/job/memory.stat", "anon 1\ninactive_file 1048576\nactive_file 2097152\nactive_anon 9\n");
    ck_assert_uint_eq(available(), 24 * MIB);
    put("/sys/fs/cgroup/user/job/memory.swap.max", "0\n");
    ck_assert_uint_eq(available(), 23 * MIB);
    put("/sys/fs/cgroup/user/job/memory.current", "209715200\n"); /* over the limit, which was lowered */
    ck_assert_uint_eq(available(), 0);
}
END_TEST

START_TEST(the_tightest_limit_of_those_above_counts)
{
    clear_tree();
    put("/proc/meminfo", MEMINFO);
    put_v2("/user/job");
    put("/sys/fs/cgroup/user/job/memory.max", "104857600\n");
    put("/sys/fs/cgroup/user/job/memory.current", "0\n");
    put("/sys/fs/cgroup/user/memory.max", "52428800\n");
    put("/sys/fs/cgroup/user/memory.current", "1048576\n");
    put("/sys/fs/cgroup/user/memory.swap.max", "0\n");
    ck_assert_uint_eq(available(), 49 * MIB);
}
END_TEST

START_TEST(a_limit_of_version_1_counts)
{
    clear_tree();
    put("/proc/meminfo", MEMINFO);
    put("/proc/cgroup", "4:memory:/job\n1:cpu:/\n");
    put("/proc/mountinfo", OTHER_MOUNTS "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n");
    ck_assert_uint_eq(available(), 4097 * MIB);
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "104857600\n");
    put("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "10485760\n");
    put("/sys/fs/cgroup/memory/job/memory.stat", "active_file 7\ntotal_inactive_file 1048576\n");
    ck_assert_uint_eq(available(), 92 * MIB);
}
END_TEST

START_TEST(this_machine_has_some)
{
    ck_assert_uint_gt(brood__memory_available(), 0);
    ck_assert_uint_le(brood__memory_available(), (uint64_t)1 << 50);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cpus");
    int status;

    make_tree();
    add_tests(suite, "version 2", a_quota_of_the_group_itself_holds, a_tighter_quota_of_a_group_above_holds,
              a_quota_where_the_hierarchy_is_mounted_holds, quotas_of_other_groups_do_not_matter, max_is_no_quota,
              what_is_no_quota_is_ignored, NULL);
    add_tests(suite, "version 1", a_quota_of_version_1_holds, a_container_of_version_1_sees_its_own_part,
              where_both_versions_are_mounted_the_tighter_quota_holds, NULL);
    add_tests(suite, "paths", missing_files_are_no_quota, torn_lines_are_skipped, strange_names_are_found,
              any_mount_that_shows_the_group_will_do, a_group_whose_name_is_hidden_is_the_one_that_lists_this_process,
              NULL);
    add_loop_tests(suite, "sights", 0, sizeof(sights) / sizeof(sights[0]), a_mount_shows_its_own_part_of_the_hierarchy,
                   NULL);
    add_tests(suite, "workers", a_fraction_rounds_up_and_never_to_nothing, the_reason_is_a_line_of_words,
              the_reason_fits_the_room_it_is_given, brood_workers_is_one_of_three_limits,
              a_malformed_brood_workers_is_ignored_in_words, NULL);
    add_tests(suite, "this process", this_machine_has_workers, the_affinity_mask_limits,
              a_mask_of_more_than_1024_cpus_can_be_read, without_a_mask_the_cpus_that_are_online_count, NULL);
    add_tests(suite, "memory", without_a_limit_there_is_what_the_machine_has,
              a_limit_leaves_what_is_not_in_use_but_for_files, the_tightest_limit_of_those_above_counts,
              a_limit_of_version_1_counts, this_machine_has_some, NULL);
    status = run_suite(suite);
    remove_tree();
    return status;
}
