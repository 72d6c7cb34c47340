"""What a handle on a job's checkpoints finds: one, all, what they take, how two differ, what comes next."""

from __future__ import annotations

from collections.abc import Iterator

from journalkit.checkpoint.checkpoint import Checkpoint, place_of
from journalkit.checkpoint.differing import Difference, difference
from journalkit.checkpoint.finder import CheckpointUsage, Finder
from journalkit.checkpoint.handle import Handle
from journalkit.checkpoint.said import LATEST
from journalkit.checkpoint.tree import Buffers
from journalkit.checkpoint.watching import INTERVAL_MAX_S, Notice, Watch, notices
from journalkit.clock import Clock
from journalkit.errors import KeyValueError
from journalkit.objects.interface import Objects
from journalkit.options import Duration, seconds


class Looking(Handle):
    """The part of `Checkpoints` that changes nothing, but for finding what can be loaded."""

    def __init__(
        self, objects: Objects, clock: Clock, finder: Finder, opened_at: str, *, buffers: Buffers | None = None
    ) -> None:
        self._finder = finder
        super().__init__(objects, clock, opened_at, buffers=buffers)

    def get(self, which: str) -> Checkpoint:
        """Return a checkpoint by its id ("3.17"), by its name (the newest of that name), or "latest".

        Raises:
            CheckpointNotFoundError: There is none.
            ArchiveUnavailableError, StorageError, CorruptionError: It can't be told.

        Complexity:
            By id one request a level of pages; by name all pages.
        """
        return self._found().find(which)

    def __iter__(self) -> Iterator[Checkpoint]:
        """Yield all, newest first, as they are now; pages of a hundred are read as one gets there."""
        return self._found().newest_first()

    def __len__(self) -> int:
        return self._found().count()

    def usage(self) -> list[CheckpointUsage]:
        """Return what each checkpoint takes, newest first. Reads every manifest.

        Raises:
            CorruptionError, ArchiveUnavailableError, StorageError: A manifest can't be read.
        """
        return self._found().usage()

    def diff(self, a: Checkpoint | str, b: Checkpoint | str = LATEST) -> Difference:
        """Return what differs between two checkpoints: in state, offsets, metadata and metrics.

        What is long is compared by the digests of its chunks, and isn't read; only where the two have digests of
        different kinds, or were cut differently, is it read, piece by piece. The order of a dict's keys doesn't count.

        Args:
            a: The one before, by itself, or as `get` takes it. By itself it may be of another place.
            b: The one after; the newest sound one by default.

        Raises:
            CheckpointNotFoundError: There is none, or it was deleted meanwhile.
            CorruptionError: A manifest is damaged, or something that is read.
            UsageError: What several workers gave can't be compared without a library that isn't installed.
            UnsupportedFormatError, ArchiveUnavailableError, StorageError: As `Checkpoint.load`.

        Complexity:
            O(places in the states, and chunks); memory for their trees and manifests.
        """
        found = self._found()
        first, second = (found.find(each) if not isinstance(each, Checkpoint) else each for each in (a, b))
        return difference(first, second)

    def watch(
        self, *, since: Checkpoint | str | None = None, interval: Duration = 1.0, timeout: Duration | None = None
    ) -> Iterator[Notice]:
        """Yield a notice for each checkpoint as it is published, from this call on, and for what else is to be seen.

        That another writer took over, that some were published and let go before they were seen, and, once, that
        the place can't be reached: it is asked again, with pauses that get longer.

        Args:
            since: From this one on, by its id, though it is gone, or as `get` takes it: those that are there first.
            interval: How long to wait between two looks; seconds or a timedelta, a day at most.
            timeout: For how long to look on in all; for ever by default.

        Raises:
            UsageError: The arguments can't be, or the handle was closed meanwhile.
            CheckpointNotFoundError: There is none of that name.
            CorruptionError, UnsupportedFormatError, StorageError: What is there can't be told.
            ArchiveUnavailableError: The place can't be reached when it begins.

        Complexity:
            One request a look where nothing is new.
        """
        finder = self._found()
        interval_s = seconds(interval, "interval")
        if not 0 < interval_s <= INTERVAL_MAX_S:
            raise KeyValueError(f"interval={interval!r}: some time, a day at most")
        timeout_s = None if timeout is None else seconds(timeout, "timeout")
        if timeout_s is not None and not timeout_s >= 0:
            raise KeyValueError(f"timeout={timeout!r}: not before now")
        after = None
        if since is not None:
            epoch, save = (place_of(since) if isinstance(since, str) else None) or finder.placed(since)
            after = (epoch, save - 1)
        watch = Watch(self._objects, finder.made, after)
        return notices(watch, self._clock, interval_s=interval_s, timeout_s=timeout_s, require_open=self._require_open)

    # -- within ---------------------------------------------------------------------------------

    def _found(self) -> Finder:
        self._require_open()
        return self._finder
