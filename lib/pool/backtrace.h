/* backtrace.h - inside the library: names for the frames of a worker that is no more.
 *
 * A worker that is about to end writes a line for each frame, with what dladdr(3) knows (pool/fault.c); it can do no more
 * in a signal handler.  Of functions that are not exported it knows the file and the address alone.  Their names are
 * looked up here, in the host, when somebody wants to read the lines, and not under any lock.
 *
 *     #0 /usr/bin/mill+0x1493            becomes   #0 grind+0x13 (/usr/bin/mill+0x1493)
 *
 * A worker may have written anything: a line that is of another form stays as it is.
 */
#ifndef BROOD_POOL_BACKTRACE_H
#define BROOD_POOL_BACKTRACE_H

/* The text with names, malloc()ed; NULL: there is none to be found, or no memory. */
char *brood__backtrace_name(const char *text);

#endif
