/* pipe.h - inside the library: what brood_wait() asks of a pipe's end. */
#ifndef BROOD_SYNC_PIPE_H
#define BROOD_SYNC_PIPE_H

#include <stdbool.h>

#include <brood/pipe.h>

/* Is there a whole message in its memory, so that its descriptor may have nothing more to tell?  A hint while other threads
 * receive. */
bool brood__pipe_is_ready(const struct brood_pipe *pipe);

#endif
