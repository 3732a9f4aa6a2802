/* options.h - inside the library: options, whose structs grow at their end.
 *
 * Their first member, `size`, says how much of them the program's header had.  An older header had less: what it lacks
 * is 0, the default.  A newer one may ask for options that this library does not have.
 */
#ifndef BROOD_OS_OPTIONS_H
#define BROOD_OS_OPTIONS_H

#include <stddef.h>

/* Copies `given` to `options`, `known` bytes that hold the defaults; NULL keeps these.  Returns 0; -EINVAL with a
 * message that names the macro which sets the size. */
int brood__options(void *options, size_t known, const void *given, const char *macro);

#endif
