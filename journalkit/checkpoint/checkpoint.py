"""One checkpoint, as a job sees it: what was said with it at once, its state when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from journalkit.checkpoint.keyed import check_rank
from journalkit.checkpoint.loading import ALONE, Manifest
from journalkit.checkpoint.pack import Progress
from journalkit.errors import CheckpointNotFoundError, CorruptionError
from journalkit.format.head import CheckpointEntry

_ID: Final = re.compile(r"([1-9]\d{0,9})\.([1-9]\d{0,9})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Checkpoint:
    """A published checkpoint. It never changes; it may be deleted.

    Attributes:
        epoch: Which writer of the job saved it.
        save: Which of that writer's saves it is, from 1.
        skipped: What is wrong with newer ones, if it was looked for and they were passed over.
    """

    def __init__(
        self,
        entry: CheckpointEntry,
        read: Callable[[CheckpointEntry], Manifest],
        is_there: Callable[[CheckpointEntry], bool],
        where: str,
        *,
        skipped: tuple[CorruptionError, ...] = (),
    ) -> None:
        self._entry = entry
        self._read = read
        self._is_there = is_there
        self._where = where
        self.epoch = entry.epoch
        self.save = entry.save
        self.skipped = skipped

    @property
    def id(self) -> str:
        """What it is known by: epoch and save, "3.17"."""
        return id_of(self._entry)

    @property
    def name(self) -> str:
        """The name that it was given; "" if none. One with a name stays until it is deleted."""
        return self._entry.name

    @property
    def restores(self) -> str:
        """The id of the older checkpoint that it brings back, "" as a rule: `Checkpoints.restore`."""
        return self._entry.restores

    @property
    def time(self) -> datetime:
        """When it was saved, by the writer's clock, in UTC: a label."""
        return _EPOCH + timedelta(microseconds=self._entry.time_us)

    @property
    def metrics(self) -> Mapping[str, float]:
        """What retention may choose by."""
        return MappingProxyType(dict(self._entry.metrics))

    @property
    def offsets(self) -> Mapping[Any, Any]:
        """How far the inputs had been read that made this state. Raises as `load`."""
        return MappingProxyType(dict(self.manifest.said.offsets))

    @property
    def metadata(self) -> Any:
        """What the job said besides: a mapping, as a rule. Raises as `load`."""
        return self.manifest.said.metadata

    @property
    def workers(self) -> int:
        """How many workers saved it together, 1 for one process. Raises as `load`."""
        return max(1, len(self.manifest.said.parts))

    @property
    def size_bytes(self) -> int:
        """How many bytes its state has, what is short not counted. Raises as `load`."""
        return sum(listed.length for listed in self.manifest.said.chunked)

    def load(
        self,
        *,
        lazy: bool = False,
        mapped: bool = False,
        paths: Iterable[tuple[Any, ...]] | None = None,
        progress: Progress | None = None,
        worker: tuple[int, int] = ALONE,
        regions: Mapping[tuple[Any, ...], tuple[slice, ...]] | None = None,
    ) -> Any:
        """Return the state: your own copy, every byte of it checked.

        Args:
            lazy: What is long is read when it is asked for: an array's place holds a handle with `shape`, slices
                and `read()`, a file's one with `copy_to()`. A store's place holds one with `restore()` in any case,
                whose bytes are looked at here if this is False.
            mapped: Arrays are mapped from a directory where that can be, unchecked and at no cost until
                they are touched; what is changed in them stays in memory. `verify` checks.
            paths: Only these parts of the state, by their keys: `[("model", "layer1")]`. What is returned maps each
                of them to what is there.
            progress: Called with the bytes that were read, and those there are in all.
            worker: Whose share of it, of a job of several workers: rank and size. What all of them gave is put
                together by default; `(rank, checkpoint.workers)` is what one of them gave.
            regions: Which parts of divided arrays, by where they stand in the state, if not that worker's.

        Raises:
            CorruptionError: It is damaged. `Checkpoints.load_latest` goes on to an older one by itself.
            CheckpointNotFoundError: It was deleted, and is gone.
            UsageError: A path leads nowhere, the state takes a library that isn't installed, or what several
                workers gave can't be divided among so many.
            UnsupportedFormatError: A later journalkit wrote it, or it takes a package.
            ArchiveUnavailableError, StorageError: It can't be read just now.

        Complexity:
            O(bytes of the state), read by several threads.
        """
        check_rank(*worker)
        with self._telling():
            return self.manifest.load(
                lazy=lazy, mapped=mapped, paths=paths, progress=progress, worker=worker, regions=regions
            )

    def verify(self, progress: Progress | None = None) -> list[CorruptionError]:
        """Read every byte of it and return what is wrong; an empty list if nothing is.

        Raises:
            CheckpointNotFoundError, UnsupportedFormatError, ArchiveUnavailableError, StorageError: As `load`.
        """
        found: list[CorruptionError] = []
        try:
            with self._telling():
                found = self.manifest.verify(progress)
                if found:
                    raise found[0]  # unless it was deleted meanwhile
        except CorruptionError as error:
            return found or [error]
        return found

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Checkpoint {self.id}{name} of {self.time:%Y-%m-%d %H:%M:%S} UTC at {self._where}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Checkpoint):
            return NotImplemented
        return (self._where, self._entry) == (other._where, other._entry)

    def __hash__(self) -> int:
        return hash((self._where, self._entry.place))

    @cached_property
    def manifest(self) -> Manifest:
        """What its manifest says, for journalkit's own layers. Raises as `load`."""
        with self._telling():
            return self._read(self._entry)

    def _telling(self) -> _Telling:
        return _Telling(self)


class _Telling(AbstractContextManager[None]):
    """Damage of a checkpoint that was deleted meanwhile is no damage."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        mine = self._checkpoint
        if isinstance(error, CorruptionError) and not mine._is_there(mine._entry):
            raise CheckpointNotFoundError(f"checkpoint {mine.id} of {mine._where} was deleted: load another") from error


def telling(checkpoint: Checkpoint) -> AbstractContextManager[None]:
    """Return what tells of damage within it that the checkpoint was deleted meanwhile, if it was."""
    return checkpoint._telling()


def are_one(first: Checkpoint, second: Checkpoint) -> bool:
    """Whether both are the same checkpoint of the same place, whatever that is called."""
    return first._entry == second._entry


def id_of(entry: CheckpointEntry) -> str:
    """Return what a checkpoint is known by."""
    return f"{entry.epoch}.{entry.save}"


def place_of(text: str) -> tuple[int, int] | None:
    """Return the epoch and save that an id says, None if it is none."""
    match = _ID.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None
