/* error.h - inside the library: additions to brood_fail() of brood/base.h. */
#ifndef BROOD_OS_ERROR_H
#define BROOD_OS_ERROR_H

#include <brood/base.h>

#define ERRNO_MAX 4095 /* the largest number that the kernel uses for an errno */

/* Clears the thread's error message. */
void brood__error_clear(void);

/* For the caller of a user's function that has returned `error`, with the message cleared before: without a message,
 * sets the description of the number.  Returns `error`. */
int brood__error_complete(int error);

/* The buffer of this thread's message, for a caller that clears it very often: the first byte is 0 when there is none. */
char *brood__error_message(void);

#endif
