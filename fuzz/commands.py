"""The targets `cli` and `salvage`: the command line on directories that hold anything at all.

A command ends with an exit code that is documented for it, tells an error in
one line, prints nothing that a terminal obeys, and changes no byte of what it
only reads. What it repaired or rescued is sound.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

from fuzz.directories import FOLDER, LINK, PIPE, directory_seeds, mutate_directory, unpack
from fuzz.target import FindingError, Target, require
from journalkit.cli import codes, main
from journalkit.cli.program import build_parser
from journalkit.clock import SystemClock

_LOOKS: tuple[tuple[str, ...], ...] = (
    ("info", "S"),
    ("info", "S", "--json"),
    ("verify", "S"),
    ("verify", "S", "--json"),
    ("log", "S"),
    ("log", "S", "--json", "--values"),
    ("log", "S", "--reverse", "--limit", "3", "--values"),
    ("log", "S", "--from", "2", "--to", "4", "--json"),
    ("dump", "S"),
    ("dump", "S", "--json"),
    ("get", "S", "k0"),
    ("get", "S", "0", "--key-type", "int", "--json"),
    ("get", "S", "k1", "--raw"),
    ("scan", "S"),
    ("scan", "S", "--json", "--reverse"),
    ("scan", "S", "--prefix", "k", "--limit", "2", "--keys-only"),
    ("du", "S"),
    ("du", "S", "--json"),
    ("recover", "S", "--dry-run"),
    ("recover", "S", "--dry-run", "--json", "--mode", "point-in-time"),
    ("recover", "S", "--dry-run", "--json", "--mode", "strict"),
    ("salvage", "S", "T"),
    ("salvage", "S", "T", "--json"),
)
_CODES = {"verify": {codes.DONE, codes.TORN_TAIL, codes.ERROR}, "get": {codes.DONE, codes.ABSENT, codes.ERROR}}
_RAW = 0x80
"""Set in the first byte of an input: standard output takes ASCII only."""


@contextmanager
def _directory(data: bytes) -> Iterator[Path]:
    """Make the directory on a real file system, below one of its own."""
    top = Path(tempfile.mkdtemp(prefix="fuzzed-"))
    store = top / "S"
    store.mkdir()
    try:
        for item in unpack(data):
            path = os.fsencode(store) + b"/" + item.name.encode("utf-8", "surrogateescape")
            with suppress(OSError):  # a name that is too long, or stands below a file
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if item.kind == FOLDER:
                    os.mkdir(path)
                elif item.kind == LINK:
                    os.symlink(item.content.replace(b"\0", b"") or b"nowhere", path)
                elif item.kind == PIPE:
                    os.mkfifo(path)
                else:
                    with open(path, "xb") as file:
                        file.write(item.content)
        yield store
    finally:
        shutil.rmtree(top)


def _survey(folder: Path) -> list[tuple[object, ...]]:
    """Return everything about what is below a folder, but for when it was last read and the words in the lock."""
    found: list[tuple[object, ...]] = []
    for where, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            path = os.path.join(where, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found.append((path, status.st_mode, status.st_size, status.st_ino, status.st_mtime_ns, content))
    return found


def _sleep_not(_clock: SystemClock, _seconds: float) -> None:
    """Look again at once: nobody else is at the directory."""


class Done(NamedTuple):
    """What a command came to: its exit code, what it printed, what it said beside that."""

    code: int
    said: str
    told: str


def run_command(arguments: tuple[str, ...], top: Path, *, plain: bool = False) -> Done:
    """Run a command in this process; return what it came to, or raise a finding."""
    argv = [str(top / word) if word in ("S", "T") else word for word in arguments]
    streams = sys.stdout, sys.stderr
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii" if plain else "utf-8", errors="strict", newline="")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", newline="")
    usual = SystemClock.sleep
    SystemClock.sleep = _sleep_not  # type: ignore[method-assign]
    sys.stdout, sys.stderr = out, err
    try:
        code = main(argv)
        defect = _traceback(argv, top) if _is_defect(err) else ""
    finally:
        sys.stdout, sys.stderr = streams
        SystemClock.sleep = usual  # type: ignore[method-assign]
    said, told = _text(out), _text(err)
    _judge(arguments, code, said, told, defect)
    return Done(code, said, told)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    return raw.getvalue().decode("utf-8", "surrogateescape") if isinstance(raw, io.BytesIO) else ""


def _is_defect(err: io.TextIOWrapper) -> bool:
    return "a defect in journalkit" in _text(err)


def _traceback(argv: list[str], top: Path) -> str:
    """Run a command again without what turns a defect into one line."""
    shutil.rmtree(top / "T", ignore_errors=True)
    try:
        args = build_parser().parse_args(argv)
        args.run(args)
    except Exception:  # noqa: BLE001 - it is what is looked for
        return traceback.format_exc()
    return "not seen when run again"


def _judge(arguments: tuple[str, ...], code: int, said: str, told: str, defect: str) -> None:
    name = " ".join(arguments)
    require(not defect, f"`{name}` ends in a defect: {told}\n{defect}")
    allowed = _CODES.get(arguments[0], {codes.DONE, codes.ERROR})
    require(code in allowed, f"`{name}` ends with {code}: {told}")
    require("Traceback" not in told, f"`{name}` shows a traceback: {told}")
    lines = told.splitlines()
    if code == codes.ERROR and arguments[0] != "verify":
        require(lines and lines[-1].startswith(f"journalkit {arguments[0]}: "), f"`{name}` fails with {told!r}")
    for text in [told] if "--raw" in arguments else [said, told]:
        shown = text.replace("\n", "").replace("\t", "")
        is_tame = all(ord(character) >= 0x20 and not 0x7F <= ord(character) < 0xA0 for character in shown)
        require(is_tame, f"`{name}` sends control characters: {text!r:.500}")
    if "--json" in arguments:
        for line in said.splitlines():
            try:
                json.loads(line)
            except ValueError as error:
                raise FindingError(f"`{name}` prints what is no JSON ({error}): {line!r:.500}") from error


def run_cli(data: bytes) -> None:
    """Run one command that only reads."""
    choice = data[0] if data else 0
    arguments = _LOOKS[(choice & ~_RAW) % len(_LOOKS)]
    with _directory(data[1:]) as store:
        before = _survey(store)
        run_command(arguments, store.parent, plain=bool(choice & _RAW))
        require(_survey(store) == before, f"`{' '.join(arguments)}` changes what it reads")


def run_salvage(data: bytes) -> None:
    """Rescue a directory into a new store, or recover it; then verify what came out, and read all of it."""
    choice = data[0] if data else 0
    with _directory(data[1:]) as store:
        if choice % 3 == 0:
            _rescue(store)
        else:
            _recover(store, ("default", "point-in-time")[choice % 3 - 1])


def _rescue(store: Path) -> None:
    top, before = store.parent, _survey(store)
    done = run_command(("salvage", "S", "T", "--json"), top)
    require(_survey(store) == before, "salvage changes its source")
    if done.code != codes.DONE:
        require(not done.said, "salvage reports and fails")
        return
    require(run_command(("verify", "T"), top).code == codes.DONE, "what salvage writes isn't sound")
    rescued = _contents(top, "T")
    if run_command(("verify", "S"), top).code != codes.DONE:
        return
    whole = run_command(("dump", "S"), top)
    if whole.code == codes.DONE:
        require(json.loads(done.said)["complete"], "salvage of a sound store misses something")
        require(whole.said == rescued.said, "salvage of a sound store gives another one")


def _contents(top: Path, which: str) -> Done:
    """Return the state of a store, or the records of a journal: whole, or of bytes that are whole and no value."""
    info = json.loads(run_command(("info", which, "--json"), top).said)
    done = run_command(("dump", which) if info["kind"] == "store" else ("log", which, "--values"), top)
    is_senseless = "can't be decoded" in done.told or "makes no sense" in done.told
    require(done.code == codes.DONE or is_senseless, f"what is verified can't be read: {done.told}")
    return done


def _recover(store: Path, mode: str) -> None:
    top, before = store.parent, _survey(store)
    would = run_command(("recover", "S", "--dry-run", "--mode", mode, "--json"), top).code
    require(_survey(store) == before, "a dry run changes the store")
    done = run_command(("recover", "S", "--mode", mode), top).code
    if would != codes.DONE:
        require(done != codes.DONE, "a recovery does what its plan refuses")
        require(_unlocked(_survey(store)) == _unlocked(before), "a refused recovery changes files")
        return
    if done == codes.DONE:
        require(run_command(("verify", "S"), top).code == codes.DONE, "what was recovered isn't sound")
        _contents(top, "S")


def _unlocked(survey: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Leave out the lock, which whoever wants to write takes before anything is known."""
    return [one for one in survey if not str(one[0]).endswith("/LOCK")]


def seeds(chance: Random) -> Iterable[bytes]:
    """Every golden directory, under one command after the other."""
    for number, directory in enumerate(directory_seeds(chance)):
        yield bytes((number % len(_LOOKS),)) + directory
        yield bytes((2 * (number % 2),)) + directory


def mutate_with_choice(data: bytes, chance: Random) -> bytes:
    """Change the directory, or the command."""
    if data and chance.random() < 0.2:
        return bytes((chance.randrange(256),)) + data[1:]
    return data[:1].ljust(1, b"\0") + mutate_directory(data[1:], chance)


TARGETS = (
    Target("cli", "commands that read, on any directory", seeds, run_cli, mutate_with_choice, bytes_max=16 * 1024),
    Target("salvage", "salvage and recover", seeds, run_salvage, mutate_with_choice, bytes_max=16 * 1024),
)
