/* options.h - inside the library: options, whose structs grow at their end.
 *
 * A program says by their first member, `size`, how much of them its header knew.  An older one knew less: what it does not
 * say is 0, the default.  One that knows more than this library asks for what is not there.
 */
#ifndef BROOD_OS_OPTIONS_H
#define BROOD_OS_OPTIONS_H

#include <stddef.h>

/* Copies what was given to `options`, `known` bytes that hold the defaults; NULL: they stay.  0; -EINVAL, in words that
 * name the macro which says the size. */
int brood__options(void *options, size_t known, const void *given, const char *macro);

#endif
