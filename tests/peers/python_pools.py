#!/usr/bin/env python3
"""What CPython's process pools do when something dies: multiprocessing.Pool and concurrent.futures.ProcessPoolExecutor.

    python3 python_pools.py [--limit SECONDS] [--method fork] [--only NAME,...] [--json FILE]

Needs nothing but Python 3.9 or newer, on Linux.  Prints a line (of a Markdown table) for each experiment; brood_pools.c
does the same experiments with brood.  `never` means: not within the limit.  Each experiment is a program of its own, in a
session of its own, which is killed afterwards: whatever hangs is an observation, and nothing stays behind.
"""
import argparse
import ctypes
import json
import multiprocessing
import os
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

WORKERS = 2
FOREVER = 3600
MANY = 10000

# ---- what the workers run ----


def note(path):
    """The time, where the program can read it also when this process is gone."""
    with open(path, "a", encoding="ascii") as file:
        file.write(f"{time.monotonic_ns()}\n")


def die(path):
    note(path)
    os.kill(os.getpid(), signal.SIGKILL)


def pause(seconds):
    time.sleep(seconds)
    return seconds


def pause_noting(path, seconds):
    note(path)
    time.sleep(seconds)


def die_at_500(path, i):
    if i == 500:
        die(path)
    return i + 1


def map_item(pair):
    return die_at_500(*pair)


def pause_item(pair):
    return pause_noting(*pair)


def fault(path):
    note(path)
    ctypes.memset(64, 1, 1)


def whoami(_):
    time.sleep(0.05)
    return os.getpid()


# ---- two pools that are used alike ----


class Pool:
    def __init__(self, context, initializer=None, initargs=()):
        self.pool = context.Pool(WORKERS, initializer, initargs)

    def call(self, function, *args):
        return self.pool.apply_async(function, args)

    def answer(self, call, limit):
        return call.get(limit)

    def map(self, function, items, limit):
        """Yields results as long as there are any."""
        yield from self.pool.map_async(function, items).get(limit)

    def pids(self):
        return [process.pid for process in self.pool._pool]

    def stop(self):
        self.pool.terminate()
        self.pool.join()
        return "terminate()"


class Executor:
    def __init__(self, context, initializer=None, initargs=()):
        self.pool = ProcessPoolExecutor(WORKERS, context, initializer, initargs)

    def call(self, function, *args):
        return self.pool.submit(function, *args)

    def answer(self, call, limit):
        return call.result(limit)

    def map(self, function, items, limit):
        yield from self.pool.map(function, items, timeout=limit)

    def pids(self):
        return list(self.pool._processes)

    def stop(self):
        if hasattr(self.pool, "kill_workers"):  # Python 3.14
            self.pool.kill_workers()
            return "kill_workers()"
        self.pool.shutdown(wait=True, cancel_futures=True)
        return "shutdown(cancel_futures=True)"


PEERS = {"Pool": Pool, "Executor": Executor}

# ---- what is observed ----


def words(seconds):
    if seconds is None:
        return "never"
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def ending(peer, call, limit):
    """How the call ended: answered, never, or the name of the exception, and what was raised."""
    try:
        peer.answer(call, limit)
        return "answered", None
    except (multiprocessing.TimeoutError, FutureTimeout, TimeoutError):
        return "never", None
    except Exception as error:  # whatever it raises is the observation
        return type(error).__name__, error


def tally(endings):
    return ", ".join(f"{endings.count(how)} {how}" for how in sorted(set(endings)))


def noted(path):
    """When a worker noted the time; waits for it."""
    while True:
        try:
            text = pathlib.Path(path).read_text(encoding="ascii")
            if text.endswith("\n"):
                return int(text.split()[0]) / 1e9
        except FileNotFoundError:
            pass
        time.sleep(0.001)


def next_call(peer, limit):
    """Ends the sentence: what happens to the next call?"""
    began = time.monotonic()
    try:
        how, _ = ending(peer, peer.call(pause, 0), limit)
    except Exception as error:
        how = type(error).__name__
    after = words(time.monotonic() - began)
    return "next call never answered" if how == "never" else f"next call: {how} after {after}"


