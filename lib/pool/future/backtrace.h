/* backtrace.h - inside the library: names for the frames of a dead worker.
 *
 * A worker that is about to end writes a line for each frame, with what the loader knows (worker/fault.c); it can do no more
 * in a signal handler.  For a function that is not exported it knows only the file and the address.  The host looks up the
 * names here, when the program wants to read the lines, and holds no lock meanwhile.
 *
 *     #0 /usr/bin/mill+0x1493            becomes   #0 grind+0x13 (/usr/bin/mill+0x1493)
 *
 * A worker may have written anything: a line of another form stays as it is.
 */
#ifndef BROOD_POOL_FUTURE_BACKTRACE_H
#define BROOD_POOL_FUTURE_BACKTRACE_H

/* The text with names, malloc()ed; NULL: there is none to be found, or no memory. */
char *brood__backtrace_name(const char *text);

#endif
