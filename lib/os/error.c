/* error.c - the error message of this thread's last call. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "os/error.h"

/* Initial-exec would be faster, but a library that is loaded by dlopen() may not get static TLS. */
static _Thread_local char reason[512];

const char *brood_error(void)
{
    return reason;
}

char *brood__error_message(void)
{
    return reason;
}

void brood__error_clear(void)
{
    reason[0] = '\0';
}

int brood_fail(int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    return error;
}

int brood__error_complete(int error)
{
    const char *description = error >= -ERRNO_MAX ? strerrordesc_np(-error) : NULL;

    return reason[0] ? error : brood_fail(error, "%s", description ? description : "failed");
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *brood_version(void)
{
    return TEXT(BROOD_VERSION_MAJOR) "." TEXT(BROOD_VERSION_MINOR) "." TEXT(BROOD_VERSION_PATCH);
}
