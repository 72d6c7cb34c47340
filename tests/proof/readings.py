"""What readers see, told once for all disks that answer their questions alike.

Most disks that a power cut may leave differ in bytes that a reader never asks
for. What it sees is decided by the answers of its file system and by nothing
else, so each reading is kept as a path of questions and answers: a disk that
gives the same answer to every question on the way would be read the same way,
and what was seen at its end is told without opening the store again. The first
other answer, and it is opened.

A reader that asks differently after the same answers is told of: it would have
to look at something beside its files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from history import State
from still import Still, StillFile

from journalkit.errors import JournalError
from journalkit.fs.interface import FileStatus, ReadableFileSystem

Question: TypeAlias = tuple[Any, ...]
"""The name of a method of `Still`, or of its files, a path, and arguments."""

_KEPT_BYTES_MAX: Final = 64 << 20
"""How many bytes of answers are kept to be compared; what was told of older ones is told no more."""


class Sight(NamedTuple):
    """What an open store or journal shows."""

    lsn: int
    durable_lsn: int
    pruned_lsn: int
    fell_back: bool
    state: State
    metadata: dict[str, Any]

    @classmethod
    def of(cls, store: Any, kind: str) -> Sight:
        """Look at everything."""
        lsn, durable_lsn, fell_back = store.lsn, store.durable_lsn, store.recovery_report.fell_back
        if kind == "journal":
            records = {record.lsn: record.value for record in store.read()}
            return cls(lsn, durable_lsn, store.pruned_lsn, fell_back, State(records, {}), {})
        state = State(dict(store.items()), dict(store.offsets))
        return cls(lsn, durable_lsn, 0, fell_back, state, dict(store.metadata))


@dataclass(slots=True)
class _Asked:
    """What is asked at one point of a reading, and where each answer leads: to the next question or to the end."""

    question: Question
    answers: dict[Any, _Asked | Sight | JournalError] = field(default_factory=dict)


class Readings:
    """Every reading so far, of stores of one kind at one path, opened one way.

    `opened` is how many stores were opened, `told` how many weren't.
    """

    def __init__(self) -> None:
        self._first: _Asked | None = None
        self._data = _Data()
        self.opened = 0
        self.told = 0

    def of(self, disk: Still, read: Callable[[ReadableFileSystem], Sight]) -> Sight:
        """Return what `read` sees on a disk, or raise what it raises if that is one of the package's errors."""
        found = self._replayed(disk)
        if found is None:
            self.opened += 1
            noted = _Noted(disk, self._data)
            try:
                found = read(noted)
            except JournalError as error:
                found = error
            self._keep(noted.asked, found)
        else:
            self.told += 1
        if isinstance(found, JournalError):
            raise found.with_traceback(None)
        return found

    def _replayed(self, disk: Still) -> Sight | JournalError | None:
        at: _Asked | Sight | JournalError | None = self._first
        while isinstance(at, _Asked):
            at = at.answers.get(_answer(disk, at.question, self._data))
        return at

    def _keep(self, asked: list[tuple[Question, Any]], found: Sight | JournalError) -> None:
        if self._first is None:
            self._first = _Asked(asked[0][0])
        at = self._first
        for (question, answer), (following, _) in zip(asked, [*asked[1:], ((), None)], strict=True):
            if at.question != question:
                raise AssertionError(f"after the same answers a reader asks {question}, and {at.question} before")
            if not following:
                at.answers[answer] = found
                return
            then = at.answers.setdefault(answer, _Asked(following))
            if not isinstance(then, _Asked):
                raise AssertionError(f"after the same answers a reader asks {following}, and nothing more before")
            at = then


def _answer(disk: Still, question: Question, data: _Data) -> Any:
    """Return what a disk says, as it is compared: bytes by their number."""
    ask, path, *arguments = question
    if ask == "pread":
        return data.number(disk.read(path, *arguments))
    try:
        if ask == "list":
            return tuple(disk.list(path))
        if ask == "status":
            return disk.status(path)
        return disk.open_read(path).size() if ask == "size" else bool(disk.open_read(path))
    except OSError as error:
        return error.errno, "error"


class _Data:
    """Gives a number to every string of bytes, the same to equal ones: they are long, and most come often."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._kept_bytes = 0
        self._next = 0

    def number(self, data: bytes) -> int:
        """Return its number."""
        known = self._numbers.get(data)
        if known is None:
            known = self._numbers[data] = self._next = self._next + 1
            self._kept_bytes += len(data)
            while self._kept_bytes > _KEPT_BYTES_MAX:
                oldest = next(iter(self._numbers))
                del self._numbers[oldest]
                self._kept_bytes -= len(oldest)
        return known


class _Noted:
    """A disk of which every question is noted."""

    def __init__(self, disk: Still, data: _Data) -> None:
        self.disk = disk
        self._data = data
        self.asked: list[tuple[Question, Any]] = []

    def open_read(self, path: str) -> _NotedFile:
        self.note("open", path)
        return _NotedFile(self, self.disk.open_read(path), path)

    def open_direct(self, path: str) -> _NotedFile:
        return self.open_read(path)

    def list(self, path: str) -> list[str]:
        self.note("list", path)
        return self.disk.list(path)

    def status(self, path: str) -> FileStatus | None:
        self.note("status", path)
        return self.disk.status(path)

    def free_bytes(self, path: str) -> int:
        return self.disk.free_bytes(path)

    def filesystem_type(self, path: str) -> str:
        return self.disk.filesystem_type(path)

    def note(self, *question: Any) -> None:
        """Keep a question and its answer."""
        self.asked.append((question, _answer(self.disk, question, self._data)))


class _NotedFile:
    """An open file of it."""

    def __init__(self, noted: _Noted, file: StillFile, path: str) -> None:
        self._noted = noted
        self._file = file
        self._path = path

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        self._noted.note("pread", self._path, count_bytes, offset_bytes)
        return self._file.pread(count_bytes, offset_bytes)

    def size(self) -> int:
        self._noted.note("size", self._path)
        return self._file.size()

    def close(self) -> None:
        self._file.close()
