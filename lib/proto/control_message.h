/* control_message.h - messages from the host to the supervisor, on a socket between the two. */
#ifndef BROOD_PROTO_CONTROL_MESSAGE_H
#define BROOD_PROTO_CONTROL_MESSAGE_H

#include <stdint.h>

#define CONTROL_MAGIC 0x72656472 /* tells a message from a stray write to the descriptor */

enum control_kind {
    CONTROL_STOP, /* end by the deadline */
    CONTROL_END,  /* the same, and send SIGTERM to all workers now */
    CONTROL_LOOK, /* read the membership again: the wanted workers have changed */
    CONTROL_KILL, /* kill the worker that runs the task at `position` of `lane`, if it still does */
};

struct control_message {
    uint32_t magic, kind;
    int64_t deadline_ns;
    uint64_t position;
    uint32_t lane, reserved;
};

#endif
