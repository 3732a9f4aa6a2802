#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood/future.h>

#include "os/error.h"
#include "os/owned.h"
#include "pool/core/dispatch.h"
#include "pool/future/death.h"
#include "pool/future/future.h"

void brood__future_add_more(struct brood_future *future)
{
    brood__assert_guarded(future);
    if (atomic_load_explicit(&future->has_more, memory_order_relaxed))
        return;
    memset(&future->more, 0, sizeof(future->more));
    atomic_store_explicit(&future->has_more, true, memory_order_release);
}

void brood__future_free_more(struct brood_future *future)
{
    if (!future->has_more)
        return;
    free(future->more.words);
    brood__deaths_free(future);
    free(future->more.retry);
    if (future->more.fd_plus_1)
        (void)close(brood__disown(future->more.fd_plus_1 - 1));
    /* Relaxed: no other thread reads a future that is being freed. */
    atomic_store_explicit(&future->has_more, false, memory_order_relaxed);
}

int brood__future_missing(void)
{
    return brood_fail(-EINVAL, "the future is NULL: nothing was submitted, or it has been freed");
}

int brood__future_enter(struct brood_future *future)
{
    return future ? brood__future_guard(future)->enter(future) : brood__future_missing();
}

void brood__future_drop_message(struct brood_future *future)
{
    brood__assert_guarded(future);
    if (!future->has_more)
        return;
    free(future->more.words);
    future->more.words = NULL;
}

void brood__future_keep_message(struct brood_future *future, const char *words, size_t size)
{
    brood__assert_guarded(future);
    brood__future_add_more(future);
    free(future->more.words);
    future->more.words = strndup(words, size); /* NULL when memory is short: the outcome stays without a message */
}

/* ---- waiting ---- */

/* A finished future may have callbacks that are due: they are called before the wait returns. */
int brood_future_wait(struct brood_future *future, brood_deadline deadline)
{
    if (!future)
        return brood__future_missing();
    if (brood__future_is_done(future) && !future->has_more)
        return 0;
    return brood__future_guard(future)->wait(future, deadline);
}

/* ---- queries ---- */

static const char *words_for(int outcome)
{
    const char *words = strerrordesc_np(-outcome);

    return words ? words : "failed";
}

/* In another process the future never changes. */
static int not_done(struct brood_future *future)
{
    int r = brood__future_enter(future);

    if (r < 0)
        return r;
    brood__future_leave(future);
    return brood_fail(-EINPROGRESS, "not done yet: wait for it first");
}

static int fail(const struct brood_future *future)
{
    if (brood__future_map(future))
        return brood_fail(future->outcome, "item %llu: %s",
                          (unsigned long long)brood__future_ops(future)->first_failed(future), brood_future_error(future));
    return brood_fail(future->outcome, "%s", brood_future_error(future));
}

/* Returns 0 if there is a result. */
static int ask(struct brood_future *future)
{
    if (!future)
        return brood__future_missing();
    if (!brood_future_done(future))
        return not_done(future);
    return future->outcome < 0 ? fail(future) : 0;
}

static struct brood_bytes reply_of(const struct brood_future *future)
{
    const void *reply = future->is_inline ? future->inline_result : future->result;

    return (struct brood_bytes){future->length > 0 ? reply : NULL, future->length};
}

int brood_future_bytes(struct brood_future *future, struct brood_bytes *ret_bytes)
{
    int r = ask(future);

    if (r == 0)
        *ret_bytes = reply_of(future);
    return r;
}

int brood_future_error_bytes(struct brood_future *future, struct brood_bytes *ret_bytes)
{
    if (!future)
        return brood__future_missing();
    if (!brood_future_done(future))
        return not_done(future);
    if (future->outcome == 0 || future->length == 0)
        return brood_fail(-ENODATA, future->outcome == 0 ? "the task succeeded: it has a result, and no error"
                                                         : "the task failed without a reply");
    *ret_bytes = reply_of(future);
    return 0;
}

int brood_future_result(struct brood_future *future, void *ret_result, size_t size)
{
    int r = ask(future);

    if (r < 0)
        return r;
    if (future->length > size)
        return brood_fail(-EMSGSIZE, "the result has %u bytes, and there is room for %zu", future->length, size);
    if (future->length > 0 && !ret_result)
        return brood_fail(-EINVAL, "the result has %u bytes, and there is no room for it at NULL", future->length);
    if (future->length > 0)
        copy_small(ret_result, future->is_inline ? future->inline_result : future->result, future->length);
    return 0;
}

size_t brood_future_size(const struct brood_future *future)
{
    return future && brood__future_is_done(future) && future->outcome == 0 ? future->length : 0;
}

/* The error of an item that is not the first that failed.  The host keeps every death, but of the tasks' own messages
 * only the first. */
static int fail_with_item(const struct brood_future *future, size_t item, int outcome)
{
    char words[384];

    if (brood__deaths_message(future, brood__future_ops(future)->item_name(future, item), outcome, words, sizeof(words)))
        return brood_fail(outcome, "%s", words);
    return brood_fail(outcome, "item %zu: %s", item, words_for(outcome));
}

