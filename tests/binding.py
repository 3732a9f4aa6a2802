#!/usr/bin/env python3
"""Drives libbrood.so as a binding to another language does: by its exported functions alone, through an FFI.

    python3 binding.py PATH/TO/libbrood.so

Needs nothing but Python 3.8 or newer.  A small Executor with pickled calls, promises, queues and locks; what is awkward
here would be for every author of a binding.
"""
import errno
import os
import pickle
import signal
import sys

try:
    import ctypes
except ImportError:
    print("skipped: this Python has no ctypes")
    sys.exit(77)
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_bool, c_char_p, c_int, c_int64, c_long, c_size_t, c_void_p

lib = ctypes.CDLL(sys.argv[1])
ANY_SIZE = 2 ** 64 - 1
INLINE, THREADS, PROCESSES = 2, 1, 0
PENDING, RUNNING, CANCELLED, CANCELLED_TOLD, DONE, FAILED, WORKER_LOST = range(7)


class Deadline(Structure):
    _fields_ = [("ns", c_int64)]


class Bytes(Structure):
    """brood_bytes, and brood_space."""

    _fields_ = [("ptr", c_void_p), ("len", c_size_t)]


NOW, FOREVER = Deadline(0), Deadline(2 ** 63 - 1)
Run = CFUNCTYPE(c_int, Bytes, c_void_p)
Done = CFUNCTYPE(None, c_void_p, c_void_p)
Initializer = CFUNCTYPE(c_int, c_void_p, POINTER(c_void_p))


class Task(Structure):
    """brood_task, and what the binding wants to know of it: which of its functions it is."""

    _fields_ = [
        ("name", c_char_p),
        ("run", Run),
        ("arg_size", c_size_t),
        ("result_size", c_size_t),
        ("function", c_long),
    ]


class PoolOptions(Structure):
    """The first of them, up to the context: `size` says so."""

    _fields_ = (
        [("size", c_size_t), ("kind", c_int), ("workers", c_int), ("worker", c_char_p), ("worker_args", c_void_p)]
        + [("queue", c_size_t), ("memory_bytes", c_size_t), ("name", c_char_p), ("inherit_fds", c_bool)]
        + [(name, c_int) for name in ("limit_ms", "grace_ms", "retries", "retry_pause_ms")]
        + [(name, c_int) for name in ("worker_tasks", "worker_memory_mib", "worker_age_ms")]
        + [("sandbox", c_void_p), ("initializer", Initializer), ("finalizer", c_void_p), ("context", c_void_p)]
    )


class QueueOptions(Structure):
    _fields_ = [("size", c_size_t), ("kind", c_int), ("bound", c_size_t)]


def declare(name, *arguments, returns=c_int):
    function = getattr(lib, "brood_" + name)
    function.argtypes, function.restype = arguments, returns
    return function


