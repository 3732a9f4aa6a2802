/* check_symbols.c - names from the symbol table of a file, which may be anything; and the frames of a backtrace by them. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/module.h"
#include "os/symbols.h"
#include "pool/future/backtrace.h"
#include "small_elf.h"
#include "support.h"

static int file_of(const void *bytes, size_t size)
{
    int fd = memfd_create("symbols", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    return fd;
}

static int find(int fd, struct symbol *symbols, size_t count)
{
    int r = brood__symbols_find(fd, symbols, count);

    close(fd);
    return r;
}

/* What is found in the small executable at the first function's beginning. */
static int find_grind(const struct elf *elf, struct symbol *ret_symbol)
{
    *ret_symbol = (struct symbol){.address = 0x1000};
    return find(file_of(elf, sizeof(*elf)), ret_symbol, 1);
}

/* ---- this program ---- */

static __attribute__((noinline)) int nobody_exports_this(int n)
{
    __asm__ volatile("" : "+r"(n));
    return n;
}

static const char *own_path(void)
{
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

    ck_assert_int_gt(length, 0);
    path[length] = '\0';
    return path;
}

static uint64_t own_address(uintptr_t function)
{
    struct link_map *map = NULL;
    Dl_info info;

    ck_assert_int_ne(dladdr1((void *)function, &info, (void **)&map, RTLD_DL_LINKMAP), 0);
    return function - map->l_addr;
}

START_TEST(a_static_function_has_its_name)
{
    uint64_t here = own_address((uintptr_t)nobody_exports_this);
    struct symbol symbols[] = {{.address = here}, {.address = 0}, {.address = here + 1}, {.address = UINT64_MAX}};
    int fd = brood__symbols_open(own_path());

    ck_assert_int_eq(nobody_exports_this(1), 1);
    ck_assert_msg(fd >= 0, "%s", strerror(-fd));
    ck_assert_int_eq(find(fd, symbols, 4), 2);
    ck_assert_str_eq(symbols[0].name, "nobody_exports_this");
    ck_assert_str_eq(symbols[2].name, "nobody_exports_this");
    ck_assert(symbols[0].start == here && symbols[2].start == here);
    ck_assert(symbols[1].name[0] == '\0' && symbols[3].name[0] == '\0');
}
END_TEST

START_TEST(an_executable_that_is_cut_anywhere_has_right_names_or_none)
{
    uint64_t here = own_address((uintptr_t)nobody_exports_this);
    int fd = open(own_path(), O_RDONLY | O_CLOEXEC), named = 0;
    struct stat status;

    ck_assert_int_eq(fstat(fd, &status), 0);
    char *bytes = malloc((size_t)status.st_size);

    ck_assert_int_eq(pread(fd, bytes, (size_t)status.st_size, 0), status.st_size);
    close(fd);
    fd = file_of(bytes, (size_t)status.st_size);
    for (off_t length = status.st_size, step = status.st_size / 1000; length > 0; length -= length > 200 ? step : 1) {
        struct symbol symbol = {.address = here};

        ck_assert_int_eq(ftruncate(fd, length), 0);
        if (brood__symbols_find(fd, &symbol, 1) == 1) {
            ck_assert_str_eq(symbol.name, "nobody_exports_this");
            named++;
        } else
            ck_assert_str_eq(symbol.name, "");
    }
    ck_assert_int_ge(named, 1);
    close(fd);
    free(bytes);
}
END_TEST

/* ---- a small one ---- */

START_TEST(an_address_belongs_to_the_function_that_it_is_in)
{
    struct elf elf = elf_make();
    struct symbol symbols[] = {{.address = 0xfff},  {.address = 0x1000}, {.address = 0x10ff},
                               {.address = 0x1100}, {.address = 0x117f}, {.address = 0x1180}};

    ck_assert_int_eq(find(file_of(&elf, sizeof(elf)), symbols, 6), 4);
    ck_assert_str_eq(symbols[0].name, "");
    ck_assert_str_eq(symbols[1].name, "grind");
    ck_assert_str_eq(symbols[2].name, "grind");
    ck_assert_str_eq(symbols[3].name, "sieve");
    ck_assert_str_eq(symbols[4].name, "sieve");
    ck_assert_uint_eq(symbols[4].start, 0x1100);
    ck_assert_str_eq(symbols[5].name, "");
}
END_TEST

