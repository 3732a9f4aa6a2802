#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/error.h"
#include "run/failure.h"
#include "run/run.h"

void brood__hook_set(struct failure_hook *hook, struct failure_hook with)
{
    brood__run_init();
    brood__lock(&brood__run_lock);
    *hook = with;
    brood__unlock(&brood__run_lock);
}

static struct failure_hook failure_hook_of(const struct failure_hook *hook)
{
    struct failure_hook copy;

    brood__lock(&brood__run_lock);
    copy = *hook;
    brood__unlock(&brood__run_lock);
    return copy;
}

/* One write, so that the lines of several that fail at once do not mix. */
static void failure_report(const char *what, const char *name, int error, const char *words)
{
    char line[700];
    int length = snprintf(line, sizeof(line), "brood: %s %s (pid %d) failed: %s%s%s\n", what, name, (int)getpid(),
                          strerrordesc_np(-error) ? strerrordesc_np(-error) : "unknown error", *words ? ": " : "", words);

    if (length >= (int)sizeof(line))
        length = (int)sizeof(line) - 1;
    (void)!write(STDERR_FILENO, line, (size_t)length);
}

void brood__failed(struct failure_hook *hook, const char *what, const char *name, int error)
{
    struct brood_failure failure = {.name = name, .error = error};
    struct failure_hook reporter = failure_hook_of(hook);
    char words[512];
    int r;

    (void)snprintf(words, sizeof(words), "%s", brood_error());
    failure.words = words;
    if (!reporter.call) {
        failure_report(what, name, error, words);
        return;
    }
    brood__error_clear();
    r = BROOD__UNCANCELLED(reporter.call(&failure, reporter.context));
    if (r >= 0)
        return;
    failure_report(what, name, error, words);
    failure_report("the failure hook of", name, r, brood_error());
}
