/* pipe.h - inside the library: what brood_wait() asks of a pipe's end. */
#ifndef BROOD_SYNC_PIPE_H
#define BROOD_SYNC_PIPE_H

#include <stdbool.h>

#include <brood/pipe.h>

/* Would the next receive return without a look at the descriptor, because a whole message is in memory, or nothing can come
 * any more?  A hint while other threads receive. */
bool brood__pipe_is_ready(struct brood_pipe *pipe);

#endif
