/* assert.h - what only a bug of brood can break.  Three levels:
 *
 *     brood__assert(x)         debug and asan builds: cheap, anywhere
 *     brood__assert_valid(x)   builds with BROOD_CHECK_VALID (preset asan): a walker, *_is_valid(), at the end of a call
 *     brood__assert_costly(x)  where brood__assert() is on, in programs that set brood__costly_assertions: stress tests
 *
 * A release build (NDEBUG) compiles all of them, so that they stay correct, and evaluates none.
 *
 * What a user passes, what the system refuses and what a worker can write is never asserted: those are errors.  The host
 * and the supervisor therefore assert nothing about memory that a worker process can write.
 */
#ifndef BROOD_OS_ASSERT_H
#define BROOD_OS_ASSERT_H

#include <stdbool.h>

/* Writes file, line and expression to standard error, and aborts. */
void brood__assert_failed(const char *file, int line, const char *expression) __attribute__((noreturn, cold));

/* Set at the start of a stress test, before it has threads or children; then read by all. */
extern bool brood__costly_assertions;

#define BROOD__UNCHECKED(x) ((void)(0 && (x)))

#ifdef NDEBUG
#define brood__assert(x) BROOD__UNCHECKED(x)
#else
#define brood__assert(x) ((x) ? (void)0 : brood__assert_failed(__FILE__, __LINE__, #x))
#endif

#define brood__assert_costly(x) brood__assert(!brood__costly_assertions || (x))

#ifdef BROOD_CHECK_VALID
#define brood__assert_valid(x) brood__assert(x)
#else
#define brood__assert_valid(x) BROOD__UNCHECKED(x)
#endif

#endif
