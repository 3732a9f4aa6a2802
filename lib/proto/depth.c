#include "proto/depth.h"

static unsigned depth_of_process;
static _Thread_local const struct header *header_of_thread; /* of the innermost pool whose tasks the thread runs */

unsigned brood__depth(void)
{
    return header_of_thread ? read_once(header_of_thread->depth) : depth_of_process;
}

void brood__depth_set_process(const struct header *header)
{
    depth_of_process = read_once(header->depth);
}

void brood__depth_set_thread(const struct header *header)
{
    header_of_thread = header;
}