/* Here what comes last are the names, and the symbols before them. */
START_TEST(a_table_that_is_cut_anywhere_has_right_names_or_none)
{
    struct elf elf = elf_make();
    int named = 0;

    for (size_t length = 0; length <= sizeof(elf); length++) {
        struct symbol symbols[] = {{.address = 0x1000}, {.address = 0x1100}};
        int r = find(file_of(&elf, length), symbols, 2);

        named += r > 0 ? r : 0;
        ck_assert(!symbols[0].name[0] || strcmp(symbols[0].name, "grind") == 0);
        ck_assert(!symbols[1].name[0] || strcmp(symbols[1].name, "sieve") == 0);
    }
    /* grind ends 7 bytes behind the beginning of the names, and sieve 13 */
    ck_assert_int_eq(named, (int)(2 * (sizeof(elf) - offsetof(struct elf, names) + 1) - 7 - 13));
}
END_TEST

START_TEST(what_is_no_function_of_its_own_is_not_named)
{
    struct symbol symbol;
    struct elf elf = elf_make();

    elf.entries[1].st_info = STT_OBJECT;
    ck_assert_int_eq(find_grind(&elf, &symbol), 0);
    elf = elf_make();
    elf.entries[1].st_shndx = SHN_UNDEF; /* another library's */
    ck_assert_int_eq(find_grind(&elf, &symbol), 0);
    elf = elf_make();
    elf.entries[1].st_size = 0;
    ck_assert_int_eq(find_grind(&elf, &symbol), 0);
}
END_TEST

START_TEST(a_long_name_is_cut)
{
    struct {
        struct elf elf;
        char more[400];
    } file = {.elf = elf_make()};
    struct symbol symbol = {.address = 0x1000};

    memset(file.elf.names + 1, 'x', sizeof(file.elf.names) - 1);
    memset(file.more, 'x', sizeof(file.more) - 1);
    file.elf.sections[ELF_NAMES].sh_size = sizeof(file.elf.names) + sizeof(file.more);
    ck_assert_int_eq(find(file_of(&file, sizeof(file)), &symbol, 1), 1);
    ck_assert_uint_eq(strlen(symbol.name), SYMBOL_NAME_MAX - 1);
}
END_TEST

/* What a terminal would do something about, and what has no end. */
START_TEST(a_name_that_is_none_is_not_taken)
{
    struct symbol symbol;
    struct elf elf = elf_make();

    elf.names[2] = '\033';
    ck_assert_int_eq(find_grind(&elf, &symbol), 0);
    ck_assert_str_eq(symbol.name, "");
    elf = elf_make();
    elf.sections[ELF_NAMES].sh_size = 4;
    ck_assert_int_eq(find_grind(&elf, &symbol), 0);
    elf = elf_make();
    memset(elf.names + 1, 'x', sizeof(elf.names) - 1);
    elf.sections[ELF_NAMES].sh_size = UINT32_MAX; /* the file ends before */
    ck_assert_int_eq(find_grind(&elf, &symbol), 0);
    ck_assert_str_eq(symbol.name, "");
}
END_TEST

START_TEST(numbers_that_lead_nowhere_lead_to_no_names)
{
    static const uint64_t wild[] = {UINT64_MAX, UINT64_MAX - 63, INT64_MAX, (uint64_t)1 << 40, UINT32_MAX};
    struct symbol symbol;

    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        struct elf elf[7];

        for (size_t n = 0; n < 7; n++)
            elf[n] = elf_make();
        elf[0].header.e_shoff = wild[i];
        elf[1].sections[ELF_SYMBOLS].sh_offset = wild[i];
        elf[2].sections[ELF_SYMBOLS].sh_size = wild[i];
        elf[3].sections[ELF_SYMBOLS].sh_entsize = wild[i];
        elf[4].sections[ELF_SYMBOLS].sh_link = (uint32_t)wild[i];
        elf[5].sections[ELF_NAMES].sh_offset = wild[i];
        elf[6].entries[1].st_name = (uint32_t)wild[i];
        for (size_t n = 0; n < 7; n++) {
            ck_assert_int_le(find_grind(&elf[n], &symbol), 0);
            ck_assert_str_eq(symbol.name, "");
        }
    }
}
END_TEST

