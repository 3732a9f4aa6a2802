#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/symbols.h"

#define SYMBOLS_MAX ((uint64_t)1 << 22) /* in a table; a file that claims more is not believed */
#define AT_ONCE 512

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define DATA_OURS ELFDATA2LSB
#else
#define DATA_OURS ELFDATA2MSB
#endif
#define CLASS_OURS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)

typedef ElfW(Ehdr) Header;
typedef ElfW(Shdr) Section;
typedef ElfW(Sym) Entry;

/* A table of symbols, with the names that belong to it. */
struct table {
    int fd;
    uint64_t at, count; /* of the entries */
    uint64_t names, names_bytes;
};

/* ---- the file ---- */

/* By the clock that file systems use, which is a tick late: a later change is not older than this.  Forked children were
 * loaded when their parent was. */
static struct timespec loaded;

__attribute__((constructor)) static void loaded_record(void)
{
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &loaded);
}

static bool is_older(const struct timespec *time, const struct timespec *than)
{
    return time->tv_sec != than->tv_sec ? time->tv_sec < than->tv_sec : time->tv_nsec < than->tv_nsec;
}

/* Opens the file that `place` stands for, which cannot be replaced by another one. */
static int reopen(int place)
{
    struct stat status;
    char path[32];
    int fd;

    if (fstat(place, &status) < 0 || !S_ISREG(status.st_mode))
        return -EINVAL;
    if (!is_older(&status.st_ctim, &loaded))
        return -ESTALE;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* O_PATH opens only the name: a FIFO, a tape or a watchdog would notice a real open. */
int brood__symbols_open(const char *path)
{
    int place, fd;

    if (path[0] != '/')
        return -EINVAL;
    place = open(path, O_PATH | O_CLOEXEC);
    if (place < 0)
        return -errno;
    fd = reopen(place);
    (void)close(place);
    return fd;
}

/* How many of the bytes the file has there. */
static size_t file_read_some(int fd, uint64_t at, void *to, size_t bytes)
{
    size_t done = 0;
    ssize_t r = 1;

    while (done < bytes && r > 0 && at <= INT64_MAX - done) {
        r = pread(fd, (char *)to + done, bytes - done, (off_t)(at + done));
        if (r > 0)
            done += (size_t)r;
        else if (r < 0 && errno == EINTR)
            r = 1;
    }
    return done;
}

static bool read_at(int fd, uint64_t at, void *to, size_t bytes)
{
    return file_read_some(fd, at, to, bytes) == bytes;
}

/* ---- the table ---- */

static bool header_is_native(const Header *header)
{
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == CLASS_OURS &&
           header->e_ident[EI_DATA] == DATA_OURS && header->e_shentsize == sizeof(Section);
}

/* Reads the section of that number, if there is one. */
static bool read_section(int fd, const Header *header, uint32_t number, Section *ret_section)
{
    uint64_t at;

    return number < header->e_shnum && !__builtin_add_overflow(header->e_shoff, number * sizeof(Section), &at) &&
           read_at(fd, at, ret_section, sizeof(*ret_section));
}

static bool is_table(const Section *section)
{
    return section->sh_type == SHT_SYMTAB && section->sh_entsize == sizeof(Entry) &&
           section->sh_size / sizeof(Entry) <= SYMBOLS_MAX;
}

static int find_table(int fd, struct table *ret_table)
{
    Header header;
    Section section, names;

    if (!read_at(fd, 0, &header, sizeof(header)) || !header_is_native(&header))
        return -ENOEXEC;
    for (uint32_t i = 0; read_section(fd, &header, i, &section); i++)
        if (is_table(&section) && read_section(fd, &header, section.sh_link, &names) && names.sh_type == SHT_STRTAB) {
            *ret_table =
                (struct table){fd, section.sh_offset, section.sh_size / sizeof(Entry), names.sh_offset, names.sh_size};
            return 0;
        }
    return -ENOEXEC;
}

static bool is_function(const Entry *entry)
{
    unsigned type = ELF64_ST_TYPE(entry->st_info); /* the same in both classes */

    return (type == STT_FUNC || type == STT_GNU_IFUNC) && entry->st_shndx != SHN_UNDEF && entry->st_name != 0;
}

/* Of several names of one function the exported one, which comes last, is the best known. */
static void match(const Entry *entry, struct symbol *symbols, uint64_t *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (symbols[i].address >= entry->st_value && symbols[i].address - entry->st_value < entry->st_size) {
            symbols[i].start = entry->st_value;
            names[i] = entry->st_name;
        }
}

/* Sets where the name of each symbol is among the names, or 0. */
static bool scan(const struct table *table, struct symbol *symbols, uint64_t *names, size_t count)
{
    Entry *entries = calloc(AT_ONCE, sizeof(*entries));
    uint64_t done = 0, some;

    for (; entries && done < table->count; done += some) {
        some = table->count - done < AT_ONCE ? table->count - done : AT_ONCE;
        if (table->at > INT64_MAX || !read_at(table->fd, table->at + done * sizeof(Entry), entries, some * sizeof(Entry)))
            break;
        for (uint64_t i = 0; i < some; i++)
            if (is_function(&entries[i]))
                match(&entries[i], symbols, names, count);
    }
    free(entries);
    return entries != NULL;
}

/* A name may be printed on a terminal, so it must not have control characters. */
static bool is_decent(const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name <= ' ' || *name == 127)
            return false;
    return true;
}

/* A name without an end, because the file or the names end first, is invalid. */
static bool read_name(const struct table *table, uint64_t name, char *to, size_t room)
{
    uint64_t at, bytes = name < table->names_bytes ? table->names_bytes - name : 0;
    size_t done;

    if (bytes == 0 || __builtin_add_overflow(table->names, name, &at))
        return false;
    done = file_read_some(table->fd, at, to, bytes < room ? bytes : room);
    if (!memchr(to, '\0', done) && done < room)
        to[0] = '\0';
    to[room - 1] = '\0';
    if (!is_decent(to))
        to[0] = '\0';
    return to[0] != '\0';
}

int brood__symbols_find(int fd, struct symbol *symbols, size_t count)
{
    uint64_t *names = calloc(count ? count : 1, sizeof(*names));
    struct table table = {.fd = -1};
    int r = names ? find_table(fd, &table) : -ENOMEM, found = 0;

    for (size_t i = 0; i < count; i++)
        symbols[i].name[0] = '\0';
    if (r == 0 && !scan(&table, symbols, names, count))
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
        found += names[i] != 0 && read_name(&table, names[i], symbols[i].name, sizeof(symbols[i].name));
    free(names);
    return r < 0 ? r : found;
}
