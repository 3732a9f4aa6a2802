/* error.h - inside the library: brood_fail() of brood/base.h, and this. */
#ifndef BROOD_OS_ERROR_H
#define BROOD_OS_ERROR_H

#include <brood/base.h>

/* Forgets the thread's last reason: what brood_error() says afterwards was said since. */
void brood__error_clear(void);

#endif