START_TEST(what_is_no_executable_of_this_machine_is_refused)
{
    struct symbol symbol = {.address = 0x1000};
    struct elf elf[4] = {elf_make(), elf_make(), elf_make(), elf_make()};

    elf[0].header.e_ident[0]++;
    elf[1].header.e_ident[EI_CLASS] ^= 3;
    elf[2].header.e_ident[EI_DATA] ^= 3;
    elf[3].header.e_shentsize--;
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(find_grind(&elf[i], &symbol), -ENOEXEC);
    ck_assert_int_eq(find(file_of("", 0), &symbol, 1), -ENOEXEC);
    ck_assert_int_eq(find(file_of("#!/bin/sh\n", 10), &symbol, 1), -ENOEXEC);
}
END_TEST

/* ---- which files are opened ---- */

START_TEST(only_plain_files_are_opened_and_no_thread_waits_for_a_fifo)
{
    char directory[] = "/tmp/brood-symbols-XXXXXX", fifo[64];

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    ck_assert_int_eq(brood__symbols_open(fifo), -EINVAL);
    ck_assert_int_eq(brood__symbols_open(directory), -EINVAL);
    ck_assert_int_eq(brood__symbols_open("/dev/null"), -EINVAL);
    ck_assert_int_eq(brood__symbols_open("bin/sh"), -EINVAL);
    ck_assert_int_eq(brood__symbols_open(""), -EINVAL);
    ck_assert_int_eq(unlink(fifo), 0);
    ck_assert_int_eq(brood__symbols_open(fifo), -ENOENT);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

/* It need not be what runs. */
START_TEST(a_file_that_has_changed_since_is_not_looked_at)
{
    char path[] = "/tmp/brood-symbols-XXXXXX";
    struct elf elf = elf_make();
    const struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    int fd = mkostemp(path, O_CLOEXEC);

    ck_assert_int_eq(write(fd, &elf, sizeof(elf)), sizeof(elf));
    ck_assert_int_eq(futimens(fd, long_ago), 0);
    ck_assert_int_eq(brood__symbols_open(path), -ESTALE);
    close(fd);
    unlink(path);
}
END_TEST

/* ---- the frames of a backtrace ---- */

START_TEST(frames_of_any_file_are_named_and_other_lines_stay)
{
    uint64_t here = own_address((uintptr_t)nobody_exports_this);
    unsigned long long at = (unsigned long long)here;
    char text[4 * PATH_MAX + 256], wanted[4 * PATH_MAX + 512], *named;

    snprintf(text, sizeof(text),
             "#0 %s+0x%llx\n#1 %s+0x%llx\n#2 main+0x12 (%s+0x1234)\n#3 0x7f00\n#4 /nowhere+0x12\n#5 %s+0x0\n", own_path(),
             at, own_path(), at + 1, own_path(), own_path());
    snprintf(wanted, sizeof(wanted),
             "#0 nobody_exports_this+0x0 (%s+0x%llx)\n#1 nobody_exports_this+0x1 (%s+0x%llx)\n#2 main+0x12 (%s+0x1234)\n"
             "#3 0x7f00\n#4 /nowhere+0x12\n#5 %s+0x0\n",
             own_path(), at, own_path(), at + 1, own_path(), own_path());
    named = brood__backtrace_name(text);
    ck_assert_ptr_nonnull(named);
    ck_assert_str_eq(named, wanted);
    free(named);
}
END_TEST

/* It will return behind its call, where another function may begin. */
START_TEST(a_caller_is_named_by_its_call)
{
    uint64_t here = own_address((uintptr_t)nobody_exports_this);
    char text[PATH_MAX + 64], *named;

    snprintf(text, sizeof(text), "#1 %s+0x%llx\n", own_path(), (unsigned long long)here);
    named = brood__backtrace_name(text);
    ck_assert(!named || !strstr(named, "nobody_exports_this"));
    free(named);
}
END_TEST

START_TEST(lines_that_make_no_sense_are_left_alone)
{
    static const char *const lines[] = {
        "",
        "\n",
        "#",
        "# ",
        "#0 ",
        "#0 /",
        "#0 /bin/sh",
        "#0 /bin/sh+",
        "#0 /bin/sh+0x",
        "#0 /bin/sh+0xg",
        "#0 /bin/sh+0x1 ",
        "/bin/sh+0x1",
        "+0x1",
        "#0 +0x1",
        "#0+0x1 /",
        "#0 /bin/sh+0xfffffffffffffffffffff",
        "#0 /proc/self/mem+0x1",
    };
    char many[100 * 16 + 1] = "";

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        ck_assert_ptr_null(brood__backtrace_name(lines[i]));
    for (size_t i = 0; i < 100; i++)
        memcpy(many + 16 * i, "#1 /nowhere+0x1\n", 16);
    ck_assert_ptr_null(brood__backtrace_name(many));
}
END_TEST

/* ---- what is loaded ---- */

START_TEST(the_loader_would_say_the_same_of_an_address)
{
    const char *addresses[] = {
        (const char *)(uintptr_t)&strlen,           (const char *)(uintptr_t)&printf,
        (const char *)(uintptr_t)&malloc + 5,       (const char *)(uintptr_t)&pthread_create + 3,
        (const char *)(uintptr_t)&suite_create + 1, (const char *)(uintptr_t)&the_loader_would_say_the_same_of_an_address};

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct module_place place;
        const struct link_map *map = NULL;
        Dl_info info;

        ck_assert_int_ne(dladdr1(addresses[i], &info, (void **)&map, RTLD_DL_LINKMAP), 0);
        ck_assert(brood__module_find(addresses[i], &place));
        ck_assert_str_eq(place.file, map->l_name);
        ck_assert_uint_eq(place.offset, (size_t)addresses[i] - (size_t)map->l_addr);
        ck_assert_int_eq(place.name != NULL, info.dli_sname != NULL);
        if (place.name)
            ck_assert_uint_eq(place.into, (size_t)addresses[i] - (size_t)info.dli_saddr);
    }
}
END_TEST

