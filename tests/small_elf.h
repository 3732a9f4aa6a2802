/* small_elf.h - a small executable with two functions in its symbol table, to be spoiled in some way. */
#ifndef BROOD_TESTS_SMALL_ELF_H
#define BROOD_TESTS_SMALL_ELF_H

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

enum { ELF_SYMBOLS = 1, ELF_NAMES, ELF_SECTIONS }; /* section 0 is nobody's */

struct elf {
    ElfW(Ehdr) header;
    ElfW(Shdr) sections[ELF_SECTIONS];
    ElfW(Sym) entries[3]; /* the first is nobody's: the others are grind, 0x1000 to 0x10ff, and sieve, 0x1100 to 0x117f */
    char names[16];
};

static inline struct elf elf_make(void)
{
    struct elf elf = {.header = {.e_shoff = offsetof(struct elf, sections),
                                 .e_shentsize = sizeof(elf.sections[0]),
                                 .e_shnum = ELF_SECTIONS},
                      .sections = {[ELF_SYMBOLS] = {.sh_type = SHT_SYMTAB,
                                                    .sh_offset = offsetof(struct elf, entries),
                                                    .sh_size = sizeof(elf.entries),
                                                    .sh_entsize = sizeof(elf.entries[0]),
                                                    .sh_link = ELF_NAMES},
                                   [ELF_NAMES] = {.sh_type = SHT_STRTAB,
                                                  .sh_offset = offsetof(struct elf, names),
                                                  .sh_size = sizeof(elf.names)}},
                      .entries = {{.st_name = 0},
                                  {.st_name = 1, .st_info = STT_FUNC, .st_shndx = 7, .st_value = 0x1000, .st_size = 0x100},
                                  {.st_name = 7, .st_info = STT_FUNC, .st_shndx = 7, .st_value = 0x1100, .st_size = 0x80}},
                      .names = "\0grind\0sieve"};

    memcpy(elf.header.e_ident, ELFMAG, SELFMAG);
    elf.header.e_ident[EI_CLASS] = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
    elf.header.e_ident[EI_DATA] = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
    return elf;
}

#endif
