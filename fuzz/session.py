"""One run of a target: a process of its own, watched from outside, and what came of it.

The process may leak, loop, crash or be killed; none of that reaches this one,
which notes it as the finding, keeps the input and says how to see it again.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from fuzz.child import FOUND, WAITS_MAX, Order
from fuzz.notes import Notes
from fuzz.target import Engine

ROOT = Path(__file__).parents[1]
NO_ATHERIS = (
    "atheris isn't installed here, so inputs are mutated blindly, not guided by coverage: pip install atheris "
    "(it has wheels for CPython 3.11 to 3.13 on Linux, x86_64)"
)
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Directories are made and removed by the thousand: in memory where the platform has such a place."""
_BEGIN_S = 90.0
_END_S = 60.0
_POLL_S = 0.1
_COVERAGE = re.compile(r"cov: (\d+) ft: \d+ corp: (\d+)/")
_BOOT = """
import json, sys
order = json.loads(sys.argv[1])
sys.path[:] = order.pop("path")
from fuzz.child import main
main(json.dumps(order))
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one input may take, and the process beyond what it takes to begin with."""

    input_s: float = 5.0
    input_mb: int = 128
    memory_mb: int = 512

    @property
    def stall_s(self) -> float:
        """How long no input may end, by the clock on the wall: a lock, a sleep, a loop inside a library."""
        return 6 * self.input_s


@dataclass(slots=True)
class Result:
    """What a run came to. `finding` is empty, or a text that stands alone."""

    target: str
    engine: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    edges: int = 0
    kept: int = 0
    finding: str = ""
    artifact: Path | None = None
    notes: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the run in one line."""
        rate = self.inputs / self.seconds if self.seconds else 0.0
        how = f"{self.engine}, seed {self.seed}"
        if self.edges:
            how += f", {self.edges:,} edges and {self.kept} inputs that differ"
        said = "FOUND SOMETHING" if self.finding else "nothing found"
        return f"{self.target}: {self.inputs:,} inputs in {self.seconds:.1f} s ({rate:,.0f}/s), {how}: {said}"


def has_atheris() -> bool:
    """Whether the engine that is guided by coverage can be had."""
    return importlib.util.find_spec("atheris") is not None


def engine_for(target: str) -> Engine:
    """Return what drives a target here."""
    if target == "machine":
        return "hypothesis"
    return "atheris" if has_atheris() else "mutation"


def run(
    target: str,
    *,
    seed: int = 1,
    seconds: float = 10.0,
    engine: Engine | None = None,
    limits: Limits | None = None,
    files: tuple[Path, ...] = (),
    keep: Path | None = None,
) -> Result:
    """Run a target, or some files through it, and return what came of it.

    Without a finding nothing stays behind; with one, a temporary folder that
    its text names. `keep` is given the inputs that reached something new.
    """
    bounds = limits if limits is not None else Limits()
    chosen: Engine = "mutation" if files else engine or engine_for(target)
    folder = Path(tempfile.mkdtemp(prefix="journalkit-fuzz-"))
    names = [str(file.resolve()) for file in files]
    order = Order(target, chosen, seed, seconds, str(folder), names, **asdict(bounds))
    result = Result(target, "replay" if files else chosen, seed)
    notes = Notes(folder / "notes", create=True)
    try:
        _run(order, bounds, notes, result)
        if result.finding:
            _tell(result, notes, folder)
        if keep is not None and (folder / "corpus").is_dir():
            shutil.copytree(folder / "corpus", keep, dirs_exist_ok=True)
    finally:
        notes.close()
        if result.artifact is None:
            shutil.rmtree(folder)
    return result


def _run(order: Order, bounds: Limits, notes: Notes, result: Result) -> None:
    path = [*sys.path, str(ROOT)]
    folder = Path(order.folder)
    scratch = tempfile.TemporaryDirectory(prefix="journalkit-fuzz-", dir=MEMORY, ignore_cleanup_errors=True)
    with scratch as place, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(asdict(order) | {"path": path})],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=os.environ | {"TMPDIR": place},
        )
        try:
            began, stalled = _watch(process, order, bounds, notes)
        finally:
            process.kill()
            process.wait()
    result.seconds = time.monotonic() - began
    result.inputs = notes.number
    said = (folder / "log").read_text(encoding="utf-8", errors="replace")
    reached = _COVERAGE.findall(said)
    if reached:
        result.edges, result.kept = map(int, reached[-1])
    written = folder / "finding"
    if process.returncode == FOUND and written.exists():
        found = json.loads(written.read_text(encoding="utf-8"))
        result.finding = f"{found['what']}\n{found['trace']}"
    elif stalled:
        result.finding = f"{stalled}\n{said[-2000:]}"
    elif process.returncode:
        result.finding = f"the process ended {_how(process.returncode)}\n{said[-4000:]}"


def _watch(process: subprocess.Popen[bytes], order: Order, bounds: Limits, notes: Notes) -> tuple[float, str]:
    """Wait for the end; return when the first input began, and what is wrong if it had to be ended from here."""
    started = began = changed = time.monotonic()
    seen = 0
    while process.poll() is None:
        time.sleep(_POLL_S)
        now, number = time.monotonic(), notes.number
        if number != seen:
            began = now if not seen else began
            seen, changed = number, now
        if not seen and now - started > _BEGIN_S:
            return began, f"nothing ran within {_BEGIN_S:.0f} s"
        if seen and now - changed > bounds.stall_s:
            return began, f"the input hangs: nothing ended within {bounds.stall_s:.0f} s"
        if seen and not order.files and now - began > WAITS_MAX * order.seconds + _END_S + bounds.stall_s:
            return began, "the run doesn't end"
    return began, ""


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _tell(result: Result, notes: Notes, folder: Path) -> None:
    """Keep the input, and add to the finding how it is repeated."""
    data = notes.data
    head = f"{result.target}: input {result.inputs} of seed {result.seed} ({result.engine})"
    if result.engine == "hypothesis":
        again = ["python", "-m", "fuzz", result.target, "--seed", data.decode().removeprefix("seed ")]
        result.artifact = folder
        shown = ""
    else:
        result.artifact = folder / f"{result.target}-{sha256(data).hexdigest()[:12]}"
        result.artifact.write_bytes(data)
        again = ["python", "-m", "fuzz", result.target, "--file", str(result.artifact)]
        shown = f"  input: {data[:200]!r}{'...' if len(data) > 200 else ''} ({len(data)} bytes)\n"
    result.finding = f"{head}: {result.finding.rstrip()}\n{shown}  again: {shlex.join(again)}"