int brood_future_item(struct brood_future *future, size_t item)
{
    int r;

    if (!future)
        return brood__future_missing();
    if (!brood_future_done(future))
        return not_done(future);
    r = brood__future_ops(future)->item(future, item);
    if (r == 0 || r == -ERANGE)
        return r;
    return item == brood__future_ops(future)->first_failed(future) ? fail(future) : fail_with_item(future, item, r);
}

const char *brood_future_error(const struct brood_future *future)
{
    static const struct {
        int outcome;
        const char *words;
    } said[] = {
        {-ECANCELED, "cancelled before it started"},
        {-EMSGSIZE, "the result is larger than the task promised, or than the caller has room for"},
        {-ESHUTDOWN, "the pool was closed first"},
    };

    if (!future || !brood__future_is_done(future) || future->outcome == 0)
        return "";
    if (future->has_more && future->more.words)
        return future->more.words;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
        if (said[i].outcome == future->outcome)
            return said[i].words;
    return words_for(future->outcome);
}

/* A hint; it collects, so that polling it makes progress. */
bool brood_future_done(struct brood_future *future)
{
    bool done = future && brood__future_is_done(future);

    if (done || brood__future_enter(future) < 0)
        return done;
    done = brood__future_look(future);
    brood__future_leave(future);
    return done;
}

bool brood_future_is_late(const struct brood_future *future)
{
    return future && brood__future_is_done(future) && future->is_late;
}

bool brood_future_running(struct brood_future *future)
{
    bool running = false;

    if (brood_future_done(future) || brood__future_enter(future) < 0)
        return false;
    running = brood__future_ops(future)->is_running(future);
    brood__future_leave(future);
    return running;
}

static bool is_lost(const struct brood_future *future)
{
    return brood__deaths_is_lost(future) &&
           (future->outcome == -EOWNERDEAD || future->outcome == -ETIMEDOUT || future->outcome == -ECANCELED);
}

/* A killed task has the same outcome, and a record of the death. */
static bool never_ran(const struct brood_future *future)
{
    return future->outcome == -ECANCELED && !is_lost(future);
}

bool brood__future_has_failed(const struct brood_future *future)
{
    brood__assert_guarded(future);
    return future->outcome < 0 && !never_ran(future);
}

static bool has_untold_producer(struct brood_future *future)
{
    bool (*ask_kind)(const struct brood_future *) = brood__future_ops(future)->is_untold;
    bool untold;

    if (!ask_kind || brood__future_enter(future) < 0)
        return false;
    untold = ask_kind(future);
    brood__future_leave(future);
    return untold;
}

enum brood_future_state brood_future_state(struct brood_future *future)
{
    if (!brood_future_done(future))
        return brood_future_running(future) ? BROOD_FUTURE_RUNNING : BROOD_FUTURE_PENDING;
    if (future->outcome == 0)
        return BROOD_FUTURE_DONE;
    if (never_ran(future))
        return has_untold_producer(future) ? BROOD_FUTURE_CANCELLED : BROOD_FUTURE_CANCELLED_TOLD;
    return is_lost(future) ? BROOD_FUTURE_WORKER_LOST : BROOD_FUTURE_FAILED;
}

/* ---- cancelling and killing ---- */

/* Locked. */
static bool cancel_locked(struct brood_future *future)
{
    brood__assert_guarded(future);
    const struct future_guard *guard = brood__future_guard(future);
    bool cancelled = brood__future_ops(future)->cancel(future);

    if (guard->make_use_of_room)
        guard->make_use_of_room(future);
    /* else another thread may have cancelled it meanwhile */
    return cancelled || (brood__future_is_done(future) && future->outcome == -ECANCELED && !brood__future_map(future));
}

int brood_future_cancel(struct brood_future *future)
{
    bool cancelled;
    int r;

    if (!future)
        return brood__future_missing();
    if (brood_future_done(future))
        return never_ran(future) ? 0 : brood_fail(-EBUSY, "it is done already");
    r = brood__future_enter(future);
    if (r < 0)
        return r;
    cancelled = cancel_locked(future);
    brood__future_leave(future);
    return cancelled ? 0 : brood_fail(-EBUSY, "it is running already");
}

/* NULL: the kind has no such operation. */
static int kill_by(struct brood_future *future, int (*kill)(struct brood_future *future))
{
    int r = kill ? brood__future_enter(future) : 0;

    if (!kill || r < 0)
        return r;
    r = kill(future);
    brood__future_leave(future);
    return r;
}

int brood_future_kill(struct brood_future *future)
{
    if (!future)
        return brood__future_missing();
    const struct future_ops *ops = brood__future_ops(future);

    if (!brood_future_done(future))
        (void)kill_by(future, ops->kill_first);
    if (brood_future_cancel(future) == 0) {
        (void)kill_by(future, ops->kill_cancelled);
        return 0;
    }
    if (brood_future_done(future))
        return brood_fail(-EBUSY, "it is done already");
    return kill_by(future, ops->kill);
}

void brood_future_free(struct brood_future *future)
{
    if (future)
        brood__future_guard(future)->free(future);
}
