/* weak.h - every execution of a few threads that C11's memory order allows, one after the other.
 *
 * The threads are C functions.  weak_code.h puts the calls below in place of the atomic operations of <stdatomic.h> and of
 * the system calls futex(2) and membarrier(2), so the code that is explored is the library's own, by #include.  What
 * a load may return is not what was stored last, but whatever RC11 allows (Lahav, Vafeiadis, Kang, Hur, Dreyer, "Repairing
 * Sequential Consistency in C/C++11", PLDI 2017), with two things made stricter:
 *
 *   - A release sequence is the store and the read-modify-writes that continue it, as in C++20; a later store of the same
 *     thread does not continue it.
 *   - A plain access that races with another is an error.
 *
 * An asymmetric fence is what the C++ proposal P1202 makes of it: in the order of the sequentially consistent fences a
 * heavy one is ordered with every light one, and two light ones are not ordered with each other.
 *
 * RC11 has no load buffering: a load never returns what a later step of its own thread has brought about.  A processor may
 * do so with a relaxed load and a later independent relaxed store; README.md says why that is left out.
 *
 *     static void producer(void) { weak_plain_store(&data, 1); atomic_store_explicit(&flag, 1, memory_order_release); }
 *     ...
 *     const struct weak_case cases[] = {{.name = "...", .threads = {producer, consumer}, .check = check}};
 */
#ifndef BROOD_TESTS_MODEL_WEAK_H
#define BROOD_TESTS_MODEL_WEAK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEAK_THREADS 4

/* What a step does.  A light or heavy fence is half of an asymmetric one. */
enum weak_kind { WEAK_LOAD, WEAK_STORE, WEAK_UPDATE, WEAK_FENCE, WEAK_LIGHT, WEAK_HEAVY };

/* A mistake, made on purpose: the steps of this kind (of one thread, with THREAD(n), in one function, at one location,
 * where these are given) have that order instead. */
struct weak_mutant {
    enum weak_kind kind;
    unsigned thread;      /* its number + 1; 0: any */
    const char *function; /* that makes the step */
    const char *location; /* how its name begins */
    int order;            /* WEAK_LEFT_OUT, WEAK_AS_LOAD or a memory_order */
};
#define WEAK_LEFT_OUT (-2)
#define WEAK_AS_LOAD (-3) /* a compare-and-swap only compares, what it has loaded with acquire */
#define THREAD(number) ((number) + 1)
#define MUTANT(...)             \
    &(const struct weak_mutant) \
    {                           \
        __VA_ARGS__             \
    }

enum weak_expected {
    WEAK_HOLDS,   /* no execution fails a check, races or sleeps for ever */
    WEAK_FAILS,   /* one does */
    WEAK_ALLOWS,  /* `seen` is true after one; all others hold */
    WEAK_FORBIDS, /* `seen` is true after none; and all hold */
};

struct weak_case {
    const char *name;
    enum weak_expected expected;
    void (*prepare)(void); /* alone, before them */
    void (*threads[WEAK_THREADS])(void);
    void (*check)(void); /* alone, after them; may use atomic operations */
    bool (*seen)(void);
    const struct weak_mutant *mutant, *also; /* NULL: none */
};

/* Explores each of the cases.  How many were not as expected. */
int weak_explore(const char *what, const struct weak_case *cases, size_t count);

/* ---- for the code that is explored ---- */

uint64_t weak_load(const volatile void *at, size_t bytes, int order, const char *function);
void weak_store(volatile void *at, size_t bytes, uint64_t value, int order, const char *function);
bool weak_swap(volatile void *at, size_t bytes, void *expected, uint64_t value, int order, int failure,
               const char *function);
enum weak_operation { WEAK_SET, WEAK_ADD, WEAK_SUB, WEAK_AND, WEAK_OR };
uint64_t weak_update(volatile void *at, size_t bytes, enum weak_operation operation, uint64_t value, int order,
                     const char *function);
void weak_fence(enum weak_kind kind, int order, const char *function);

/* Sleeps while the word is that: until some value that it may read is another.  A thread that sleeps when all others have
 * ended or sleep, and the word has that value for good, was not woken: an error. */
void weak_sleep(const volatile void *at, size_t bytes, uint64_t expected);

/* futex(2) and membarrier(2); all other calls fail. */
long weak_syscall(long number, ...);

/* Memory that is not atomic. */
#define WEAK_PLAIN (-1)
uint64_t weak_plain_load(const volatile void *at);
void weak_plain_store(volatile void *at, uint64_t value);
/* As memcpy(); what lies in weak_shared() memory is loaded and stored in words of 64 bit. */
void *weak_copy(void *to, const void *from, size_t bytes);
void weak_shared(const void *memory, size_t bytes);

/* What a location is called in mutants and reports. */
void weak_name(const volatile void *at, const char *name);

/* This is no execution that is of interest: another go round a loop, say. */
_Noreturn void weak_give_up(void);
void weak_check(bool holds, const char *what);

#endif
