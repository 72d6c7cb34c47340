"""Kill a writing, compacting process again and again, and look whether it lost anything.

    python tests/crash/kills.py --kills 1000

Each life opens the store that the last one left, and commits numbers from
several threads while folds run; what was acknowledged it says over a pipe.
Kills are aimed at the phase that was hit least so far, a random moment into
it. After each one the store is opened, for reading, and must be exactly what
a prefix of the commits makes: every acknowledged one, none twice. The reader
that shares no code with the package has to find the same in the files. Exit
code 1: it wasn't, or didn't, and the directory is kept.
"""
# ruff: noqa: T201 - a program that reports to a person

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NoReturn

from aims import PHASES, Aim
from phases import Board, Phase, PhaseFileSystem
from writers import THREADS, Model, batch_of, complaints, counts_in

import journalkit

sys.path.append(str(Path(__file__).parents[1] / "proof"))
from second_reader import READER, judge_images

SYNC_MODES: tuple[journalkit.Sync, ...] = ("always", "always", "always", "interval", "never")


def live(path: str, board: Board, pipe: int, seed: int, is_canary: bool) -> None:
    """Be the process that is killed: open, commit from threads, fold, say what was acknowledged.

    A canary says it too early, and has to be found out.
    """
    chance = random.Random(seed)
    fs = PhaseFileSystem(board)
    fs.enter(Phase.RECOVERY)
    store = journalkit.open(
        path,
        fs=fs,
        sync=chance.choice(SYNC_MODES),
        sync_interval_ms=5,
        fold_bytes_min=20_000,
        fold_ratio=chance.choice((0, 0.5, 4)),
        segment_bytes_max=chance.choice((4096, 16_384, 65_536)),
        compaction=chance.choice(("thread", "thread", "thread", "process")),
        compression=chance.choice((None, "zstd")),
    )
    fs.leave_recovery()
    counts = counts_in(store)
    os.write(pipe, f"open {store.recovery_report.outcome} {store.recovery_report.bytes_cut}\n".encode())

    def write(thread: int) -> None:
        number = counts[thread]
        while True:
            number += 1
            if is_canary:
                os.write(pipe, f"done {thread} {number}\n".encode())
            store.write(batch_of(thread, number))
            if not is_canary:
                os.write(pipe, f"done {thread} {number}\n".encode())

    def fold(pause_s: float) -> None:
        while True:
            store.compact()
            time.sleep(pause_s)

    for thread in range(THREADS):
        threading.Thread(target=guarded, args=(pipe, write, thread), daemon=True).start()
    # The store's own thread folds five times a second; a caller who folds too brings the rare phases nearer.
    guarded(pipe, fold, chance.uniform(0.0, 0.02))


def guarded(pipe: int, function, *args) -> None:  # type: ignore[no-untyped-def]
    """Call; say over the pipe what it raised, and end the process."""
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        os.write(pipe, f"failed {type(error).__name__}: {error}\n".encode())
        os._exit(3)


def start(path: str, board: Board, seed: int, is_canary: bool) -> tuple[int, int]:
    """Start a life; return its process and the pipe that it speaks through."""
    read, write = os.pipe()
    board.clear()
    child = os.fork()
    if child:
        os.close(write)
        return child, read
    os.close(read)
    gc.freeze()
    guarded(write, live, path, board, write, seed, is_canary)
    os._exit(3)


