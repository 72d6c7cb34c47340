"""Kill a job that saves checkpoints again and again, and look whether it lost or repeated anything.

    python tests/crash/job_kills.py --kills 200 --seed 1
    python tests/crash/job_kills.py --kills 200 --seed 1 --server seaweedfs

Each life takes over the job, goes on from the latest checkpoint, counts inputs
into its state and saves, in the foreground or in the background; what was
acknowledged it says over a pipe. Now and then the next life begins while the
last one still runs, which has to be fenced; with a server, that is killed too
and started again. After each kill the latest checkpoint is loaded for reading:
its state must be what its offset makes of the inputs, no earlier than what was
acknowledged. At the end nothing is left in the place that no checkpoint needs.
Exit code 1: it wasn't so.
"""
# ruff: noqa: T201 - a program that reports to a person

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import journalkit
from journalkit.format import names
from journalkit.objects.places import open_objects

INPUTS = 1 << 40
KEYS = 50
LONG_BYTES = 300_000
T = TypeVar("T")


def counted(offset: int) -> dict[str, Any]:
    """Return the state that so many inputs make."""
    whole, rest = divmod(offset, KEYS)
    return {"counts": {key: whole + (key < rest) for key in range(KEYS)}, "sum": offset * (offset - 1) // 2}


def live(where: str, options: dict[str, Any], seed: int) -> None:
    """Be the job: take over, go on, save, say what was acknowledged."""
    chance = random.Random(seed)
    try:
        run(where, options, chance)
    except journalkit.errors.FencedError:
        print("fenced", flush=True)
    except (journalkit.errors.ArchiveUnavailableError, journalkit.errors.StorageError, journalkit.errors.ConflictError):
        # The server is away: a job ends, and is started again by whoever runs it.
        print("away", flush=True)


def run(where: str, options: dict[str, Any], chance: random.Random) -> None:
    """Work until killed."""
    keep = journalkit.Keep(last=chance.randrange(1, 4))
    with journalkit.open_checkpoints(where, keep=keep, trash_period=chance.choice((0, 0.5)), options=options) as job:
        loaded = job.load_latest()
        state, offset = (loaded[0], loaded[1].offsets["in"]) if loaded else (counted(0) | {"long": b""}, 0)
        print(f"begun {offset}", flush=True)
        while offset < INPUTS:
            for _ in range(chance.randrange(1, 200)):
                state["counts"][offset % KEYS] += 1
                state["sum"] += offset
                offset += 1
            state["long"] = random.Random(offset // 5000).randbytes(LONG_BYTES)
            if chance.random() < 0.5:
                job.save(state, offsets={"in": offset})
                print(f"saved {offset}", flush=True)
            else:
                saving = job.save_async(state, offsets={"in": offset})
                at = offset
                for _ in range(chance.randrange(200)):
                    state["counts"][offset % KEYS] += 1
                    state["sum"] += offset
                    offset += 1
                saving.wait()
                print(f"saved {at}", flush=True)


class Life:
    """One process of the job."""

    def __init__(self, program: str, arguments: list[str]) -> None:
        command = [sys.executable, program, *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
        self._rest = b""
        self.begun = -1
        self.acknowledged = -1
        self.lost = 0
        self.ended = ""

    def listen(self, duration_s: float, *, until_begun: bool = False) -> None:
        """Take down what it says for so long."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + duration_s
        while (left_s := deadline - time.monotonic()) > 0 and not (until_begun and self.begun >= 0) and not self.ended:
            if select.select([self._process.stdout], [], [], left_s)[0] and not self._take():
                return

    def _take(self) -> bool:
        assert self._process.stdout is not None
        said = os.read(self._process.stdout.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + said).split(b"\n")
        for line in lines:
            word, *numbers = line.split()
            if word == b"begun":
                self.begun = int(numbers[0])
            elif word == b"saved":
                self.acknowledged = int(numbers[0])
            elif word == b"lost":
                self.lost += 1
            else:
                self.ended = word.decode()
        return bool(said)

    def kill(self) -> None:
        """Kill it, and take down what it had said."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        while self._take():
            pass
        assert self._process.stdout is not None
        self._process.stdout.close()


def patiently(ask: Callable[..., T], *of: Any) -> T:
    """Ask again while the server, which has just been started, can't answer yet."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask(*of)
        except journalkit.errors.ArchiveUnavailableError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def check(where: str, options: dict[str, Any], acknowledged: int) -> str:
    """Return what is wrong with the latest checkpoint, "" if nothing."""
    with journalkit.open_checkpoints(where, mode="r", options=options) as reader:
        loaded = reader.load_latest()
    if loaded is None:
        return "there is no checkpoint" if acknowledged >= 0 else ""
    state, offset = loaded[0], loaded[1].offsets["in"]
    if {key: state[key] for key in ("counts", "sum")} != counted(offset):
        return f"the state isn't what {offset} inputs make"
    if offset < acknowledged:
        return f"offset {offset}, and {acknowledged} was acknowledged"
    return "; ".join(map(str, loaded[1].skipped))


def left_over(where: str, options: dict[str, Any]) -> set[str]:
    """Prune, and return what is in the place and needed by no checkpoint."""
    with journalkit.open_checkpoints(where, trash_period=0, options=options) as job:
        job.prune(journalkit.Keep(last=1))
        needed = {
            key
            for checkpoint in job
            for key in (*checkpoint.manifest.packs(), names.checkpoint_key(checkpoint.epoch, checkpoint.save))
        }
    objects = open_objects(where, options=options)
    there: set[str] = set()
    for prefix in (names.PACKS, names.MANIFESTS, names.PAGES, names.RUNS, names.ROUNDS, "probe/"):
        after = ""
        while page := objects.list(prefix, after=after):
            there |= {status.key for status in page}
            after = page[-1].key
    return there ^ needed


@contextlib.contextmanager
def place_of(name: str, folder: Path) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Give where the checkpoints are, how to get there, and what kills and starts the server."""
    if not name:
        yield str(folder / "job"), {}, None
        return
    spec = importlib.util.spec_from_file_location("servers", Path(__file__).parents[1] / "contract" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    servers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(servers)
    with servers.Server(name, folder) as running:
        yield f"s3://{servers.BUCKET}/job", {**servers.OPTIONS, "endpoint": running.endpoint}, running


def server_options(endpoint: str) -> dict[str, Any]:
    """Return how to get to a server, nothing for a directory."""
    if not endpoint:
        return {}
    return {"endpoint": endpoint, "region": "us-east-1", "access_key_id": "any", "secret_access_key": "any",
            "virtual_hosted_style_request": False, "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 2}}  # fmt: skip


def main() -> int:
    """Kill, look, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", choices=["", "seaweedfs"], default="", help="instead of a directory")
    parser.add_argument("--live", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.live is not None:
        live(args.where, server_options(args.endpoint), args.live)
        return 0
    chance = random.Random(args.seed)
    happened: Counter[str] = Counter()
    acknowledged = -1
    with tempfile.TemporaryDirectory() as folder, place_of(args.server, Path(folder)) as (where, options, server):
        arguments = ["--where", where, "--endpoint", options.get("endpoint", "")]
        last: Life | None = None
        while happened["kills"] < args.kills:
            life = Life(__file__, [*arguments, "--live", str(chance.randrange(1 << 30))])
            life.listen(30, until_begun=True)
            if last is not None:
                # It was running when this one took over: it may have been acknowledged up to then, not beyond.
                last.listen(0.3)
                last.kill()
                happened["kills"] += 1
                happened["fenced"] += last.ended == "fenced"
                if life.begun >= 0 and last.acknowledged > life.begun:
                    print(f"fenced at {life.begun}, and acknowledged {last.acknowledged} behind that")
                    return 1
                last = None
            if server is not None and chance.random() < 0.15:
                life.listen(chance.random() * 0.3)
                server.kill()
                happened["server kills"] += 1
                life.listen(chance.random() * 2)
                server.start()
            life.listen(chance.random() * 0.4)
            if chance.random() < 0.2 and not life.ended:
                last = life
                continue
            life.kill()
            happened["kills"] += 1
            happened["away"] += life.ended == "away"
            acknowledged = max(acknowledged, life.acknowledged)
            wrong = patiently(check, where, options, acknowledged)
            if wrong:
                print(f"after {happened['kills']} kills: {wrong}; seed {args.seed}")
                return 1
        if last is not None:
            last.kill()
        left = patiently(left_over, where, options)
        if left:
            print(f"left over: {sorted(left)[:10]}")
            return 1
    told = ", ".join(f"{count} {what}" for what, count in sorted(happened.items()))
    print(f"{told}; {acknowledged} inputs acknowledged, each counted once, nothing left over")
    return 0


if __name__ == "__main__":
    sys.exit(main())
