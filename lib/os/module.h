/* module.h - which file an address is loaded from, and which of its exported functions contains it: for signal handlers.
 *
 *     struct module_place place;
 *
 *     if (brood__module_find(address, &place))
 *         printf("%s+0x%zx\n", place.file, place.offset);
 *
 * dladdr(3) takes the loader's lock, which the interrupted thread, or one that waits for it, may hold: a library whose
 * constructor joins a thread that crashes would hang for ever.  So this asks _dl_find_object(3) (glibc 2.35), which
 * takes no lock, for the object and reads its table of exported symbols in place.  With an older C library it calls
 * dladdr(3): so a handler must make sure that the process ends, whatever blocks it (brood__process_end_in()).
 */
#ifndef BROOD_OS_MODULE_H
#define BROOD_OS_MODULE_H

#include <stdbool.h>
#include <stddef.h>

struct module_place {
    const char *file; /* the loader's name for it: "" is the program itself */
    size_t offset;    /* relative to the file, not to where it is loaded */
    const char *name; /* of the function, if it is exported; else NULL */
    size_t into;      /* bytes from the start of the function */
};

/* False: no file is loaded there.  The strings live as long as the module is loaded. */
bool brood__module_find(const void *address, struct module_place *ret_place);

#endif
