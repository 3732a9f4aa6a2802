#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "os/error.h"
#include "os/lock.h"
#include "os/log.h"

#define LINE_BYTES 1200
#define TEXT_BYTES 1001

/* Where lines go: to `call` if there is one, else to `fd`. */
struct sink {
    void (*call)(enum brood_log_level level, const char *line, void *context);
    void *context;
    int fd;
};

/* The lock is never held while a line is written, and a fork takes it first: a child finds it free. */
static struct lock lock;
static struct sink sink = {.fd = STDERR_FILENO}; /* under the lock */

/* Lines below this are dropped; read by all, written by who sets the sink.  It only saves work: a line that is written to
 * the old sink, or not written, was not ordered after the change. */
static _Atomic int least = BROOD_LOG_OFF;
static void (*_Atomic names)(char *ret_text, size_t size);
static _Thread_local bool inside; /* a function that gets lines: it logs nothing itself */

static const char *const words[] = {
    [BROOD_LOG_DEBUG] = "DEBUG",
    [BROOD_LOG_INFO] = "INFO",
    [BROOD_LOG_WARNING] = "WARNING",
    [BROOD_LOG_ERROR] = "ERROR",
};

void brood__log_set_who(void (*who)(char *ret_text, size_t size))
{
    atomic_store(&names, who);
}

/* ---- the sink ---- */

static void take_lock(void)
{
    brood__lock(&lock);
}

static void give_lock(void)
{
    brood__unlock(&lock);
}

static void heed_environment(void)
{
    const char *wish = getenv("BROOD_LOG");

    for (int level = BROOD_LOG_DEBUG; wish && level < BROOD_LOG_OFF; level++)
        if (strcasecmp(wish, words[level]) == 0)
            atomic_store(&least, level);
}

static void init_once(void)
{
    (void)pthread_atfork(take_lock, give_lock, give_lock);
    heed_environment();
}

static void init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, init_once);
}

static int set_sink(struct sink to, enum brood_log_level level)
{
    if (level < BROOD_LOG_DEBUG || level > BROOD_LOG_OFF)
        return brood_fail(-EINVAL, "there is no log level %d", (int)level);
    init();
    take_lock();
    sink = to;
    give_lock();
    atomic_store(&least, (int)level);
    return 0;
}

int brood_log_to(int fd, enum brood_log_level level)
{
    if (fcntl(fd, F_GETFD) < 0)
        return brood_fail(-EBADF, "the log cannot go to descriptor %d, which is not open", fd);
    return set_sink((struct sink){.fd = fd}, level);
}

int brood_log_call(void (*function)(enum brood_log_level level, const char *line, void *context), void *context,
                   enum brood_log_level level)
{
    if (!function)
        return brood_fail(-EINVAL, "the log needs a function to go to");
    return set_sink((struct sink){.call = function, .context = context}, level);
}

bool brood_log_is_on(enum brood_log_level level)
{
    init();
    return level >= BROOD_LOG_DEBUG && level < BROOD_LOG_OFF && (int)level >= atomic_load(&least);
}

/* ---- a line ---- */

/* Year, month and day from the days since 1970: gmtime_r() takes a lock.  The calendar repeats every 400 years, which have
 * 146097 days; years begin in March here, so that a leap day is the last of its year. */
static void date_of(long days, int *ret_year, int *ret_month, int *ret_day)
{
    long since = days + 719468; /* from the first of March of the year 0 */
    long era = since / 146097, day = since % 146097;
    long year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    long day_of_year = day - (365 * year + year / 4 - year / 100);
    long month = (5 * day_of_year + 2) / 153;

    *ret_day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(era * 400 + year + (*ret_month <= 2));
}

static size_t put_time(char *text, size_t size)
{
    struct timespec now;
    int year, month, day;
    long second;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    date_of(now.tv_sec / 86400, &year, &month, &day);
    second = now.tv_sec % 86400;
    return (size_t)snprintf(text, size, "%04d-%02d-%02dT%02ld:%02ld:%02ld.%03ldZ", year, month, day, second / 3600,
                            second / 60 % 60, second % 60, now.tv_nsec / 1000000);
}

static void put_names(char *text, size_t size)
{
    void (*who)(char *, size_t) = atomic_load(&names);

    if (who)
        who(text, size);
    else
        (void)snprintf(text, size, "%s", "MainProcess MainThread"); /* nothing has been started */
}

static void deliver(enum brood_log_level level, char *line, size_t length)
{
    struct sink to;

    take_lock();
    to = sink;
    give_lock();
    if (to.call) {
        inside = true;
        to.call(level, line, to.context);
        inside = false;
        return;
    }
    line[length] = '\n';
    (void)!write(to.fd, line, length + 1);
}

/* A line for each thing: whoever reads them by the line would take the rest of a message, or of a name, for another. */
static size_t make_one_line(char *text, size_t length)
{
    while (length > 0 && text[length - 1] == '\n')
        length--;
    text[length] = '\0';
    for (char *at = text; (at = strpbrk(at, "\n\r")) != NULL;)
        *at = ' ';
    return length;
}

void brood_log(enum brood_log_level level, const char *format, ...)
{
    char line[LINE_BYTES], who[140], text[TEXT_BYTES], reason[512];
    int before = errno, length;
    size_t at;
    va_list arguments;

    if (inside || !brood_log_is_on(level))
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)snprintf(reason, sizeof(reason), "%s", brood_error());
    at = put_time(line, sizeof(line));
    put_names(who, sizeof(who));
    length = snprintf(line + at, sizeof(line) - at, " %s %s: %s", words[level], who, text);
    deliver(level, line, at + make_one_line(line + at, (size_t)length));
    (void)brood_fail(0, "%s", reason);
    errno = before;
}
