#include <stdio.h>
#include <stdio_ext.h>

#include "run/streams.h"

/* fflush(NULL) takes each stream's lock, and a thread in getline(stdin) holds that one until input comes. */
void brood__streams_flush(void)
{
    if (ftrylockfile(stdin) == 0) {
        (void)fflush(NULL);
        funlockfile(stdin);
        return;
    }
    (void)fflush(stdout);
    (void)fflush(stderr);
}

void brood__streams_forget(void)
{
    __fpurge(stdout);
    __fpurge(stderr);
}
