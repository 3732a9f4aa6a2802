/* weak_order.c - usage: weak_order NAME...   explores these models; weak.h says how.  Exit: 0, or 1 if a case failed. */
#include <stdio.h>
#include <string.h>

#include "model/weak_models.h"

static const struct {
    const char *name;
    int (*explore)(void);
} models[] = {
    {"litmus", weak_litmus}, {"lane", weak_lane}, {"parker", weak_parker}, {"range", weak_range}, {"ring", weak_ring},
};

static int explore(const char *name)
{
    for (size_t i = 0; i < sizeof(models) / sizeof(*models); i++)
        if (strcmp(models[i].name, name) == 0)
            return models[i].explore();
    printf("no model %s\n", name);
    return 1;
}

int main(int argc, char **argv)
{
    int bad = argc < 2;

    for (int i = 1; i < argc; i++)
        bad += explore(argv[i]);
    return bad > 0;
}