class Killer:
    """Kills life after life and keeps the count."""

    def __init__(self, path: str, seed: int, *, is_canary: bool) -> None:
        self._path = path
        self._is_canary = is_canary
        self._chance = random.Random(seed)
        self._board = Board()
        self._model = Model()
        self._least = [0] * THREADS
        self.aim = Aim(self._board, self._chance)
        self.acknowledged = 0
        self.cut = 0
        self.cut_bytes = 0

    def kill_one(self) -> list[str]:
        """Run one life to its violent end; return what is wrong with what it left."""
        self.aim.take()
        child, pipe = start(self._path, self._board, self._chance.getrandbits(32), self._is_canary)
        self.aim.wait()
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        active = self._board.now()
        with open(pipe, encoding="utf-8") as said:
            failures = self._hear(said.read())
        if failures or not os.WIFSIGNALED(status):
            return failures or [f"the process ended by itself with status {status}"]
        self.aim.note(active)
        return self._check()

    def _hear(self, said: str) -> list[str]:
        failures = []
        for line in said.splitlines():
            word, *rest = line.split(" ")
            if word == "done":
                self._least[int(rest[0])] = int(rest[1])
                self.acknowledged += 1
            elif word == "open":
                self.cut += rest[0] == "cut"
                self.cut_bytes += int(rest[1])
            else:
                failures.append(line)
        return failures

    def _check(self) -> list[str]:
        if not os.path.exists(os.path.join(self._path, "MANIFEST")):
            return [] if not any(self._least) else ["acknowledged commits, and no manifest"]
        # One commit a thread may have been under way, and one may have been complete and not yet reported.
        most = [low + 1 for low in self._least]
        with journalkit.open(self._path, mode="r") as store:
            found = complaints(store, self._model, self._least, most) + second_opinion(self._path, store)
        self._least = list(self._model.counts)
        return found

    def finish(self) -> list[str]:
        """Open for writing once more, as a user would, fold, and look again; return what is wrong."""
        with journalkit.open(self._path, compaction="manual") as store:
            found = complaints(store, self._model, self._least, self._least)
            store.compact()
            store.check()
            found += complaints(store, self._model, self._least, self._least)
        with journalkit.open(self._path, mode="r") as store:
            return found + second_opinion(self._path, store)


def second_opinion(path: str, store: journalkit.Store) -> list[str]:
    """Ask the independent reader about the files; return in what it differs from the open store."""
    files = {entry.name: Path(entry.path).read_bytes() for entry in os.scandir(path) if entry.is_file()}
    judgement = judge_images(files)
    if judgement.verdict not in ("sound", "torn"):
        return [f"the independent reader calls it {judgement.verdict}: {judgement.findings}"]
    offsets = {READER.Reserved("offsets", name): value for name, value in store.offsets.items()}
    if judgement.last_lsn != store.lsn or judgement.decoded() != dict(store.items()) | offsets:
        return [f"the independent reader finds another state, at LSN {judgement.last_lsn}; the store is at {store.lsn}"]
    return []


def report(killer: Killer, kills: int, seconds: float) -> dict[str, object]:
    """Return the figures."""
    return {
        "kills": kills,
        "hits": {phase.name.lower(): killer.aim.hits[phase] for phase in [*PHASES, Phase.IDLE]},
        "acknowledged": killer.acknowledged,
        "torn_tails_cut": killer.cut,
        "bytes_cut": killer.cut_bytes,
        "seconds": round(seconds, 1),
    }


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--canary", action="store_true", help="acknowledge too early: this has to fail")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="journalkit-kills-")
    killer = Killer(os.path.join(folder, "store"), args.seed, is_canary=args.canary)
    began_s = time.monotonic()
    for number in range(1, args.kills + 1):
        if wrong := killer.kill_one():
            give_up(folder, number, wrong)
        if number % 100 == 0 and not args.json:
            print(f"{number} kills, {killer.acknowledged} commits acknowledged, {time.monotonic() - began_s:.0f} s")
    if wrong := killer.finish():
        give_up(folder, args.kills, wrong)
    shutil.rmtree(folder)
    figures = report(killer, args.kills, time.monotonic() - began_s)
    if args.json:
        print(json.dumps(figures))
        return 0
    print(f"{killer.acknowledged} commits acknowledged, none lost, none repeated, no manual step")
    print(f"{killer.cut} torn tails cut, {killer.cut_bytes} bytes")
    for phase in [*PHASES, Phase.IDLE]:
        share = killer.aim.hits[phase] / args.kills
        print(f"{phase.name.lower():>10} {killer.aim.hits[phase]:6} {share:7.1%}")
    return 0


def give_up(folder: str, number: int, wrong: list[str]) -> NoReturn:
    """Say what is wrong and where it can be looked at."""
    print(f"after kill {number}, in {folder}:", *wrong, sep="\n  ", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
