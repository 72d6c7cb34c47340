"""The catalogue: ten thousand checkpoints in a small head, each found again, each deletable."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.checkpoint import catalogue
from journalkit.checkpoint.heads import HeadWriter
from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format import names
from journalkit.format.checksum import checksum
from journalkit.format.envelope import HEADER_BYTES
from journalkit.format.head import Head, encode_head
from journalkit.testing import SimulatedBucket, SimulatedClock

CLOCK = SimulatedClock(seed=4)
MANY = 20_300


def filled(bucket: SimulatedBucket, count: int, make_entry: Any) -> Head:
    """Return a head of so many checkpoints."""
    objects = bucket.handle()
    head = Head(b"j" * 16, 1, 1, b"n" * 16, 0)
    for save in range(count):
        head = catalogue.add(objects, CLOCK, head, make_entry(1, save))
        assert len(head.checkpoints) < 2 * catalogue.PAGE_ENTRIES
    return head


@pytest.fixture(scope="module")
def many(make_entry: Any) -> tuple[SimulatedBucket, Head]:
    """Return a head of more checkpoints than pages of one level hold, and its bucket."""
    bucket = SimulatedBucket()
    return bucket, filled(bucket, MANY, make_entry)


@pytest.mark.parametrize("count", [0, 1, 199, 200, 450])
def test_every_checkpoint_is_there_once_and_found(count: int, make_entry: Any) -> None:
    """Where it lies is nobody's business."""
    bucket = SimulatedBucket()
    head = filled(bucket, count, make_entry)
    objects = bucket.handle()
    assert [each.save for each in catalogue.newest_first(objects, head)] == list(reversed(range(count)))
    for save in (0, count // 2, count - 1):
        found = catalogue.find(objects, head, (1, save))
        assert found == (make_entry(1, save) if 0 <= save < count else None)
    assert catalogue.find(objects, head, (2, 0)) is None
    assert sorted(catalogue.page_keys(objects, head)) == sorted(bucket.contents())


def test_with_many_checkpoints_a_head_stays_small_and_a_page_is_written_every_hundredth_time(
    many: tuple[SimulatedBucket, Head], make_entry: Any
) -> None:
    """The ten thousandth save costs what the tenth did; pages of pages hold the rest."""
    bucket, head = many
    objects = bucket.handle()
    assert {entry.level for entry in head.pages} == {0, 1}
    assert len(encode_head(head)) < 60_000
    assert len(bucket.contents()) == MANY // 100 - 1 + 1
    before = bucket.operation_count
    assert catalogue.find(objects, head, (1, 17)) == make_entry(1, 17)
    assert bucket.operation_count - before == 2
    newest = catalogue.newest_first(objects, head)
    assert [next(newest).save for _ in range(100)] == list(range(MANY - 1, MANY - 101, -1))
    assert bucket.operation_count - before == 2
    assert sum(entry.count for entry in head.pages) + len(head.checkpoints) == MANY
    assert [each.save for each in catalogue.newest_first(objects, head)] == list(reversed(range(MANY)))
    assert set(catalogue.page_keys(objects, head)) <= set(bucket.contents())
    assert len(set(catalogue.page_keys(objects, head))) == MANY // 100


def test_what_is_trashed_is_out_of_pages_and_in_the_trash(make_entry: Any) -> None:
    """An old page that held some is written anew; one that held nothing else is gone; the others are as they were."""
    bucket = SimulatedBucket()
    head = filled(bucket, 450, make_entry)
    objects = bucket.handle()
    places = [(1, save) for save in (*range(100), 150, 449, 9999)]
    less = catalogue.trash(objects, CLOCK, head, places)
    gone = {*range(100), 150, 449}
    assert {each.checkpoint.save for each in less.trash} == gone
    assert [each.save for each in catalogue.newest_first(objects, less)] == [
        save for save in reversed(range(450)) if save not in gone
    ]
    assert [entry.count for entry in less.pages] == [99, 100]
    assert less.pages[1] == head.pages[2]
    assert catalogue.trash(objects, CLOCK, less, [(7, 7)]) == less


def test_pages_of_pages_are_trashed_from_too(many: tuple[SimulatedBucket, Head]) -> None:
    """Retention thins what is oldest."""
    bucket, head = many
    objects = bucket.handle()
    less = catalogue.trash(objects, CLOCK, head, [(1, 5), *((1, save) for save in range(100, 200))])
    assert catalogue.find(objects, less, (1, 5)) is None
    assert catalogue.find(objects, less, (1, 6)) is not None
    assert sum(entry.count for entry in less.pages) == sum(entry.count for entry in head.pages) - 101
    assert catalogue.trash(objects, CLOCK, less, [(1, 5)]) == less


def test_a_checkpoint_is_added_once_and_in_order(make_entry: Any) -> None:
    """Two saves of an epoch may be published in either order; one that went into a page long ago is no new one."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    head = filled(bucket, 250, make_entry)
    head = catalogue.add(objects, CLOCK, head, make_entry(1, 300))
    head = catalogue.add(objects, CLOCK, head, make_entry(1, 280))
    assert [each.save for each in head.checkpoints[-2:]] == [280, 300]
    for save in (280, 3):
        with pytest.raises(ValueError, match="isn't a new one"):
            catalogue.add(objects, CLOCK, head, make_entry(1, save))


@pytest.mark.parametrize("damage", ["missing", "bit", "another page", "newer"])
def test_a_damaged_page_is_told_and_newer_checkpoints_are_listed(damage: str, make_entry: Any) -> None:
    """What the head says itself needs no page."""
    bucket = SimulatedBucket()
    head = filled(bucket, 350, make_entry)
    objects = bucket.handle()
    key, other = (names.page_key(entry.epoch, entry.nonce) for entry in head.pages[:2])
    data = bytearray(bucket.contents()[key])
    if damage == "missing":
        objects.delete(key)
    elif damage == "another page":
        objects.put(key, (bucket.contents()[other],))
    else:
        data[HEADER_BYTES if damage == "bit" else 8] ^= 1
        objects.put(key, (bytes(data),))
    with pytest.raises(CorruptionError, match="pages/"):
        catalogue.find(objects, head, (1, 3))
    assert catalogue.find(objects, head, (1, 340)) is not None


@pytest.mark.parametrize("change", ["version", "nonce", "body"])
def test_a_page_that_is_what_the_head_names_and_yet_none_is_told(change: str, make_entry: Any) -> None:
    """A later version's page is refused by name; a page in the wrong place is none."""
    import hashlib
    from dataclasses import replace

    from journalkit.format.head import decode_page, encode_page

    bucket = SimulatedBucket()
    head = filled(bucket, 250, make_entry)
    objects = bucket.handle()
    [entry] = head.pages
    key = names.page_key(entry.epoch, entry.nonce)
    data = bytearray(bucket.contents()[key])
    if change == "nonce":
        data = bytearray(encode_page(replace(decode_page(bytes(data)), nonce=b"x" * 16)))
    else:
        data[8 if change == "version" else 16] ^= 6
        data[HEADER_BYTES - 4 : HEADER_BYTES] = checksum(bytes(data[: HEADER_BYTES - 4])).to_bytes(4, "little")
    objects.put(key, (bytes(data),))
    named = replace(entry, page_bytes=len(data), page_digest=hashlib.sha256(data).digest())
    with pytest.raises(UnsupportedFormatError if change == "version" else CorruptionError, match="pages/"):
        list(catalogue.newest_first(objects, replace(head, pages=(named,))))


def test_a_writer_publishes_what_the_catalogue_made(make_entry: Any) -> None:
    """The two fit together: a save is a change of the head that adds one checkpoint, if it isn't there."""
    bucket = SimulatedBucket()
    objects, clock = bucket.handle(), SimulatedClock(seed=1)
    writer = HeadWriter.begin(objects, clock)
    for save in range(230):
        added = make_entry(1, save)

        def change(head: Head, added: Any = added) -> Head | None:
            if catalogue.find(objects, head, added.place) is not None:
                return None
            return catalogue.add(objects, clock, head, added)

        writer.publish(change)
    found = [each.save for each in catalogue.newest_first(objects, writer.head)]
    assert found == list(reversed(range(230)))
