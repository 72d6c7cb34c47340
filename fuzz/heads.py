"""The target `head`: heads and catalogue pages of checkpoints, from anywhere, and read as the newest of a place.

What the workers of a run write to each other, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from random import Random

from fuzz.directories import edit_manifest
from fuzz.mutation import mutate
from fuzz.target import Target, require
from journalkit.checkpoint import catalogue
from journalkit.checkpoint.heads import newest_head
from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format import head, names
from journalkit.format import round as round_format
from journalkit.format.head import CheckpointEntry, Head, Page, PageEntry, TrashEntry
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.round import Report, RunEntry
from journalkit.fs.memory import MemoryFileSystem
from journalkit.objects.directory import DirectoryObjects

_PLACE = (1, 3)


def _entries(chance: Random, count: int) -> tuple[CheckpointEntry, ...]:
    return tuple(
        CheckpointEntry(1, save, chance.randrange(1 << 50), 100, chance.randbytes(32), "é" * (save % 3), {"loss": 0.5})
        for save in range(count)
    )


def head_seeds(chance: Random) -> Iterable[bytes]:
    """Heads and pages of several sizes."""
    for count in (0, 1, 5, 12):
        entries = _entries(chance, count)
        page = PageEntry(count % 2, 1, bytes(16), 100, 1, 0, 1, 99, 5000, bytes(32))
        trash = tuple(TrashEntry(entry, 5) for entry in entries[:2])
        ancestors = tuple(chance.randbytes(16) for _ in range(count))
        pages, nonce = (page,) * (count % 3), chance.randbytes(16)
        yield head.encode_head(
            Head(bytes(16), 42, 2, nonce, 7, "several", 1, ancestors, entries, pages, trash)
        )
        if count:
            yield head.encode_page(Page(bytes(16), 0, bytes(16), checkpoints=entries))
            yield head.encode_page(Page(bytes(16), 1, bytes(16), pages=(replace(page, level=0),)))
            yield report_of(chance, count)
    yield round_format.encode_run(RunEntry(bytes(16), 3, 8))


def report_of(chance: Random, count: int) -> bytes:
    """Return what a rank says."""
    return round_format.encode_report(
        Report(3, count, count, {"manifest": chance.randbytes(40), "step": count, "base": [1, 2]})
    )


def mutate_head(data: bytes, chance: Random) -> bytes:
    """Change what a head says, or its bytes, and make the checksums right: they are where a manifest's are."""
    return edit_manifest(data if chance.random() < 0.5 else mutate(data, chance), chance)


def run_head(data: bytes) -> None:
    """What is accepted comes back; what a place's newest head says is asked for without another error than ours."""
    for decode, encode in (
        (head.decode_head, head.encode_head),
        (head.decode_page, head.encode_page),
        (round_format.decode_run, round_format.encode_run),
        (round_format.decode_report, round_format.encode_report),
    ):
        with suppress(MalformedError, NewerFormatError):
            found = decode(data)
            again = decode(encode(found))  # type: ignore[operator]
            require(again == found, f"{found!r:.300} comes back as {again!r:.300}")
    objects = DirectoryObjects("/job", MemoryFileSystem())
    objects.put(names.head_key(42), (data,))
    with suppress(CorruptionError, UnsupportedFormatError):
        newest = newest_head(objects)
        require(newest is not None and newest.number == 42, "a head is passed over")
        if newest is not None:
            for entry in newest.pages[:3]:
                objects.put(names.page_key(entry.epoch, entry.nonce), (data,))
            catalogue.find(objects, newest, _PLACE)
            list(catalogue.newest_first(objects, newest))


TARGETS = (Target("head", "heads, pages and rounds of checkpoints", head_seeds, run_head, mutate_head),)