error = declare("error", returns=c_char_p)
after_ms = declare("after_ms", c_int64, returns=Deadline)
task_register = declare("task_register", POINTER(Task))
reply_task = declare("reply_task", c_void_p, returns=POINTER(Task))
reply_set = declare("reply_set", c_void_p, c_char_p, c_size_t)
pool_open = declare("pool_open", POINTER(c_void_p), POINTER(PoolOptions))
pool_close = declare("pool_close", c_void_p, Deadline)
pool_shutdown = declare("pool_shutdown", c_void_p, c_bool)
pool_is_broken = declare("pool_is_broken", c_void_p, returns=c_bool)
pool_worker_pid = declare("pool_worker_pid", c_void_p, c_int)
pool_apply = declare("pool_apply_bytes_async", c_void_p, POINTER(Task), POINTER(c_void_p), Bytes, Deadline)
future_wait = declare("future_wait", c_void_p, Deadline)
future_bytes = declare("future_bytes", c_void_p, POINTER(Bytes))
future_error_bytes = declare("future_error_bytes", c_void_p, POINTER(Bytes))
future_state = declare("future_state", c_void_p)
future_cancel = declare("future_cancel", c_void_p)
future_on_done = declare("future_on_done", c_void_p, Done, c_void_p)
future_free = declare("future_free", c_void_p, returns=None)
promise_open = declare("promise_open", POINTER(c_void_p))
promise_set_running = declare("promise_set_running", c_void_p)
promise_set_result = declare("promise_set_result", c_void_p, c_char_p, c_size_t)
promise_set_error = declare("promise_set_error", c_void_p, c_int, c_char_p)
sizes = {noun: declare(noun + "_bytes", returns=c_size_t)() for noun in "lock rlock semaphore event condition barrier".split()}
queue_open = declare("queue_open", POINTER(c_void_p), POINTER(QueueOptions))
queue_close = declare("queue_close", c_void_p)
queue_put = declare("queue_put", c_void_p, Bytes, Deadline)
queue_get = declare("queue_get", c_void_p, POINTER(Bytes), Deadline)
queue_next_size = declare("queue_next_size", c_void_p, POINTER(c_size_t), Deadline)
queue_set_bound = declare("queue_set_bound", c_void_p, c_size_t)
queue_unfinished = declare("queue_unfinished", c_void_p, returns=c_size_t)
queue_task_done = declare("queue_task_done", c_void_p)
queue_join = declare("queue_join", c_void_p, Deadline)
lock_acquire = declare("lock_acquire", c_void_p, Deadline)
lock_release = declare("lock_release", c_void_p)
event_set = declare("event_set", c_void_p, returns=None)
event_wait = declare("event_wait", c_void_p, Deadline)
memory_create = declare("memory_create", POINTER(c_void_p), c_char_p, c_size_t)
memory_address = declare("memory_address", c_void_p, returns=c_void_p)
memory_close = declare("memory_close", c_void_p, returns=None)


class Refused(Exception):
    """What a function of brood's returned, and its words."""


def check(result):
    if result < 0:
        raise Refused(errno.errorcode[-result], error().decode())
    return result


def as_bytes(data):
    return Bytes(ctypes.cast(data, c_void_p), len(data))


# ---- the pool ----


def run(argument, reply):
    """The one C function behind all of them.  An exception is the reply of a task that failed: whole, and of any size."""
    failed = 0
    try:
        function = functions[reply_task(reply).contents.function]
        value = function(*pickle.loads(ctypes.string_at(argument.ptr, argument.len)))
    except Exception as exception:  # pylint: disable=broad-except
        failed, value = -errno.EREMOTE, exception
    data = pickle.dumps(value)
    return min(failed, reply_set(reply, data, len(data)))


def square(x):
    return x * x


def fail(length):
    raise ValueError("x" * length)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


functions = [square, fail, die]
trampoline = Run(run)
tasks = [Task(f.__name__.encode(), trampoline, ANY_SIZE, ANY_SIZE, i) for i, f in enumerate(functions)]


class Future:
    def __init__(self):
        self.handle = c_void_p()

    def result(self):
        answer = Bytes()
        check(future_wait(self.handle, after_ms(60000)))
        if future_error_bytes(self.handle, byref(answer)) == 0:
            raise pickle.loads(ctypes.string_at(answer.ptr, answer.len))
        check(future_bytes(self.handle, byref(answer)))
        return pickle.loads(ctypes.string_at(answer.ptr, answer.len))

    def state(self):
        return future_state(self.handle)

    def __del__(self):
        future_free(self.handle)


class Executor:
    def __init__(self, kind, initializer=None):
        self.handle = c_void_p()
        self.initializer = Initializer(initializer or (lambda context, ret_state: 0))
        options = PoolOptions(ctypes.sizeof(PoolOptions), kind, 2, initializer=self.initializer)
        check(pool_open(byref(self.handle), byref(options)))

    def submit(self, function, *arguments):
        future, data = Future(), pickle.dumps(arguments)
        check(pool_apply(self.handle, byref(tasks[functions.index(function)]), byref(future.handle), as_bytes(data), FOREVER))
        return future

    def close(self):
        check(pool_close(self.handle, FOREVER))


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind as exception:
        return exception
    raise AssertionError(f"{function} raised no {kind}")


def calls_return_values_and_errors_of_any_size(kind):
    executor = Executor(kind)
    futures = [executor.submit(square, i) for i in range(100)]
    assert [future.result() for future in futures] == [i * i for i in range(100)]
    assert len(str(raises(ValueError, executor.submit(fail, 300000).result))) == 300000
    called = []
    callback = Done(lambda future, context: called.append(context))
    future = executor.submit(square, 7)
    check(future_on_done(future.handle, callback, 42))
    assert future.result() == 49 and called == [42] and future.state() == DONE
    check(pool_shutdown(executor.handle, False))
    assert raises(Refused, executor.submit, square, 1).args[0] == "ESHUTDOWN"
    executor.close()


