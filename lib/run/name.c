#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <brood/base.h>

#include "run/name.h"
#include "run/run.h"

int brood__name_set(struct names *names, const char *text)
{
    char copy[NAME_MAX_BYTES + 1]; /* `text` may be an old name of the same owner */
    unsigned set;

    if (!text || !*text)
        return brood_fail(-EINVAL, "a name has at least one byte");
    (void)snprintf(copy, sizeof(copy), "%s", text);
    brood__lock(&brood__run_lock);
    set = atomic_load_explicit(&names->set, memory_order_relaxed) + 1;
    memcpy(names->texts[set % NAMES_KEPT], copy, sizeof(copy));
    atomic_store_explicit(&names->set, set, memory_order_release);
    brood__unlock(&brood__run_lock);
    return 0;
}

const char *brood__name(const struct names *names)
{
    return names->texts[atomic_load_explicit(&names->set, memory_order_acquire) % NAMES_KEPT];
}
