"""Any number of checkpoints in a head of bounded size: the latest by themselves, older ones by pages.

A head names up to 199 checkpoints. With the 200th the oldest 100 go into a
page, an object that never changes; 200 pages become 100 and a page of pages.
So a save writes one small head, and every hundredth time a page.

A page is written before the head that names it, under a nonce. One whose head
was never published belongs to nobody.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

from journalkit.checkpoint.documents import read_named
from journalkit.clock import Clock
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.format.head import (
    NONCE_BYTES,
    CheckpointEntry,
    Head,
    Page,
    PageEntry,
    TrashEntry,
    decode_page,
    encode_page,
)
from journalkit.objects.interface import Objects, ReadableObjects

PAGE_ENTRIES: Final = 100

Place = tuple[int, int]
"""A checkpoint's epoch and save."""


def find(objects: ReadableObjects, head: Head, place: Place) -> CheckpointEntry | None:
    """Return the checkpoint of that place, None if the head has none. Reads a page for each level at most.

    Raises:
        CorruptionError, UnsupportedFormatError, ArchiveUnavailableError, StorageError: A page can't be read.
    """
    return _find(objects, head.job, head.checkpoints, head.pages, place)


def newest_first(objects: ReadableObjects, head: Head) -> Iterator[CheckpointEntry]:
    """Yield every checkpoint; a page is read when its first is asked for. Raises as `find`."""
    yield from reversed(head.checkpoints)
    for entry in reversed(head.pages):
        yield from _newest_of(objects, head.job, entry)


def add(objects: Objects, clock: Clock, head: Head, entry: CheckpointEntry) -> Head:
    """Return the head with one more checkpoint, later than all in pages; writes a page when there are many.

    Raises:
        ValueError: It is there already, or older than what is in pages: ask `find` first.
        StoreFullError, ArchiveUnavailableError, StorageError: The page can't be written.
    """
    places = [known.place for known in head.checkpoints]
    at = bisect_left(places, entry.place)
    if entry.place in places[at : at + 1] or any(
        entry.place <= (page.last_epoch, page.last_save) for page in head.pages
    ):
        raise ValueError(f"checkpoint {entry.place} isn't a new one")
    checkpoints = (*head.checkpoints[:at], entry, *head.checkpoints[at:])
    pages = head.pages
    if len(checkpoints) >= 2 * PAGE_ENTRIES:
        page = Page(head.job, 0, clock.random_bytes(NONCE_BYTES), checkpoints=checkpoints[:PAGE_ENTRIES])
        pages = (*pages, _write(objects, head.epoch, page))
        checkpoints = checkpoints[PAGE_ENTRIES:]
    level = 0
    while len(of_level := [each for each in pages if each.level == level]) >= 2 * PAGE_ENTRIES:
        moved = of_level[:PAGE_ENTRIES]
        page = Page(head.job, level + 1, clock.random_bytes(NONCE_BYTES), pages=tuple(moved))
        above = _write(objects, head.epoch, page)
        first = pages.index(moved[0])
        pages = (*pages[:first], above, *pages[first + PAGE_ENTRIES :])
        level += 1
    return replace(head, checkpoints=checkpoints, pages=pages)


def trash(objects: Objects, clock: Clock, head: Head, places: Collection[Place]) -> Head:
    """Return the head with those checkpoints in the trash; pages that held some are written anew without them.

    Raises as `add`, and as `find`. What isn't there is left out.
    """
    gone = set(places)
    taken: list[CheckpointEntry] = [entry for entry in head.checkpoints if entry.place in gone]
    kept = tuple(entry for entry in head.checkpoints if entry.place not in gone)
    pages = _without(objects, clock, head, head.pages, gone, taken)
    since_us = clock.wall_us()
    trashed = tuple(TrashEntry(entry, since_us) for entry in sorted(taken, key=lambda entry: entry.place))
    return replace(head, checkpoints=kept, pages=pages, trash=(*head.trash, *trashed))


def page_keys(objects: ReadableObjects, head: Head) -> Iterator[str]:
    """Yield the key of every page that the head reaches. Raises as `find`."""
    waiting = list(head.pages)
    while waiting:
        entry = waiting.pop()
        yield names.page_key(entry.epoch, entry.nonce)
        if entry.level:
            waiting += _read(objects, head.job, entry).pages


def _find(
    objects: ReadableObjects,
    job: bytes,
    checkpoints: tuple[CheckpointEntry, ...],
    pages: tuple[PageEntry, ...],
    place: Place,
) -> CheckpointEntry | None:
    for checkpoint in checkpoints:
        if checkpoint.place == place:
            return checkpoint
    for entry in pages:
        if entry.may_hold(place):
            page = _read(objects, job, entry)
            return _find(objects, job, page.checkpoints, page.pages, place)
    return None


def _newest_of(objects: ReadableObjects, job: bytes, entry: PageEntry) -> Iterator[CheckpointEntry]:
    page = _read(objects, job, entry)
    yield from reversed(page.checkpoints)
    for inner in reversed(page.pages):
        yield from _newest_of(objects, job, inner)


def _without(
    objects: Objects,
    clock: Clock,
    head: Head,
    pages: tuple[PageEntry, ...],
    gone: set[Place],
    taken: list[CheckpointEntry],
) -> tuple[PageEntry, ...]:
    """Return the pages without some checkpoints, which are added to `taken`."""
    left: list[PageEntry] = []
    for entry in pages:
        if not any(entry.may_hold(place) for place in gone):
            left.append(entry)
            continue
        page = _read(objects, head.job, entry)
        checkpoints = tuple(checkpoint for checkpoint in page.checkpoints if checkpoint.place not in gone)
        taken += [checkpoint for checkpoint in page.checkpoints if checkpoint.place in gone]
        inner = _without(objects, clock, head, page.pages, gone, taken)
        if (checkpoints, inner) == (page.checkpoints, page.pages):
            left.append(entry)
        elif checkpoints or inner:
            nonce = clock.random_bytes(NONCE_BYTES)
            anew = replace(page, nonce=nonce, checkpoints=checkpoints, pages=inner)
            left.append(_write(objects, head.epoch, anew))
    return tuple(left)


def _write(objects: Objects, epoch: int, page: Page) -> PageEntry:
    data = encode_page(page)
    objects.put(names.page_key(epoch, page.nonce), (data,))
    if page.checkpoints:
        first, last = page.checkpoints[0].place, page.checkpoints[-1].place
        held = len(page.checkpoints)
    else:
        first = (page.pages[0].first_epoch, page.pages[0].first_save)
        last = (page.pages[-1].last_epoch, page.pages[-1].last_save)
        held = sum(entry.count for entry in page.pages)
    digest = hashlib.sha256(data).digest()
    return PageEntry(page.level, epoch, page.nonce, held, *first, *last, len(data), digest)


def _read(objects: ReadableObjects, job: bytes, entry: PageEntry) -> Page:
    key = names.page_key(entry.epoch, entry.nonce)
    path = f"{objects.where}/{key}"
    step = "the checkpoints that it names can't be listed; newer ones can"
    page = read_named(
        objects,
        key,
        entry.page_bytes,
        entry.page_digest,
        decode_page,
        what="the page that the catalogue names",
        next_step=step,
    )
    if (page.job, page.nonce, page.level) != (job, entry.nonce, entry.level):
        raise CorruptionError("it is another page than its name says", path=path, next_step=step)
    return page
