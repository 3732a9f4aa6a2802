/* error.h - inside the library: brood_fail() of brood/base.h, and this. */
#ifndef BROOD_OS_ERROR_H
#define BROOD_OS_ERROR_H

#include <brood/base.h>

#define ERRNO_MAX 4095 /* the last number that the kernel takes for an errno */

/* Forgets the thread's last reason: what brood_error() says afterwards was said since. */
void brood__error_clear(void);

/* For who has called a function of the user's that returned `error`, and had cleared the words before: if it said none,
 * what the number means.  Returns `error`. */
int brood__error_complete(int error);

/* Where the words of this thread are, for who clears them very often: the first byte is 0 when there are none. */
char *brood__error_words(void);

#endif
