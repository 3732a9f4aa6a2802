/* goodbye.h - what a process does at its end in good order, so that it does not look like a death.
 *
 * Shared memory shows what the dead had in hand, and cannot show why they are gone.  So whoever leaves in good order says
 * so before: by exit(), through a destructor of the library; and where _exit() follows and destructors do not run, by a
 * call.  Only the calling thread says goodbye: others may be in the middle of something.
 */
#ifndef BROOD_OS_GOODBYE_H
#define BROOD_OS_GOODBYE_H

/* From now on, also in later children.  Once for each function, of which there are GOODBYES_MAX at most. */
void brood__goodbye_call(void (*function)(void));
#define GOODBYES_MAX 4

/* Calls them.  A second time does nothing that the first has not done. */
void brood__goodbye(void);

#endif
