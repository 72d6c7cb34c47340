"""Heads: the newest is found, published and pruned; damage and strangers are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from journalkit.checkpoint.heads import HEADS_KEPT, HeadWriter, newest_head
from journalkit.errors import (
    ArchiveUnavailableError,
    ConflictError,
    CorruptionError,
    StorageError,
    StoreFullError,
    UnknownOutcomeError,
    UnsupportedFormatError,
)
from journalkit.format import names
from journalkit.format.envelope import HEADER_BYTES
from journalkit.format.head import Head, decode_head, encode_head
from journalkit.testing import SimulatedBucket, SimulatedClock


def begun(bucket: SimulatedBucket, seed: int = 1) -> HeadWriter:
    """Return a writer that has begun."""
    return HeadWriter.begin(bucket.handle(f"writer {seed}"), SimulatedClock(seed=seed))


def test_a_place_without_heads_has_no_newest() -> None:
    """A job that begins starts from nothing, and knows it."""
    assert newest_head(SimulatedBucket().handle()) is None


def test_each_beginning_takes_the_next_epoch(add_to: Any, make_entry: Any) -> None:
    """What was there stays there: only who writes has changed."""
    bucket = SimulatedBucket()
    first = begun(bucket)
    first.publish(add_to(make_entry(1, 1)))
    second = begun(bucket, 2)
    assert (first.epoch, second.epoch, second.head.number) == (1, 2, 3)
    assert second.head.job == first.head.job
    assert [known.place for known in second.head.checkpoints] == [(1, 1)]
    assert second.head.writers == "several"


def test_a_change_that_is_there_already_publishes_nothing(add_to: Any, make_entry: Any) -> None:
    """A call that is made again after an unknown outcome must not count twice."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    head = writer.publish(add_to(make_entry(1, 1)))
    before = bucket.operation_count
    assert writer.publish(add_to(make_entry(1, 1))) == head
    assert bucket.operation_count == before


def test_a_publish_costs_a_create_a_list_and_a_delete_however_many_there_were(add_to: Any, make_entry: Any) -> None:
    """The ten thousandth save costs what the tenth did."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    for save in range(40):
        before = len(bucket.history())
        writer.publish(add_to(make_entry(1, save)))
        did = [line.split()[3] for line in bucket.history()[before:]]
        assert did == ["create", "list", "delete"][: 3 if writer.head.number > HEADS_KEPT else 2]
    assert len(bucket.contents()) == HEADS_KEPT
    reader = bucket.handle()
    before = bucket.operation_count
    head = newest_head(reader)
    assert newest_head(reader, head) is head
    assert bucket.operation_count - before == 3


@pytest.mark.parametrize("fault", ["lost-reply", "retried", "conflict", "lost-request", "late"])
def test_a_lost_reply_is_settled_by_looking(fault: Any, add_to: Any, make_entry: Any) -> None:
    """Won or not there yet: the same bytes again do no harm."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    bucket.fail("create", 1, fault)
    head = writer.publish(add_to(make_entry(1, 1)))
    assert (head.number, newest_head(bucket.handle())) == (2, head)
    writer.publish(add_to(make_entry(1, 2)))
    bucket.mend()
    found = newest_head(bucket.handle())
    assert found is not None
    assert [known.save for known in found.checkpoints] == [1, 2]


def test_an_outage_while_publishing_is_an_unknown_outcome_and_the_writer_goes_on(add_to: Any, make_entry: Any) -> None:
    """The change comes in once, whether the first try did or not."""
    for fault in ("lost-reply", "lost-request"):
        bucket = SimulatedBucket()
        writer = begun(bucket)
        bucket.fail("create", 1, fault, times=None)  # type: ignore[arg-type]
        bucket.fail("list", 1, "unavailable", times=None)
        with pytest.raises(UnknownOutcomeError):
            writer.publish(add_to(make_entry(1, 1)))
        bucket.mend()
        head = writer.publish(add_to(make_entry(1, 1)))
        assert [known.save for known in head.checkpoints] == [1]
        assert newest_head(bucket.handle()) == head


