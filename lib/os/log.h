/* log.h - inside the library: brood_log() of brood/log.h, and how a line gets its names. */
#ifndef BROOD_OS_LOG_H
#define BROOD_OS_LOG_H

#include <brood/log.h>

/* From now on `who` writes the names of the calling process and thread: they are known on a higher floor. */
void brood__log_set_who(void (*who)(char *ret_text, size_t size));

#endif
