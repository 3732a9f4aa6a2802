#include <inttypes.h>
#include <stdio.h>

#include "os/oom.h"

uint64_t brood__oom_kills(void)
{
    FILE *file = fopen("/proc/vmstat", "re");
    char line[128];
    uint64_t kills = 0;

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "oom_kill %" SCNu64, &kills) == 1)
            break;
    if (file)
        (void)fclose(file);
    return kills;
}
