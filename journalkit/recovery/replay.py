"""Replay: the records of the log's tail, folded into a mapping.

Encoded keys and values go through as they are; nothing is decoded. Replaying a
record twice is harmless, and a record below the snapshot is never replayed.

Nothing that outlives a record is an object that Python's cyclic collector
tracks: bytes in a dict of bytes. So a replay of any length starts no collection,
whatever else the program holds, and there is no need to turn the collector off.
"""

from __future__ import annotations

from journalkit.errors import CorruptionError, salvage_step
from journalkit.format.batch import decode_into
from journalkit.format.frame import Frame, Kind
from journalkit.format.malformed import MalformedError
from journalkit.format.run import Run, fold_run


class Replay:
    """A sink that folds batches into `entries`; a deletion becomes None.

    `payload_bytes` is how much was folded: about what the entries weigh.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.entries: dict[bytes, bytes | None] = {}
        self.payload_bytes = 0

    def __call__(self, frame: Frame) -> None:
        """Fold one record.

        Raises:
            CorruptionError: The record passed its checksums and isn't a batch.
        """
        payload = frame.payload
        try:
            if frame.kind != Kind.BATCH:
                raise MalformedError("a journal record in a store")
            decode_into(payload, self.entries)
        except MalformedError as error:
            raise _senseless(self._directory, frame, error) from error
        self.payload_bytes += len(payload)

    def fold(self, buffer: bytes, base_bytes: int, salt: int, lsn: int) -> Run:
        """Fold the run of records behind `lsn` at the beginning of `buffer`; see `format.run`."""
        run = fold_run(buffer, base_bytes, salt, lsn, self.entries)
        self.payload_bytes += run.payload_bytes
        return run


class Records:
    """A sink for a journal, which reads its records later: it keeps none, and takes no other kind."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __call__(self, frame: Frame) -> None:
        """Look at one record.

        Raises:
            CorruptionError: The record passed its checksums and isn't a journal's.
        """
        if frame.kind != Kind.RECORD:
            error = MalformedError("a batch in a journal")
            raise _senseless(self._directory, frame, error) from error


def _senseless(directory: str, frame: Frame, error: MalformedError) -> CorruptionError:
    return CorruptionError(
        f"the record is whole and makes no sense ({error.reason})",
        path=directory,
        offset_bytes=frame.offset_bytes,
        lsn=frame.lsn,
        next_step=salvage_step(directory),
    )


def discard(frame: Frame) -> None:
    """A sink for what nobody believes: records behind damage, or in a scan before the one that counts."""
