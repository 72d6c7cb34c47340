"""The target `open`: stores and journals in memory, opened whatever their directory holds.

Opening gives a state or one of the errors that it declares. What gave a state
gives the same one again, for reading and for writing alike; reading changes no
byte, and neither does a refusal for damage.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import journalkit
from fuzz import second
from fuzz.directories import FOLDER, directory_seeds, mutate_directory, unpack
from fuzz.draw import spelled
from fuzz.target import Target, require
from journalkit.errors import CorruptionError, JournalError, UnsupportedFormatError
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import decode_manifest
from journalkit.format.names import LOCK, MANIFEST
from journalkit.fs.memory import MemoryFileSystem
from journalkit.testing import SimulatedClock

HERE = "/s"
LAST_NUMBER = "no longer written"
_MODES = ("default", "default", "strict", "point-in-time")


@dataclass(frozen=True, slots=True)
class Seen:
    """What opening a directory came to: a state, or the class and the words of an error."""

    error: str = ""
    kind: str = ""
    state: tuple[str, ...] = ()
    lsn: int = 0
    is_readable: bool = True


def as_memory(data: bytes) -> MemoryFileSystem:
    """Return the directory in memory, where there are no links and no pipes."""
    fs = MemoryFileSystem()
    fs.make_directory(HERE)
    for item in unpack(data):
        folder, _, _ = item.name.rpartition("/")
        with suppress(OSError):  # what stands below a file
            if folder and fs.status(f"{HERE}/{folder}") is None:
                fs.make_directory(f"{HERE}/{folder}")
            if item.kind == FOLDER:
                fs.make_directory(f"{HERE}/{item.name}")
            else:
                fs.create(f"{HERE}/{item.name}").pwrite(item.content, 0)
    return fs


def contents(fs: MemoryFileSystem, folder: str = HERE) -> dict[str, bytes | None]:
    """Return every file below a folder, None for a directory, without the lock: its words are its owner's."""
    found: dict[str, bytes | None] = {}
    for name in fs.list(folder):
        path = f"{folder}/{name}"
        status = fs.status(path)
        if status is not None and status.is_directory:
            found[path] = None
            found |= contents(fs, path)
        elif name != LOCK:
            file = fs.open_read(path)
            found[path] = file.pread(file.size(), 0)
    return found


def _open(fs: MemoryFileSystem, mode: str, recovery: str, *, is_journal: bool, deep: bool) -> Any:
    options: dict[str, Any] = {
        "fs": fs, "mode": mode, "create": False, "recovery": recovery, "clock": SimulatedClock(seed=1)
    }  # fmt: skip
    if is_journal:
        return journalkit.open_journal(HERE, **options)
    return journalkit.open(HERE, compaction="manual", check_all=deep, cache_bytes=4096, **options)


def look(fs: MemoryFileSystem, mode: str, recovery: str, *, is_journal: bool, deep: bool, write: bool = False) -> Seen:
    """Open, read everything, write one entry if asked to, and close."""
    try:
        opened = _open(fs, mode, recovery, is_journal=is_journal, deep=deep)
    except JournalError as error:
        return Seen(error=f"{type(error).__name__}: {error}", kind=type(error).__name__)
    with opened:
        seen = Seen(lsn=opened.lsn)
        try:
            seen = Seen(state=tuple(_read(opened)), lsn=opened.lsn)
        except (CorruptionError, UnsupportedFormatError) as error:
            seen = Seen(kind=type(error).__name__, lsn=opened.lsn, is_readable=False)
        if write:
            if is_journal:
                opened.append(b"one more")
            else:
                opened.put("one more", b"1")
    return seen


def _read(opened: Any) -> Any:
    if isinstance(opened, journalkit.Journal):
        for record in opened.read():
            yield f"{record.lsn} {spelled(record.value)}"
        return
    for key, value in opened.items():
        yield f"{spelled(key)}: {spelled(value)}"
    for name, value in opened.offsets.items():
        yield f"offset {name!r}: {spelled(value)}"


