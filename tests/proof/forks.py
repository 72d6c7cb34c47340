"""Fork and exec in the middle of use: a child can do nothing to its parent's store, and holds nothing of it.

Each act runs in a process of its own, `python forks.py ACT FOLDER SEED`, as a
program does it: a store with threads that write and fold, and a parent that
forks again and again. A child's use of the handle is a `ForkedError`, before
any system call on the files (strace is the witness), and so soon that no lock
that a thread of the parent held can stop it. It ends as programs end. Then the
parent goes on, its lock stood all the time, and everything acknowledged is there.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from units import Outcome

import journalkit
from journalkit.errors import ForkedError, LockedError
from journalkit.runtime import lifecycle

HANG_S: Final = 10
_USED: Final = 7
_BEGIN, _END = "child begins", "child ends"


class Busy:
    """A store in full use, and what was acknowledged of it."""

    def __init__(self, folder: str, seed: int) -> None:
        self.path = os.path.join(folder, "store")
        self.chance = random.Random(seed)
        self.done: dict[str, int] = {}
        self.ended = threading.Event()
        self.store = journalkit.open(
            self.path, fold_bytes_min=5000, fold_ratio=0.5, segment_bytes_max=8192, sync_interval_ms=5, cache_bytes=0
        )
        self.store.update({f"old {number}": "x" * 100 for number in range(200)})
        self.store.compact()
        self.view, self.scan = self.store.view(), self.store.scan()
        self.journal = journalkit.open_journal(f"{self.path}.journal")
        self.journal.append(1)
        self.threads = [threading.Thread(target=self._write, args=(name,)) for name in "abc"]
        self.threads.append(threading.Thread(target=self._fold))
        for thread in self.threads:
            thread.start()

    def _write(self, name: str) -> None:
        number = 0
        while not self.ended.is_set():
            number += 1
            self.store.put(name, number, sync="interval" if number % 3 else "always")
            self.done[name] = number

    def _fold(self) -> None:
        while not self.ended.is_set():
            self.store.compact()

    def uses(self) -> list[Callable[[], object]]:
        """Return what a child may try."""
        store, view, journal, scan = self.store, self.view, self.journal, self.scan
        return [
            lambda: store["a"],
            lambda: store.get("old 7"),
            lambda: list(store),
            lambda: store.put("a", 0),
            lambda: store.delete("a"),
            store.transaction,
            store.compact,
            store.sync,
            store.view,
            store.check,
            lambda: view["old 7"],
            lambda: next(iter(scan)),
            lambda: journal.append(2),
            journal.read,
        ]

    def finish(self) -> None:
        """Stop, close, and open again: everything acknowledged is there."""
        self.ended.set()
        for thread in self.threads:
            thread.join()
        self.store.close()
        self.journal.close()
        with journalkit.open(self.path) as store:
            found = {name: store.get(name) for name in self.done}
            if found != self.done:
                sys.exit(f"{found} were found, {self.done} acknowledged")
            if store.recovery_report.bytes_cut:
                sys.exit(f"it was closed, and opens as {store.recovery_report}")


def storm(folder: str, seed: int, forks: int, *, is_canary: bool = False) -> None:
    """Fork while everything is in use; each child tries some of it, and ends in one way or another.

    A canary's handles aren't told of forks, which has to be found out.
    """
    busy = Busy(folder, seed)
    if is_canary:
        lifecycle.unregister(busy.store)
        lifecycle.unregister(busy.journal)
    for number in range(forks):
        time.sleep(busy.chance.uniform(0.0, 0.01))
        ending = busy.chance.randrange(3)
        uses = busy.chance.sample(busy.uses(), 4)
        child = os.fork()
        if child == 0:
            signal.alarm(HANG_S)  # the default action ends the child, and tells
            _use(uses)
            if ending == 0:
                os._exit(_USED)
            if ending == 1:
                busy.store.close()
                busy.journal.close()
            sys.exit(_USED)  # as programs end: hooks run, objects are dropped
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != _USED:
            busy.ended.set()
            sys.exit(f"child {number} ended with {os.waitstatus_to_exitcode(status)}")
        if number % 10 == 0:
            _look_that_it_is_locked(busy)
    busy.finish()


def _use(uses: list[Callable[[], object]]) -> None:
    for use in uses:
        try:
            use()
        except ForkedError:
            continue
        except BaseException as error:  # noqa: BLE001 - told by the exit code, nothing else of the child counts
            print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
            os._exit(2)
        os._exit(3)


def _look_that_it_is_locked(busy: Busy) -> None:
    program = "import journalkit, sys; journalkit.open(sys.argv[1])"
    ran = subprocess.run([sys.executable, "-c", program, busy.path], capture_output=True, text=True, check=False)
    if LockedError.__name__ not in ran.stderr:
        busy.ended.set()
        sys.exit(f"the parent's store could be opened by another: {ran.stderr}")


def traced(folder: str, seed: int, forks: int) -> None:
    """Fork with marks that a trace shows, and use the handle between them."""
    busy = Busy(folder, seed)
    for _ in range(forks):
        time.sleep(busy.chance.uniform(0.0, 0.01))
        uses = busy.uses()
        child = os.fork()
        if child == 0:
            os.write(2, _BEGIN.encode())
            _use(uses)
            os.write(2, _END.encode())
            sys.exit(0)
        os.waitpid(child, 0)
    busy.finish()


def handed_on(folder: str, seed: int, forks: int) -> None:
    """Start programs that inherit what may be inherited; then be killed while one of them lives."""
    busy = Busy(folder, seed)
    program = (
        "import os, sys\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    try: target = os.readlink(f'/proc/self/fd/{name}')\n"
        "    except OSError: continue\n"
        "    if target.startswith(sys.argv[1]): print(target)\n"
    )
    for _ in range(forks):
        ran = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, close_fds=False, check=True)
        if ran.stdout:
            busy.ended.set()
            sys.exit(f"a program inherited {ran.stdout.decode()}")
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(0, 1)  # whoever waits for what we say shouldn't wait for this one
        os.dup2(0, 2)
        time.sleep(HANG_S)
        os._exit(0)
    sleeping = subprocess.Popen(
        ["sleep", str(HANG_S)],
        close_fds=False,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(json.dumps([child, sleeping.pid, busy.done]), flush=True)  # noqa: T201
    os.kill(os.getpid(), signal.SIGKILL)


ACTS: Final[dict[str, Callable[[str, int, int], None]]] = {
    "storm": storm,
    "traced": traced,
    "handed on": handed_on,
    "canary": partial(storm, is_canary=True),
}


def play(act: str, folder: str, seed: int, forks: int) -> Outcome:
    """Run an act in a process of its own, and judge it."""
    outcome = Outcome()
    trace = os.path.join(folder, "trace")
    strace = ["strace", "-f", "-y", "-qq", "-s", "64", "-o", trace] if act == "traced" else []
    command = [*strace, sys.executable, __file__, act, folder, str(seed), str(forks)]
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=forks * HANG_S + 60, check=False
        )
    except FileNotFoundError:
        return Outcome(skipped="not installed: strace")
    expected = -signal.SIGKILL if act == "handed on" else 0
    if ran.returncode != expected:
        outcome.failures.append(f"fork, {act}, seed {seed}: exit {ran.returncode}\n{ran.stderr[-2000:]}")
        return outcome
    if act == "traced":
        outcome.failures += calls_on_files(Path(trace).read_text(errors="replace"), folder, outcome)
    if act == "handed on":
        outcome.failures += _taken_over(folder, *json.loads(ran.stdout))
    outcome.add("forks", forks)
    return outcome


def calls_on_files(trace: str, folder: str, outcome: Outcome) -> list[str]:
    """Return the system calls of children, between their marks, that name one of the store's files."""
    between: dict[str, int] = {}
    found = []
    for line in trace.splitlines():
        process, _, call = line.partition(" ")
        if "write(2" in call and _BEGIN in call:
            between[process] = 0
        elif "write(2" in call and _END in call:
            outcome.add("children traced")
            outcome.add("system calls of theirs", between.pop(process))
        elif process in between:
            between[process] += 1
            if folder in call and re.search(r"/(store|store\.journal)\b", call):
                found.append(f"a child's use came to {call.strip()}")
    return found


def _taken_over(folder: str, child: int, sleeping: int, done: dict[str, int]) -> list[str]:
    """The owner was killed, its children live: the next owner has the store at once."""
    wrong = []
    try:
        for process in (child, sleeping):
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                wrong.append(f"process {process} is dead: nothing was shown")
        with journalkit.open(os.path.join(folder, "store")) as store:
            found = {name: store.get(name, 0) for name in done}
            if any(found[name] < number for name, number in done.items()):
                wrong.append(f"{found} were found, {done} acknowledged")
    except (LockedError, FileNotFoundError) as error:
        wrong.append(f"the owner is dead, and its children keep the store: {error}")
    finally:
        for process in (child, sleeping):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    return wrong


def main(arguments: list[Any]) -> None:
    """Play an act."""
    act, folder, seed, forks = arguments
    ACTS[act](folder, int(seed), int(forks))


if __name__ == "__main__":
    main(sys.argv[1:])