START_TEST(where_nothing_is_loaded_nothing_is_found)
{
    int local;
    struct module_place place;

    ck_assert(!brood__module_find((const void *)64, &place)); /* NOLINT */
    ck_assert(!brood__module_find(&local, &place));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("symbols");

    add_tests(suite, "this program", a_static_function_has_its_name,
              an_executable_that_is_cut_anywhere_has_right_names_or_none, NULL);
    add_tests(suite, "a small one", an_address_belongs_to_the_function_that_it_is_in,
              a_table_that_is_cut_anywhere_has_right_names_or_none, what_is_no_function_of_its_own_is_not_named,
              a_long_name_is_cut, a_name_that_is_none_is_not_taken, numbers_that_lead_nowhere_lead_to_no_names,
              what_is_no_executable_of_this_machine_is_refused, NULL);
    add_tests(suite, "files", only_plain_files_are_opened_and_no_thread_waits_for_a_fifo,
              a_file_that_has_changed_since_is_not_looked_at, NULL);
    add_tests(suite, "modules", the_loader_would_say_the_same_of_an_address, where_nothing_is_loaded_nothing_is_found,
              NULL);
    add_tests(suite, "backtraces", frames_of_any_file_are_named_and_other_lines_stay, a_caller_is_named_by_its_call,
              lines_that_make_no_sense_are_left_alone, NULL);
    return run_suite(suite);
}
