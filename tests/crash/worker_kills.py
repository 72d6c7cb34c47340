"""Kill a job of several workers again and again, start it with another number of them, and look whether it is whole.

    python tests/crash/worker_kills.py --kills 200 --seed 1
    python tests/crash/worker_kills.py --kills 200 --seed 1 --server seaweedfs

Each run has one to six workers. They share a table of counts by key groups, an
array by rows, and the steps of the input; they go on from the latest
checkpoint, work, and save together, in the foreground or in the background.
Killed are all of a run at once, or one of them and the others a while later,
or nobody: then the next run takes over while the last one still works, and
the old one's workers have to be fenced; with a server, that is killed too.
After each kill the latest checkpoint is put together by one process: it must be
what its step makes of the input in every part, and no earlier than what any
worker was told. At the end nothing is left that no checkpoint needs.
Exit code 1: it wasn't so.
"""
# ruff: noqa: T201 - a program that reports to a person

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from job_kills import Life, left_over, patiently, place_of, server_options

import journalkit
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    ConflictError,
    FencedError,
    StorageError,
)

KEYS = [f"key-{number}" for number in range(200)]
ROWS, COLUMNS = 64, 2000
SIZES = (1, 2, 3, 4, 4, 4, 6)
PATIENCE_S = 3


def rows_after(step: int, rows: range) -> Any:
    """Return rows of the array as so many steps leave them: each step writes one."""
    last = [step - (step - row) % ROWS if step >= row else 0 for row in rows]
    return np.repeat(np.array(last, float), COLUMNS).reshape(len(rows), COLUMNS)


