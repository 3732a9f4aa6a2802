/* symbols.h - the names of functions, from the symbol table of an executable or a library.
 *
 *     struct symbol symbols[] = {{.address = 0x1493}};
 *     int fd = brood__symbols_open("/usr/bin/mill");
 *
 *     if (fd >= 0 && brood__symbols_find(fd, symbols, 1) == 1)
 *         printf("%s+0x%x\n", symbols[0].name, 0x1493 - symbols[0].start);
 *
 * dladdr(3) knows what a program exports, which leaves out every static function.  These are in .symtab, which is not
 * loaded, and so is read from the file; a stripped program has none.
 *
 * The path may come from an untrusted process, and so may the file.  It is opened only if it is a plain file, read by
 * pread(2), since a mapping of a file that becomes shorter is SIGBUS, and its contents are checked: an invalid file has
 * no names.
 */
#ifndef BROOD_OS_SYMBOLS_H
#define BROOD_OS_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#define SYMBOL_NAME_MAX 128

struct symbol {
    uint64_t address;           /* in: relative to the file, not to where it is loaded */
    uint64_t start;             /* out: of the function that contains this address */
    char name[SYMBOL_NAME_MAX]; /* its name, cut if it is longer; "" if there is none */
};

/* Opens the file for reading.  -ESTALE: it has changed since brood was loaded, as its ctime says, which cannot be set
 * back, so it need not be the running file; -EINVAL: no absolute path, or no plain file; -ENOENT, -EACCES …  It does not
 * block and has no effect on the file.  It leaves brood_error() alone. */
int brood__symbols_open(const char *path);

/* Names the symbols that it can, and sets the others' name to ""; returns how many.  -ENOEXEC: the file is no ELF file
 * of this machine's kind, or has no symbols.  -ENOMEM.  Takes time in proportion to the table: for a million symbols 10
 * ms, or 50 for as many addresses as a backtrace may have. */
int brood__symbols_find(int fd, struct symbol *symbols, size_t count);

#endif
