#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <brood/base.h>

#include "run/name.h"

int brood__name_set(struct names *names, const char *text)
{
    struct name *name;

    if (!text || !*text)
        return brood_fail(-EINVAL, "a name has at least one byte");
    name = malloc(sizeof(*name));
    if (!name)
        return brood_fail(-ENOMEM, "out of memory");
    (void)snprintf(name->text, sizeof(name->text), "%s", text);
    name->older = atomic_load(&names->newest);
    while (!atomic_compare_exchange_weak(&names->newest, &name->older, name))
        ;
    return 0;
}

const char *brood__name(const struct names *names)
{
    struct name *newest = atomic_load(&names->newest);

    return newest ? newest->text : "";
}

void brood__names_free(struct names *names)
{
    struct name *name = atomic_load(&names->newest);

    while (name) {
        struct name *older = name->older;

        free(name);
        name = older;
    }
    atomic_store(&names->newest, NULL);
}