def a_death_is_told_apart():
    executor = Executor(PROCESSES)
    assert all(pool_worker_pid(executor.handle, i) > 0 for i in range(2))
    lost = executor.submit(die)
    assert raises(Refused, lost.result).args[0] == "EOWNERDEAD" and lost.state() == WORKER_LOST
    assert executor.submit(square, 3).result() == 9 and not pool_is_broken(executor.handle)
    executor.close()


def an_initializer_that_fails_opens_no_pool():
    assert raises(Refused, Executor, PROCESSES, lambda context, ret_state: -errno.EDOM).args[0] == "EDOM"


# ---- the rest ----


def a_promise_has_states():
    kept, cancelled, broken = Future(), Future(), Future()
    for promise in (kept, cancelled, broken):
        check(promise_open(byref(promise.handle)))
    assert kept.state() == PENDING
    check(promise_set_running(kept.handle))
    assert kept.state() == RUNNING and future_cancel(kept.handle) == -errno.EBUSY
    data = pickle.dumps("kept")
    check(promise_set_result(kept.handle, data, len(data)))
    assert kept.result() == "kept" and promise_set_result(kept.handle, data, len(data)) == -errno.EALREADY
    check(future_cancel(cancelled.handle))
    assert cancelled.state() == CANCELLED and promise_set_running(cancelled.handle) == -errno.ECANCELED
    assert cancelled.state() == CANCELLED_TOLD
    check(promise_set_error(broken.handle, -errno.EIO, b"in words"))
    assert broken.state() == FAILED and raises(Refused, broken.result).args == ("EIO", "in words")


def get(queue):
    """Of a message whose length is not known: this is its only consumer."""
    size = c_size_t()
    check(queue_next_size(queue, byref(size), after_ms(60000)))
    room = ctypes.create_string_buffer(size.value)
    check(queue_get(queue, byref(Bytes(ctypes.cast(room, c_void_p), size.value)), NOW))
    return room.raw


def a_queue_serves_a_child():
    queue = c_void_p()
    check(queue_open(byref(queue), byref(QueueOptions(ctypes.sizeof(QueueOptions), 0, 2))))
    child = os.fork()
    if child == 0:
        for message in (b"", b"short", b"x" * 100000):
            check(queue_put(queue, as_bytes(message), FOREVER))
        os._exit(0)
    assert [get(queue), get(queue), get(queue)] == [b"", b"short", b"x" * 100000]
    assert os.waitpid(child, 0)[1] == 0 and queue_unfinished(queue) == 3
    for _ in range(3):
        check(queue_task_done(queue))
    check(queue_join(queue, NOW))
    check(queue_put(queue, as_bytes(b"1"), NOW))
    check(queue_set_bound(queue, 1))
    assert queue_put(queue, as_bytes(b"2"), NOW) == -errno.EAGAIN
    check(queue_close(queue))


def a_lock_tells_of_its_owners_death():
    memory = c_void_p()
    check(memory_create(byref(memory), None, sum(sizes.values())))
    lock = memory_address(memory)
    event = lock + sizes["lock"]
    child = os.fork()
    if child == 0:
        check(lock_acquire(lock, NOW))
        event_set(event)
        os.kill(os.getpid(), signal.SIGKILL)
    check(event_wait(event, after_ms(60000)))
    assert lock_acquire(lock, after_ms(60000)) == -errno.EOWNERDEAD
    os.waitpid(child, 0)
    check(lock_release(lock))
    assert lock_release(lock) == -errno.EPERM
    memory_close(memory)


def main():
    for task in tasks:
        check(task_register(byref(task)))
    for kind in (INLINE, THREADS, PROCESSES):
        calls_return_values_and_errors_of_any_size(kind)
    a_death_is_told_apart()
    an_initializer_that_fails_opens_no_pool()
    a_promise_has_states()
    a_queue_serves_a_child()
    a_lock_tells_of_its_owners_death()


main()
