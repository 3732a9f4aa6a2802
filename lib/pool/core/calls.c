#include "pool/core/calls.h"

const void *brood__this_thread(void)
{
    static _Thread_local char here;

    return &here;
}

bool brood__calls_inside(const struct calls *calls)
{
    return calls->caller == brood__this_thread();
}
