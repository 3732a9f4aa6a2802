/* log.h - inside the library: brood_log() of brood/log.h, and how a line gets its names. */
#ifndef BROOD_OS_LOG_H
#define BROOD_OS_LOG_H

#include <stdatomic.h>

#include <brood/log.h>

/* Sets the function that writes the names of the calling process and thread, which a higher layer knows. */
void brood__log_set_label(void (*writer)(char *ret_text, size_t size));

/* Logs a warning.  If neither the program nor the environment has chosen a log level, writes it to standard error, the
 * first time that it is called with that flag. */
void brood__log_warn_once(_Atomic bool *flag, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
