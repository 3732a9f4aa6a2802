/* fuzz_symbols.c - a small executable whose bytes are spoiled, and a backtrace that is made up. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "os/symbols.h"
#include "pool/future/backtrace.h"
#include "small_elf.h"

#define ADDRESSES 6

static void need(bool what)
{
    if (!what)
        abort();
}

static void check_name(const char *name)
{
    need(memchr(name, '\0', SYMBOL_NAME_MAX) != NULL);
    for (; *name; name++)
        need((unsigned char)*name > ' ' && *name != 127);
}

/* A few bytes here and there, or else it is no executable any more. */
static struct elf spoil(struct fuzz_input *input)
{
    struct elf elf = elf_make();

    for (int changes = fuzz_byte(input) % 8; changes > 0; changes--)
        ((unsigned char *)&elf)[fuzz_number(input, 2) % sizeof(elf)] = fuzz_byte(input);
    return elf;
}

static void look_up(struct fuzz_input *input)
{
    struct elf elf = spoil(input);
    struct symbol symbols[ADDRESSES] = {{.address = 0}, {.address = 0x1000}, {.address = 0x117f}};
    int fd = memfd_create("symbols", MFD_CLOEXEC), r, named = 0;

    for (int i = 3; i < ADDRESSES; i++)
        symbols[i].address = fuzz_number(input, 8);
    need(fd >= 0 && write(fd, &elf, sizeof(elf) - fuzz_byte(input) % 64) > 0);
    r = brood__symbols_find(fd, symbols, ADDRESSES);
    for (int i = 0; i < ADDRESSES; i++) {
        check_name(symbols[i].name);
        need(!symbols[i].name[0] || symbols[i].start <= symbols[i].address);
        named += symbols[i].name[0] != '\0';
    }
    need(r < 0 ? named == 0 : named == r);
    (void)close(fd);
}

/* Of what frames are made of, in any order. */
static void read_backtrace(struct fuzz_input *input)
{
    static const char *const parts[] = {"#0 ", "#1 ", "/bin/sh", "/proc/self/exe", "+0x", "+", "1a2b",
                                        "\n",  " (",  ")",       "\n\n",           "/",   "x", "\033"};
    char text[512] = "", *named;
    size_t used = 0;

    while (input->size > 0 && used + 16 < sizeof(text)) {
        const char *part = parts[fuzz_byte(input) % (sizeof(parts) / sizeof(parts[0]))];

        memcpy(text + used, part, strlen(part));
        used += strlen(part);
    }
    named = brood__backtrace_name(text);
    need(!named || strlen(named) > used);
    free(named);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};

    look_up(&input);
    read_backtrace(&input);
    return 0;
}