def begin(worker: journalkit.Worker) -> dict[str, Any]:
    """Return a worker's state before the first step."""
    mine = journalkit.key_groups_of(worker.rank, worker.size)
    rows = range(worker.rank * ROWS // worker.size, (worker.rank + 1) * ROWS // worker.size)
    counts = journalkit.Keyed({key: 0 for key in KEYS if journalkit.key_group(key) in mine})
    return {
        "counts": counts,
        "array": journalkit.Shard(rows_after(0, rows), (ROWS, COLUMNS), (rows.start, 0)),
        "step": 0,
    }


def work(state: dict[str, Any]) -> None:
    """Do one step: count every key of this worker, write one row if it is its own."""
    state["step"] += 1
    for key in state["counts"]:
        state["counts"][key] += 1
    shard = state["array"]
    row = state["step"] % ROWS - shard.offset[0]
    if 0 <= row < len(shard.array):
        shard.array[row] = state["step"]


def wrong_with(state: dict[str, Any], step: int) -> str:
    """Return what is wrong with a state that was put together, "" if nothing."""
    if dict(state["counts"]) != dict.fromkeys(KEYS, step):
        return f"the counts aren't what {step} steps make"
    if state["step"] != step or not np.array_equal(state["array"].array, rows_after(step, range(ROWS))):
        return f"the array isn't what {step} steps make"
    return ""


def live(args: argparse.Namespace) -> None:
    """Be a worker: join, go on, save together, say what was acknowledged."""
    # What all decide in the same way comes from a throw that all make in the same way.
    common = random.Random(args.run)
    try:
        run(args, common)
    except FencedError:
        print("fenced", flush=True)
    except CheckpointAbortedError:
        print("aborted", flush=True)
    except (ArchiveUnavailableError, StorageError, ConflictError):
        print("away", flush=True)


def run(args: argparse.Namespace, common: random.Random) -> None:
    """Work until killed."""
    with journalkit.open_worker(
        args.where, rank=args.rank, size=args.size, run=args.run, patience=PATIENCE_S,
        keep=journalkit.Keep(last=common.randrange(1, 4)), trash_period=common.choice((0, 0.5)),
        options=server_options(args.endpoint),
    ) as worker:  # fmt: skip
        loaded = worker.load_latest()
        state = loaded[0] if loaded is not None else begin(worker)
        print(f"begun {state['step']}", flush=True)
        while True:
            for _ in range(common.randrange(1, 30)):
                work(state)
            step = state["step"]
            try:
                if common.random() < 0.5:
                    worker.save(state, step=step, offsets={"steps": step})
                else:
                    saving = worker.save_async(state, step=step, offsets={"steps": step})
                    for _ in range(common.randrange(30)):
                        work(state)
                    saving.wait()
            except CheckpointAbortedError:
                print("lost", flush=True)  # and go on: the others were told so, too
            else:
                print(f"saved {step}", flush=True)


def check(where: str, options: dict[str, Any], acknowledged: int) -> str:
    """Return what is wrong with the latest checkpoint, "" if nothing."""
    with journalkit.open_checkpoints(where, mode="r", options=options) as reader:
        loaded = reader.load_latest()
    if loaded is None:
        return "there is no checkpoint" if acknowledged >= 0 else ""
    state, checkpoint = loaded
    step = checkpoint.offsets["steps"]
    if step < acknowledged:
        return f"step {step}, and {acknowledged} was acknowledged"
    return wrong_with(state, step) or "; ".join(map(str, checkpoint.skipped))


class Run:
    """The processes of one start of the job."""

    def __init__(self, arguments: list[str], token: str, size: int) -> None:
        self.lives = [
            Life(__file__, [*arguments, "--run", token, "--rank", str(rank), "--size", str(size), "--live"])
            for rank in range(size)
        ]

    @property
    def acknowledged(self) -> int:
        """The newest step that any worker was told is saved."""
        return max(life.acknowledged for life in self.lives)

    def listen(self, duration_s: float, *, until_begun: bool = False) -> None:
        """Take down what they say for so long."""
        deadline = time.monotonic() + duration_s
        for life in self.lives:
            life.listen(max(deadline - time.monotonic(), 0.01), until_begun=until_begun)

    def kill(self, chance: random.Random, happened: Counter[str]) -> None:
        """Kill all at once, or one of them first."""
        lives = list(self.lives)
        chance.shuffle(lives)
        if chance.random() < 0.5 and len(lives) > 1:
            happened["kills of rank 0 alone" if lives[0] is self.lives[0] else "kills of another rank alone"] += 1
            lives[0].kill()
            self.lives[self.lives.index(lives[0])].listen(0)
            time.sleep(chance.random() * 1.5)
            lives = lives[1:]
        else:
            happened["kills of all at once"] += 1
        for life in lives:
            life.kill()


def main() -> int:
    """Kill, look, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", choices=["", "seaweedfs"], default="", help="instead of a directory")
    parser.add_argument("--live", action="store_true", help=argparse.SUPPRESS)
    for name in ("--where", "--endpoint", "--run"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS)
    for name in ("--rank", "--size"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.live:
        live(args)
        return 0
    with tempfile.TemporaryDirectory() as folder, place_of(args.server, Path(folder)) as (where, options, server):
        return kill_runs(args, where, options, server)


def kill_runs(args: argparse.Namespace, where: str, options: dict[str, Any], server: Any) -> int:
    """Start and kill runs until there were enough kills; return the exit code."""
    chance = random.Random(args.seed)
    happened: Counter[str] = Counter()
    acknowledged, starts = -1, 0
    arguments = ["--where", where, "--endpoint", options.get("endpoint", "")]
    last: Run | None = None
    while (kills := sum(count for what, count in happened.items() if what.startswith("kills"))) < args.kills:
        starts += 1
        size = chance.choice(SIZES)
        happened[f"runs of {size}"] += 1
        run = Run(arguments, f"seed {args.seed}, start {starts}", size)
        run.listen(60, until_begun=True)
        if last is not None:
            # It was running when this one took over: it may have been told of saves up to then, not beyond.
            last.listen(0.3)
            begun = max(life.begun for life in run.lives)
            happened["workers fenced"] += sum(life.ended == "fenced" for life in last.lives)
            last.kill(chance, happened)
            if 0 <= begun < last.acknowledged:
                print(f"another run began at {begun}, and the one before was told of {last.acknowledged}")
                return 1
            last = None
        if server is not None and chance.random() < 0.15:
            run.listen(chance.random() * 0.3)
            server.kill()
            happened["kills of the server"] += 1
            run.listen(chance.random() * 2)
            server.start()
        run.listen(chance.random() * 2)
        if chance.random() < 0.2:
            last = run
            continue
        run.kill(chance, happened)
        happened["saves given up, told to each worker"] += sum(life.lost for life in run.lives)
        acknowledged = max(acknowledged, run.acknowledged)
        wrong = patiently(check, where, options, acknowledged)
        if wrong:
            print(f"after {kills} kills: {wrong}; seed {args.seed}")
            return 1
    if last is not None:
        last.kill(chance, happened)
    left = patiently(left_over, where, options)
    if left:
        print(f"left over: {sorted(left)[:10]}")
        return 1
    told = ", ".join(f"{count} {what}" for what, count in sorted(happened.items()))
    print(f"{told}; {acknowledged} steps acknowledged, each counted once by every key, nothing left over")
    return 0


if __name__ == "__main__":
    sys.exit(main())