def test_what_was_refused_is_told_as_it_is(add_to: Any, make_entry: Any) -> None:
    """Nothing was changed, and the same handle goes on once there is room."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    for fault, error in (("full", StoreFullError), ("unavailable", ArchiveUnavailableError)):
        bucket.fail("create", 1, fault)  # type: ignore[arg-type]
        with pytest.raises(error):
            writer.publish(add_to(make_entry(1, 1)))
    assert writer.publish(add_to(make_entry(1, 1))).number == 2
    bucket.fail("create", 1, "lost-request")
    bucket.fail("create", 2, "full", times=None)
    with pytest.raises(UnknownOutcomeError):  # the first request may be on its way
        writer.publish(add_to(make_entry(1, 2)))


@pytest.mark.parametrize("fault", ["unavailable", "refused"])
def test_a_head_that_was_created_and_cant_be_seen_is_an_unknown_outcome(
    fault: Any, add_to: Any, make_entry: Any
) -> None:
    """Whatever looking fails with: who took it for a failure would take back what is published."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    bucket.fail("list", 1, fault, times=None)
    with pytest.raises(UnknownOutcomeError, match="can't be seen"):
        writer.publish(add_to(make_entry(1, 1)))
    bucket.mend()
    head = newest_head(bucket.handle())
    assert head is not None
    assert [known.place for known in head.checkpoints] == [(1, 1)]


def test_what_was_refused_and_not_created_is_no_unknown_outcome(add_to: Any, make_entry: Any) -> None:
    """Somebody else has the number, and who it is can't be seen."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    begun(bucket, 2)
    bucket.fail("list", 1, "refused")
    with pytest.raises(StorageError):
        writer.publish(add_to(make_entry(1, 1)))


def test_a_head_that_is_not_listed_is_an_unknown_outcome(add_to: Any, make_entry: Any) -> None:
    """A store that lists with delay shows old heads: nobody may believe them."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    bucket.list_lag = 50
    with pytest.raises(UnknownOutcomeError, match="isn't listed"):
        writer.publish(add_to(make_entry(1, 1)))


def test_heads_that_can_not_be_deleted_go_later(add_to: Any, make_entry: Any) -> None:
    """A publish that succeeded has succeeded."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    bucket.fail("delete", 1, "unavailable", times=8)
    for save in range(18):
        writer.publish(add_to(make_entry(1, save)))
    assert len(bucket.contents()) == HEADS_KEPT


def test_a_head_deleted_between_list_and_get_is_looked_for_again(add_to: Any, make_entry: Any) -> None:
    """A slow reader beside a quick writer sees a newer head, never none."""
    bucket = SimulatedBucket()
    writer = begun(bucket)

    def publish(who: str, operation: str, _key: str) -> None:
        if who == "reader" and operation == "get":
            bucket.before = None
            for save in range(20):
                writer.publish(add_to(make_entry(1, save)))

    bucket.before = publish
    assert newest_head(bucket.handle("reader")) == writer.head

    def always(who: str, operation: str, _key: str) -> None:
        if who == "reader" and operation == "get":
            for _ in range(20):
                writer.publish(lambda head: replace(head, checkpoints=()))

    bucket.before = always
    with pytest.raises(ArchiveUnavailableError, match="each time"):
        newest_head(bucket.handle("reader"))


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "another number"])
def test_a_damaged_newest_head_is_never_passed_over(damage: str, add_to: Any, make_entry: Any) -> None:
    """An older head would be silent loss, and a writer on top of it two truths."""
    bucket = SimulatedBucket()
    begun(bucket).publish(add_to(make_entry(1, 1)))
    objects = bucket.handle()
    key = names.head_key(2)
    data = bucket.contents()[key]
    flipped = data[:HEADER_BYTES] + bytes([data[HEADER_BYTES] ^ 1]) + data[HEADER_BYTES + 1 :]
    other = encode_head(replace(decode_head(data), number=3))
    objects.put(key, ({"bit": flipped, "cut": data[:-1], "empty": b"", "another number": other}[damage],))
    for use in (lambda: newest_head(objects), lambda: begun(bucket, 2)):
        with pytest.raises(CorruptionError, match="heads/0000000002"):
            use()


def test_a_later_versions_head_is_refused_untouched(add_to: Any, make_entry: Any) -> None:
    """Old code on a newer job's place: upgrade."""
    bucket = SimulatedBucket()
    begun(bucket)
    key = names.head_key(1)
    data = bytearray(bucket.contents()[key])
    data[8] = 2
    from journalkit.format.checksum import checksum

    data[HEADER_BYTES - 4 : HEADER_BYTES] = checksum(bytes(data[: HEADER_BYTES - 4])).to_bytes(4, "little")
    bucket.handle().put(key, (bytes(data),))
    with pytest.raises(UnsupportedFormatError, match="upgrade"):
        newest_head(bucket.handle())


