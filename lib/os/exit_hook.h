/* exit_hook.h - what a process does when it ends in good order, so that its end does not look like a death.
 *
 * Shared memory shows what a dead process had in flight, but not why it has ended.  So a process that ends in good order
 * clears that first: on exit() by a destructor of the library; before _exit(), which runs no destructors, by a call.
 * Hooks clear only what belongs to the calling thread: other threads may be in the middle of a call.
 */
#ifndef BROOD_OS_EXIT_HOOK_H
#define BROOD_OS_EXIT_HOOK_H

/* Registers a hook, also for later children.  Once for each function; at most EXIT_HOOKS_MAX functions. */
void brood__exit_hook_call(void (*function)(void));
#define EXIT_HOOKS_MAX 4

/* Calls the hooks.  A second call has no further effect. */
void brood__exit_hook(void);

#endif
