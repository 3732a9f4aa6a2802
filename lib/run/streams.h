/* streams.h - the C library's output buffers, which a fork doubles. */
#ifndef BROOD_RUN_STREAMS_H
#define BROOD_RUN_STREAMS_H

/* Writes out every stream.  Not stuck when another thread waits for standard input: that one it leaves alone. */
void brood__streams_flush(void);

/* In a fork's child: what is still in stdout and stderr is the parent's to write. */
void brood__streams_forget(void);

#endif
