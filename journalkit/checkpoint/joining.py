"""Opening a job's checkpoints as one of several workers: what `journalkit.open_worker` is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from threading import TIMEOUT_MAX
from typing import Any, Final, Literal

from journalkit.checkpoint.documents import decoded
from journalkit.checkpoint.finder import Finder
from journalkit.checkpoint.heads import newest_head
from journalkit.checkpoint.keyed import check_rank
from journalkit.checkpoint.looks import Looks
from journalkit.checkpoint.manifests import Manifests
from journalkit.checkpoint.open import HOUR_S, check_writing, saver_on
from journalkit.checkpoint.pacing import Pace, When
from journalkit.checkpoint.retention import Keep
from journalkit.checkpoint.rounds import Exchange, ExchangedRounds, Rounds, StorageRounds, exchanged
from journalkit.checkpoint.saver import Saver
from journalkit.checkpoint.saving import SaveOptions
from journalkit.checkpoint.worker import Worker
from journalkit.clock import Clock, SystemClock
from journalkit.errors import (
    ArchiveUnavailableError,
    FencedError,
    KeyTypeError,
    KeyValueError,
    UnknownOutcomeError,
    UsageError,
)
from journalkit.format import names
from journalkit.format.head import NONCE_BYTES
from journalkit.format.round import RunEntry, decode_run, encode_run
from journalkit.fs.interface import FileSystem
from journalkit.objects.interface import PAGE_MAX, Objects
from journalkit.objects.places import open_objects
from journalkit.options import Duration, seconds
from journalkit.runtime.place import caller

LOOK_EVERY_S: Final = 5.0
_PATIENCE_S: Final = 600.0
_PAUSE_S: Final = 0.02
_PAUSE_MAX_S: Final = 1.0
_DIGEST_BYTES: Final = 16


def open_worker(
    where: str | os.PathLike[str],
    *,
    rank: int,
    size: int,
    run: str | None = None,
    exchange: Exchange | None = None,
    patience: Duration = _PATIENCE_S,
    create: bool = True,
    keep: Keep | None = None,
    when: When | None = None,
    look_every: Duration = LOOK_EVERY_S,
    trash_period: Duration = HOUR_S,
    writers: Literal["several", "one"] = "several",
    digest: Literal["sha256", "blake3"] | None = None,
    compression: Literal["zstd"] | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    fs: FileSystem | None = None,
    clock: Clock | None = None,
) -> Worker:
    """Open the checkpoints of a job as one of its workers, which save and load them together; return this one's side.

    To open is to take over the job, as `open_checkpoints`: workers of an earlier run publish nothing any more. Returns
    once rank 0 has done that.

    Args:
        where: As for `open_checkpoints`, and the same for all workers. A directory has to be one that all of them see.
        rank: Which of them this is, from 0. Rank 0 publishes.
        size: How many there are.
        run: What this start of the job is known by, the same for all its workers, and another one at each start: a
            Slurm job's number and how often it was restarted, for example. Not needed with `exchange`.
        exchange: What the workers talk by anyway: a function that is given bytes and returns those of all, by rank.
            `torch_exchange()` and `mpi_exchange(communicator)` make one. Without it they meet in the storage alone.
        patience: How long rank 0 waits for the others' parts before it gives a checkpoint up. The others wait for
            twice as long for rank 0. With `exchange` that decides.
        create: As for `open_checkpoints`, for rank 0, like `keep`, `trash_period` and `writers`.
        keep: What stays after each save.
        when: What `Worker.due` goes by, the same for all workers; rank 0's clock and counts decide.
        look_every: How long to pause between two looks whether one of the workers wants all to save, once `Worker.due`
            is asked: a small object of each worker in the storage. A grace period of `on_preemption` has ten at least.
        trash_period: How long the bytes of a deleted checkpoint stay.
        writers: Whether the place is asked if it enforces conditional writes.
        digest: What chunks are known by, the same for all workers.
        compression: Of chunks; none by default.
        threads: How many compute digests and compress; one for each core by default.
        options: For object storage, what `obstore.store.from_url` takes besides the URL.
        fs: Where a directory lies, for tests.
        clock: Time and chance, for tests.

    Raises:
        UsageError: As `open_checkpoints`; the run isn't a new one; its rank was taken by another process; or the
            workers don't agree how many they are.
        ArchiveUnavailableError: Rank 0 didn't begin within `patience`, or the place can't be reached.
        FencedError: Another run has begun meanwhile.
        JournalError: For rank 0 as `open_checkpoints`.
    """
    using = clock if clock is not None else SystemClock()
    objects = open_objects(where, fs=fs, clock=using, options=options)
    try:
        return worker_on(
            objects,
            using,
            rank=rank,
            size=size,
            run=run,
            exchange=exchange,
            patience=patience,
            create=create,
            keep=keep,
            when=when,
            look_every=look_every,
            trash_period=trash_period,
            writers=writers,
            digest=digest,
            compression=compression,
            threads=threads,
        )
    except BaseException:
        objects.close()
        raise


def worker_on(
    objects: Objects,
    clock: Clock,
    *,
    rank: int,
    size: int,
    run: str | None = None,
    exchange: Exchange | None = None,
    patience: Duration = _PATIENCE_S,
    create: bool = True,
    keep: Keep | None = None,
    when: When | None = None,
    look_every: Duration = LOOK_EVERY_S,
    trash_period: Duration = HOUR_S,
    writers: str = "several",
    digest: str | None = None,
    compression: str | None = None,
    threads: int | None = None,
) -> Worker:
    """Open the checkpoints in a place that somebody opened already: as `open_worker`."""
    check_rank(rank, size)
    if not isinstance(run, str) and exchange is None:
        raise KeyTypeError(f"run={run!r:.100}: a text that is the same for all workers, and another one at each start")
    if exchange is not None and not callable(exchange):
        raise KeyTypeError(f"exchange={exchange!r:.100}: a function that is given bytes")
    patience_s = seconds(patience, "patience")
    if not patience_s > 0:
        raise KeyValueError(f"patience={patience!r}: some time")
    look_every_s = seconds(look_every, "look_every")
    if not 0 < look_every_s <= TIMEOUT_MAX:
        raise KeyValueError(f"look_every={look_every!r}: some time")
    pace = Pace(when, clock) if when is not None else None
    check_writing(digest, compression, threads)
    manifests = Manifests(objects)
    how = SaveOptions(digest or "", compression or "none", threads)
    saver: Saver | None = None
    if rank == 0:
        if exchange is None:
            _refuse_old(objects, str(run))
        saver = saver_on(
            objects,
            clock,
            manifests,
            mode="rw",
            create=create,
            writers=writers,
            keep=keep,
            trash_period=trash_period,
            options=how,
        )
    meeting = _Meeting(objects, clock, rank, size, patience_s)
    found = meeting.by_exchange(exchange, saver) if exchange is not None else meeting.by_storage(str(run), saver)

    def stored(clock: Clock, series: str = "") -> StorageRounds:
        return StorageRounds(
            objects,
            clock,
            epoch=found.epoch,
            rank=rank,
            size=size,
            patience_s=patience_s,
            check=lambda: refuse_newer(objects, found.epoch),
            series=series,
        )

    rounds: Rounds = stored(clock)
    if exchange is not None:
        rounds = ExchangedRounds(exchange, epoch=found.epoch, rank=rank)
    looks = Looks(
        lambda ending: stored(ending, names.LOOK),
        clock,
        is_first=rank == 0,
        every_s=look_every_s,
        patience_s=patience_s,
    )
    return Worker(
        objects,
        clock,
        Finder(objects, manifests),
        saver,
        rounds,
        looks,
        pace,
        job=found.job,
        epoch=found.epoch,
        rank=rank,
        size=size,
        options=how,
        opened_at=caller(),
    )


def refuse_newer(objects: Objects, epoch: int) -> bytes:
    """Return the job, or raise FencedError if a newer run has it."""
    head = newest_head(objects)
    if head is None or head.epoch < epoch:
        raise FencedError(f"{objects.where}: epoch {epoch} isn't there any more: the place was set back, close")
    if head.epoch > epoch:
        raise FencedError(f"{objects.where}: a newer run has epoch {head.epoch}, this one has {epoch}: close")
    return head.job


def _digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES]


def _refuse_old(objects: Objects, token: str) -> None:
    """Raise UsageError for a token of an earlier start, by which its workers would be found: before taking over."""
    if objects.list(names.run_prefix(_digest_of(token)), limit=1):
        raise KeyValueError(f"run={token!r:.100} isn't a new one: each start of the job has one of its own")


class _Meeting:
    """How the workers of a run find each other."""

    def __init__(self, objects: Objects, clock: Clock, rank: int, size: int, patience_s: float) -> None:
        self._objects = objects
        self._clock = clock
        self._rank = rank
        self._size = size
        self._patience_s = patience_s

    def by_storage(self, token: str, saver: Saver | None) -> RunEntry:
        """Return the run that rank 0 gives notice of under a token."""
        digest = _digest_of(token)
        if saver is None:
            run = self._awaited(digest, token)
        else:
            run = RunEntry(saver.job, saver.epoch, self._size)
            self._objects.put(names.run_key(digest, run.epoch), (encode_run(run),))
        if run.size != self._size:
            raise KeyValueError(f"size={self._size}, and rank 0 says that there are {run.size} workers")
        self._join(run)
        return run

    def by_exchange(self, exchange: Exchange, saver: Saver | None) -> RunEntry:
        """Return the run that rank 0 tells the others of."""
        mine = encode_run(RunEntry(saver.job, saver.epoch, self._size)) if saver is not None else b""
        told = exchanged(exchange, mine)
        if len(told) != self._size or [at for at, each in enumerate(told) if each] != [0]:
            raise UsageError(f"rank={self._rank}, size={self._size}, and the exchange has {len(told)} of other ranks")
        run = decoded(decode_run, told[0], path="rank 0", next_step="start the run again")
        refuse_newer(self._objects, run.epoch)
        return run

    def _awaited(self, digest: bytes, token: str) -> RunEntry:
        until_s = self._clock.monotonic_s() + self._patience_s
        pause_s = _PAUSE_S
        while True:
            found = self._objects.list(names.run_prefix(digest), limit=PAGE_MAX)
            data = self._objects.get(found[-1].key) if found else None
            if data is not None:
                path = f"{self._objects.where}/{found[-1].key}"
                run = decoded(decode_run, data, path=path, next_step="start the run again")
                refuse_newer(self._objects, run.epoch)
                return run
            if self._clock.monotonic_s() >= until_s:
                raise ArchiveUnavailableError(
                    f"{self._objects.where}: rank 0 of run {token!r:.100} didn't begin within {self._patience_s:g} s"
                )
            self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    def _join(self, run: RunEntry) -> None:
        """Take the rank: of two processes that believe to have it one is told so, before both write the same pack."""
        key = names.joined_key(run.epoch, self._rank)
        nonce = self._clock.random_bytes(NONCE_BYTES)
        try:
            is_mine = self._objects.create(key, nonce)
        except UnknownOutcomeError:
            is_mine = self._objects.get(key) == nonce
        if not is_mine:
            raise UsageError(f"{self._objects.where}: another process has joined as rank {self._rank} of this run")