def state_of(pid):
    """Of /proc/PID/stat: state and session; None when it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[3])
    except (OSError, IndexError):
        return None


def lives(pid):
    state = state_of(pid)
    return state is not None and state[0] not in "ZX"


def warm(peer):
    """Two calls at once, so that all workers are there."""
    for call in [peer.call(whoami, i) for i in range(WORKERS)]:
        peer.answer(call, FOREVER)


# ---- the experiments: each returns words, and the seconds that they are about ----


def call_killed(peer, limit, work):
    calls = [peer.call(die, work)] + [peer.call(pause, 0.01) for _ in range(20)]
    how, _ = ending(peer, calls[0], limit)
    seconds = None if how == "never" else time.monotonic() - noted(work)
    others = tally([ending(peer, call, limit)[0] for call in calls[1:]])
    text = "never answered" if how == "never" else f"{how} after {words(seconds)}"
    return f"{text}; of 20 others {others}; {next_call(peer, limit)}", seconds


def map_killed(peer, limit, work):
    results, how = 0, "answered"
    try:
        for _ in peer.map(map_item, [(work, i) for i in range(1000)], limit):
            results += 1
    except (multiprocessing.TimeoutError, FutureTimeout, TimeoutError):
        how = "never answered"
    except Exception as error:
        how = type(error).__name__
    seconds = None if how == "never answered" else time.monotonic() - noted(work)
    after = "" if seconds is None else f" after {words(seconds)}"
    return f"{how}{after}; {results} of 1000 results; {next_call(peer, limit)}", seconds


def idle_killed(peer, limit, _):
    warm(peer)
    victims = peer.pids()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    while any(lives(pid) for pid in victims):
        time.sleep(0.001)
    began = time.monotonic()
    text = next_call(peer, limit)
    return text, None if "never" in text else time.monotonic() - began


def fault_known(peer, limit, work):
    warm(peer)
    how, error = ending(peer, peer.call(fault, work), limit)
    seconds = None if how == "never" else time.monotonic() - noted(work)
    said = f"{error!r} {error.__cause__!r}" if error else ""
    known = [what for what, sign in (("signal", "SIGSEGV"), ("signal", "-11"), ("address", "0x40"), ("backtrace", "fault"))
             if sign in said]
    text = "never answered" if how == "never" else f"{how} after {words(seconds)}"
    return f"{text}; says of signal, address, backtrace: {', '.join(known) or 'nothing'}", seconds


def hang_stopped(peer, _, work):
    hung = peer.call(pause_noting, work, FOREVER)
    noted(work)
    gave_up, _ = ending(peer, hung, 1)
    cancelled = hung.cancel() if hasattr(hung, "cancel") else None
    observe(f"no limit for a call; a wait of 1 s: {gave_up}" +
            ("" if cancelled is None else f", cancel(): {cancelled}") + ", its worker hangs on; to end it: ")
    began = time.monotonic()
    way = peer.stop()
    seconds = time.monotonic() - began
    return f"{way}, {words(seconds)}, and all other calls with it", seconds


def sleepers_ended(peer, *_):
    for _ in range(MANY):
        peer.call(pause, FOREVER)
    began = time.monotonic()
    way = peer.stop()
    seconds = time.monotonic() - began
    return f"{way}: {words(seconds)}", seconds


def start_crashed(peer, _, work):
    """The initializer crashes; `work` has a line for each process that was forked."""
    began = time.monotonic()
    try:
        how, _ = ending(peer, peer.call(pause, 0), 2)
    except Exception as error:
        how = type(error).__name__
    seconds = None if how == "never" else time.monotonic() - began
    time.sleep(max(0.0, began + 2 - time.monotonic()))
    forks = len(pathlib.Path(work).read_text(encoding="ascii").split())
    text = "call never answered" if how == "never" else f"call: {how} after {words(seconds)}"
    return f"{text}; workers that crashed in 2 s: {forks}", seconds


def program_left(peer, _, work):
    """The program ends with a call in a worker; whether it can, sees who started it."""
    peer.call(pause_noting, work, FOREVER)
    noted(work)
    observe(str(time.monotonic()))


def program_killed(peer, _, work):
    """One worker busy for 3 s with an item of a map, one idle; then who started this program kills it."""
    warm(peer)
    observe(" ".join(map(str, peer.pids())))
    for _ in peer.map(pause_item, [(work, 3)], FOREVER):
        pass


EXPERIMENTS = {
    "call": ("a worker is killed by its call", call_killed),
    "map": ("a worker is killed by one item of a map of 1000", map_killed),
    "idle": ("both workers are killed while idle", idle_killed),
    "host": ("the program is SIGKILLed in a map, one worker busy for 3 s", program_killed),
    "hang": ("a call hangs", hang_stopped),
    "leave": ("the program ends while a call hangs", program_left),
    "fault": ("a call writes to address 0x40", fault_known),
    "start": ("workers crash when they start", start_crashed),
    "sleepers": (f"a pool with {MANY} sleeping calls is ended", sleepers_ended),
}

# ---- in the program that is experimented with ----


def observe(text):
    print(text, end="", flush=True)


def be_program(name, which, method, limit, work):
    initializer = {"initializer": die, "initargs": (work,)} if name == "start" else {}
    peer = PEERS[which](multiprocessing.get_context(method), **initializer)
    said = EXPERIMENTS[name][1](peer, limit, work)
    if said is None:
        sys.exit()  # the way that programs end
    text, seconds = said
    observe(f"{text}\n{json.dumps(seconds)}\n")
    os._exit(0)  # what it would wait for is another experiment


# ---- in the one that watches ----


def session_of(leader):
    """All that is left of a program and what it started."""
    found = []
    for entry in os.listdir("/proc"):
        state = state_of(entry) if entry.isdigit() else None
        if state and state[1] == leader and state[0] not in "ZX":
            found.append(int(entry))
    return found


def sweep(leader):
    while True:
        left = session_of(leader)
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def watch_program(program, out, _, limit):
    """Waits for the experiment's own words; those that it could not finish end in `never`."""
    try:
        program.wait(3 * limit + 10)
    except subprocess.TimeoutExpired:
        return out.read_text() + "never", None
    text, _, seconds = out.read_text().strip().rpartition("\n")
    return (text, json.loads(seconds)) if text else (f"the program ended with status {program.returncode}", None)