def _kind(data: bytes) -> str:
    for item in unpack(data):
        if item.name == MANIFEST and item.kind != FOLDER:
            with suppress(MalformedError, NewerFormatError):
                return decode_manifest(item.content).kind
    return "store"


def run_open(data: bytes) -> None:
    """Open a directory for reading twice, then for writing, then for reading again."""
    choice, data = (data[0] if data else 0), data[1:]
    recovery, deep = _MODES[choice % 4], bool(choice & 4)
    is_journal = (_kind(data) == "journal") != (choice >= 0xF0)  # rarely as what it isn't
    how = {"is_journal": is_journal, "deep": deep}
    fs = as_memory(data)
    before = contents(fs)
    first = look(fs, "r", recovery, **how)
    require(look(fs, "r", recovery, **how) == first, "two looks at the same bytes differ")
    require(contents(fs) == before, "reading changes the directory")
    if recovery == "default" and not deep and is_journal == (_kind(data) == "journal"):
        _compare_readers(data, first)
    seen = look(fs, "rw", recovery, **how)
    if seen.error:
        # Of a directory in the way of a file only the attempt tells; and a last number, once leftovers were swept.
        if seen.kind != "StorageError" and LAST_NUMBER not in seen.error:
            require(contents(fs) == before, f"refused, and changed: {seen.error}")
        return
    require(not first.error, f"opened for writing, but for reading it is {first.error}")
    if first.is_readable:
        require(seen.state == first.state, f"read as {first.state!r:.300}, recovered as {seen.state!r:.300}")
    again = look(fs, "rw", "strict", **how, write=True)
    if LAST_NUMBER in again.error:
        return
    require((again.error, again.state) == ("", seen.state), f"{seen!r:.300} opens as {again!r:.300}")
    last = look(fs, "r", "strict", **how)
    require(not last.error and last.lsn > again.lsn - 1, f"what was written can't be opened: {last!r:.300}")
    require(set(again.state) - {"str 'one more'"} <= set(last.state) | _replaced(again), "what was there is gone")


def _compare_readers(data: bytes, seen: Seen) -> None:
    """Ask the independent reader: nothing opens that it refuses, and all that it finds sound or torn does.

    Where something is damaged and it knows a copy that stands in, an open may be stricter.
    """
    files = {item.name: item.content for item in unpack(data) if item.kind != FOLDER and "/" not in item.name}
    judgement = second.judge(files)
    if judgement is None or any(item.kind == FOLDER for item in unpack(data)):
        return
    served = judgement.state is not None
    says = judgement.refusal.reason if judgement.refusal is not None else judgement.verdict
    is_allowed = judgement.verdict == "damaged" if served else bool(seen.error)
    require(
        is_allowed or served == (not seen.error),
        f"the second reader says {says!r}, opening says {seen.error or seen!r:.300}",
    )
    if served and not seen.error:
        require(judgement.last_lsn == seen.lsn, f"LSN {judgement.last_lsn} for the second reader, {seen.lsn} opened")


def _replaced(seen: Seen) -> set[str]:
    return {line for line in seen.state if line.startswith("str 'one more'")}


def open_seeds(chance: Any) -> Any:
    """Every golden directory, in each way of opening."""
    for number, directory in enumerate(directory_seeds(chance)):
        yield bytes((number % 8,)) + directory
        yield b"\0" + directory


def mutate_open(data: bytes, chance: Any) -> bytes:
    """Change the directory, sometimes the way of opening."""
    head = data[:1] if data and chance.random() < 0.8 else bytes((chance.randrange(256),))
    return head + mutate_directory(data[1:], chance)


TARGETS = (
    Target(
        "open", "open and open_journal on damaged directories", open_seeds, run_open, mutate_open, bytes_max=16 * 1024
    ),
)
