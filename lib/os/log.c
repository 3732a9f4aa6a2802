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
#include "os/log.h"
#include "os/mutex.h"

#define LINE_BYTES 1200
#define TEXT_BYTES 1001

/* Where lines go: to `call` if it is set, else to `fd`. */
struct log_output {
    void (*call)(enum brood_log_level level, const char *line, void *context);
    void *context;
    int fd;
};

/* The lock is never held while a line is written, and a fork takes it first: so a child finds it free. */
static struct lock log_mutex;
static struct log_output log_output = {.fd = STDERR_FILENO}; /* protected by `lock` */

/* Lines below this level are dropped.  Written by the thread that sets the output, read by all.  Relaxed: it only saves
 * work; a line that still goes to the old output, or is dropped, was not ordered after the change. */
static _Atomic int level_least = BROOD_LOG_OFF;
static _Atomic bool is_chosen; /* the program or the environment has chosen a level; written and read as `level_least` is */
static void (*_Atomic names)(char *ret_text, size_t size); /* stored once, release; loaded by all, acquire */
static _Thread_local bool inside; /* inside a function that receives lines: it does not log itself */

static const char *const level_names[] = {
    [BROOD_LOG_DEBUG] = "DEBUG", [BROOD_LOG_INFO] = "INFO", [BROOD_LOG_WARNING] = "WARNING",
    [BROOD_LOG_ERROR] = "ERROR", [BROOD_LOG_OFF] = "OFF",
};

void brood__log_set_label(void (*writer)(char *ret_text, size_t size))
{
    atomic_store_explicit(&names, writer, memory_order_release);
}

/* ---- the output ---- */

static void log_lock(void)
{
    brood__lock(&log_mutex);
}

static void log_unlock(void)
{
    brood__unlock(&log_mutex);
}

static void level_choose(int level)
{
    atomic_store_explicit(&level_least, level, memory_order_relaxed);
    atomic_store_explicit(&is_chosen, true, memory_order_relaxed);
}

static void environment_apply(void)
{
    const char *wish = getenv("BROOD_LOG");
    int level = BROOD_LOG_DEBUG;

    if (!wish || !wish[0])
        return;
    while (level <= BROOD_LOG_OFF && strcasecmp(wish, level_names[level]) != 0)
        level++;
    if (level <= BROOD_LOG_OFF)
        level_choose(level);
    else
        (void)dprintf(STDERR_FILENO, "BROOD_LOG=%.40s is ignored: it may be debug, info, warning, error or off\n", wish);
}

static void log_init_once(void)
{
    (void)pthread_atfork(log_lock, log_unlock, log_unlock);
    environment_apply();
}

static void log_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, log_init_once);
}

static int output_set(struct log_output to, enum brood_log_level level)
{
    if (level < BROOD_LOG_DEBUG || level > BROOD_LOG_OFF)
        return brood_fail(-EINVAL, "there is no log level %d", (int)level);
    log_init();
    log_lock();
    log_output = to;
    log_unlock();
    level_choose((int)level);
    return 0;
}

int brood_log_to(int fd, enum brood_log_level level)
{
    if (fcntl(fd, F_GETFD) < 0)
        return brood_fail(-EBADF, "the log cannot go to descriptor %d, which is not open", fd);
    return output_set((struct log_output){.fd = fd}, level);
}

int brood_log_call(void (*function)(enum brood_log_level level, const char *line, void *context), void *context,
                   enum brood_log_level level)
{
    if (!function)
        return brood_fail(-EINVAL, "the log needs a function to go to");
    return output_set((struct log_output){.call = function, .context = context}, level);
}

bool brood_log_is_on(enum brood_log_level level)
{
    log_init();
    return level >= BROOD_LOG_DEBUG && level < BROOD_LOG_OFF &&
           (int)level >= atomic_load_explicit(&level_least, memory_order_relaxed);
}

/* ---- a line ---- */

/* Year, month and day from the days since 1970: gmtime_r() takes a lock.  The calendar repeats every 400 years, which
 * have 146097 days; years begin in March here, so that a leap day is the last of its year. */
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
    void (*writer)(char *, size_t) = atomic_load_explicit(&names, memory_order_acquire);

    if (writer)
        writer(text, size);
    else
        (void)snprintf(text, size, "%s", "MainProcess MainThread"); /* no process or thread of brood's was started */
}

static void line_deliver(enum brood_log_level level, char *line, size_t length)
{
    struct log_output to;

    log_lock();
    to = log_output;
    log_unlock();
    if (to.call) {
        inside = true;
        (void)BROOD__UNCANCELLED((to.call(level, line, to.context), 0));
        inside = false;
        return;
    }
    line[length] = '\n';
    (void)!write(to.fd, line, length + 1);
}

/* One line for each call: a reader would take the rest of a message, or of a name, for another line. */
static size_t make_one_line(char *text, size_t length)
{
    while (length > 0 && text[length - 1] == '\n')
        length--;
    text[length] = '\0';
    for (char *at = text; (at = strpbrk(at, "\n\r")) != NULL;)
        *at = ' ';
    return length;
}

static void write_line(enum brood_log_level level, const char *format, va_list arguments)
{
    char line[LINE_BYTES], name[140], text[TEXT_BYTES], reason[512];
    int before = errno, length;
    size_t at;

    (void)vsnprintf(text, sizeof(text), format, arguments);
    (void)snprintf(reason, sizeof(reason), "%s", brood_error());
    at = put_time(line, sizeof(line));
    put_names(name, sizeof(name));
    length = snprintf(line + at, sizeof(line) - at, " %s %s: %s", level_names[level], name, text);
    line_deliver(level, line, at + make_one_line(line + at, (size_t)length));
    (void)brood_fail(0, "%s", reason);
    errno = before;
}

void brood_log(enum brood_log_level level, const char *format, ...)
{
    va_list arguments;

    if (inside || !brood_log_is_on(level))
        return;
    va_start(arguments, format);
    write_line(level, format, arguments);
    va_end(arguments);
}

void brood__log_warn_once(_Atomic bool *flag, const char *format, ...)
{
    bool is_wanted = brood_log_is_on(BROOD_LOG_WARNING);
    va_list arguments;

    if (inside || (!is_wanted && (atomic_load_explicit(&is_chosen, memory_order_relaxed) ||
                                  atomic_exchange_explicit(flag, true, memory_order_relaxed))))
        return;
    va_start(arguments, format);
    write_line(BROOD_LOG_WARNING, format, arguments);
    va_end(arguments);
}