def watch_leaving(program, out, work, limit):
    noted(work)
    while not out.read_text():
        time.sleep(0.001)
    try:
        program.wait(limit)
    except subprocess.TimeoutExpired:
        return "never ends", None
    seconds = time.monotonic() - float(out.read_text())
    return f"ends after {words(seconds)}", seconds


def watch_killing(program, out, work, _):
    noted(work)
    workers = [int(pid) for pid in out.read_text().split()]
    program.kill()
    program.wait()
    died = time.monotonic()
    counts = []
    for after in (1, 6):
        time.sleep(max(0.0, died + after - time.monotonic()))
        counts.append(sum(lives(pid) for pid in workers))
    return f"of {WORKERS} workers {counts[0]} live 1 s later, {counts[1]} live 6 s later", None


WATCHERS = {"leave": watch_leaving, "host": watch_killing}


def experiment(name, which, method, limit):
    with tempfile.TemporaryDirectory(prefix="python-pools-") as folder:
        work, out = os.path.join(folder, "times"), pathlib.Path(folder, "out")
        command = [sys.executable, "-W", "ignore", os.path.abspath(__file__), "--limit", str(limit), "--method", method,
                   "--program", name, which, work]
        with open(out, "wb") as stdout:
            program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
        try:
            return WATCHERS.get(name, watch_program)(program, out, work, limit)
        finally:
            sweep(program.pid)
            program.wait()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=5, help="seconds until it is called never (5)")
    parser.add_argument("--method", default=multiprocessing.get_start_method(), help="how workers are started")
    parser.add_argument("--only", default=",".join(EXPERIMENTS), help="of " + ", ".join(EXPERIMENTS))
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    parser.add_argument("--program", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [name for name in options.only.split(",") if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"no such experiment: {', '.join(unknown)}")
    return options


def main():
    options = arguments()
    if options.program:
        name, which, work = options.program
        be_program(name, which, options.method, options.limit, work)
    print(f"CPython {platform.python_version()}, start method {options.method}, never: not within {options.limit:g} s\n")
    print("| experiment | multiprocessing.Pool | ProcessPoolExecutor |\n|---|---|---|")
    rows = []
    for name in options.only.split(","):
        row = {"experiment": name, "about": EXPERIMENTS[name][0]}
        for which in PEERS:
            text, seconds = experiment(name, which, options.method, options.limit)
            row[which] = {"outcome": text, "seconds": seconds}
        print(f"| {row['about']} | {row['Pool']['outcome']} | {row['Executor']['outcome']} |", flush=True)
        rows.append(row)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"python": platform.python_version(), "method": options.method, "limit_seconds": options.limit,
                       "experiments": rows}, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
