#include <errno.h>
#include <string.h>

#include "os/error.h"
#include "os/options.h"

int brood__options(void *options, size_t known, const void *given, const char *macro)
{
    size_t size = known;

    if (given)
        memcpy(&size, given, sizeof(size));
    if (size < sizeof(size) || size > known)
        return brood_fail(-EINVAL,
                          "options of %zu bytes, where this brood knows %zu: begin with %s(), and link the library that "
                          "belongs to the header",
                          size, known, macro);
    if (given)
        memcpy(options, given, size);
    return 0;
}