def test_heads_of_another_job_are_told(add_to: Any, make_entry: Any) -> None:
    """Somebody copied another job over this one's place."""
    bucket, other = SimulatedBucket(), SimulatedBucket()
    writer = begun(bucket)
    writer.publish(add_to(make_entry(1, 1)))
    stranger = begun(other, 9)
    for save in range(3):
        stranger.publish(add_to(make_entry(1, save)))
    for key, data in other.contents().items():
        bucket.handle().put(key, (data,))
    with pytest.raises(CorruptionError, match="another job"):
        writer.refresh()


def test_a_place_that_was_set_back_is_told(add_to: Any, make_entry: Any) -> None:
    """A restored backup under a running job: what it publishes on top would be on top of the past."""
    bucket = SimulatedBucket()
    begun(bucket)
    past = bucket.contents()
    writer = begun(bucket, 2)
    bucket.handle().delete(names.head_key(2))
    older = decode_head(past[names.head_key(1)])
    bucket.handle().put(names.head_key(3), (encode_head(replace(older, number=3, ancestors=(older.nonce,))),))
    with pytest.raises(CorruptionError, match="set back"):
        writer.publish(add_to(make_entry(2, 1)))


def test_who_never_wins_a_number_is_told_to_try_again(add_to: Any, make_entry: Any) -> None:
    """No loop goes on for ever."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    rival = HeadWriter(bucket.handle("rival"), SimulatedClock(seed=2), writer.head)
    saves = iter(range(100, 10_000_000))

    def first(who: str, operation: str, _key: str) -> None:
        if who != "rival" and operation == "create":
            added = make_entry(1, next(saves))
            rival.publish(lambda head: replace(head, checkpoints=(added,)))

    bucket.before = first
    with pytest.raises(ConflictError, match="try again"):
        writer.publish(lambda head: replace(head, checkpoints=(make_entry(1, 1),)))


def test_who_never_gets_to_begin_is_told_to_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that restart each other for ever are told so."""
    monkeypatch.setattr("journalkit.checkpoint.heads._TRIES_MAX", 5)
    bucket = SimulatedBucket()

    def first(who: str, operation: str, _key: str) -> None:
        if who == "writer 1" and operation == "create":
            begun(bucket, bucket.operation_count + 2)

    bucket.before = first
    with pytest.raises(ConflictError, match="begin again"):
        begun(bucket)


def test_a_writer_sees_what_others_of_its_epoch_published(add_to: Any, make_entry: Any) -> None:
    """A long pause between saves: what is built on should be what is there."""
    bucket = SimulatedBucket()
    writer = begun(bucket)
    other = HeadWriter(bucket.handle(), SimulatedClock(seed=2), writer.head)
    assert writer.refresh() is writer.head
    head = other.publish(add_to(make_entry(1, 1)))
    assert writer.refresh() == writer.head == head


def test_more_heads_than_a_page_lists_are_looked_through() -> None:
    """Pruning may not work for a long time: the newest is still the newest."""
    bucket = SimulatedBucket()
    head = begun(bucket).head
    objects = bucket.handle()
    for number in range(1, 2103):
        objects.put(names.head_key(number), (encode_head(replace(head, number=number)),))
    found = newest_head(objects)
    assert found is not None
    assert found.number == 2102
    begun(bucket, 2)
    assert len(bucket.contents()) == HEADS_KEPT


def test_what_a_change_may_not_set_is_set_for_it(make_entry: Any) -> None:
    """A change says what there is; who wrote it, and when, isn't its to say."""
    bucket = SimulatedBucket()
    writer = begun(bucket)

    def change(head: Head) -> Head:
        return replace(head, number=77, epoch=9, nonce=b"x" * 16, job=b"y" * 16, ancestors=(), boundary_epoch=1)

    head = writer.publish(change)
    assert (head.number, head.epoch, head.job, head.boundary_epoch) == (2, 1, writer.head.job, 1)
    assert head.nonce_of(1) is not None
