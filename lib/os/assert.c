#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/assert.h"

bool brood__costly_assertions;

void brood__assert_failed(const char *file, int line, const char *expression)
{
    (void)dprintf(STDERR_FILENO, "brood: %s:%d: assertion failed: %s\n", file, line, expression);
    abort();
}
