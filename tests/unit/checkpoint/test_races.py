"""Writers that race for a job, over a network that loses replies: one truth, and everybody is told theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from journalkit.checkpoint.heads import HEADS_KEPT, HeadWriter, newest_head
from journalkit.errors import ArchiveUnavailableError, ConflictError, FencedError, UnknownOutcomeError
from journalkit.format.head import ANCESTORS_MAX, Head, decode_head
from journalkit.testing import SimulatedBucket, SimulatedClock

Place = tuple[int, int]


class Record:
    """What writers were told, and what they may believe of it."""

    def __init__(self, bucket: SimulatedBucket) -> None:
        self.bucket = bucket
        self.acknowledged: set[Place] = set()
        self.refused: set[Place] = set()
        self.epochs: dict[int, str] = {}
        self.heads: dict[int, Head] = {}

    def look(self) -> None:
        """Note each head when it is new. Of one number there is one head, but for what a sleeper made again."""
        newest = max(self.heads, default=0)
        for data in self.bucket.contents().values():
            head = decode_head(data)
            if head.number > newest:
                before = self.heads.get(head.number - 1)
                assert before is None or head.nonce_of(head.number - 1) == before.nonce, self.bucket.story()
                assert before is None or head.epoch >= before.epoch, self.bucket.story()
                self.heads[head.number] = head

    def check(self) -> None:
        """Raise AssertionError unless the newest head is what everybody was told."""
        self.bucket.mend()
        head = newest_head(self.bucket.handle("judge"))
        there = {known.place for known in head.checkpoints} if head is not None else set()
        assert self.acknowledged <= there, f"lost {self.acknowledged - there}\n{self.bucket.story(last=300)}"
        assert not self.refused & there, f"false loss {self.refused & there}\n{self.bucket.story(last=300)}"


def writer(record: Record, who: str, chance: Random, lives: int, saves: int, add_to: Any, make_entry: Any) -> None:
    """Begin, save, be fenced or give up, begin again."""
    clock = SimulatedClock(seed=chance.randrange(1 << 30))
    objects = record.bucket.handle(who)
    for _ in range(lives):
        try:
            heads = HeadWriter.begin(objects, clock)
        except (UnknownOutcomeError, ArchiveUnavailableError, ConflictError):
            continue
        assert heads.epoch not in record.epochs, f"epoch {heads.epoch} twice\n{record.bucket.story(last=300)}"
        record.epochs[heads.epoch] = who
        for save in range(1, saves + 1):
            added = make_entry(heads.epoch, save)
            is_unknown = False
            for _ in range(6):
                try:
                    heads.publish(add_to(added))
                    record.acknowledged.add(added.place)
                    break
                except UnknownOutcomeError:
                    is_unknown = True
                except ArchiveUnavailableError:
                    continue
                except FencedError:
                    if not is_unknown:
                        record.refused.add(added.place)
                    break
                finally:
                    record.look()


def race(seed: int, turns: Any, add_to: Any, make_entry: Any, **shape: Any) -> Record:
    """Let some writers race, by a seed; return what they were told."""
    chance = Random(seed)
    rates = {
        fault: chance.choice((0.0, 0.05, 0.2))
        for fault in ("lost-reply", "lost-request", "late", "conflict", "retried", "unavailable")
    }
    bucket = SimulatedBucket(seed=seed, rates=rates)  # type: ignore[arg-type]
    record = Record(bucket)
    turn = turns(seed, patience=chance.choice((0, 60, 300)))
    bucket.before = turn.pause
    seeds = [chance.randrange(1 << 30) for _ in range(shape["writers"])]

    def program(number: int) -> Callable[[], None]:
        def live() -> None:
            mine = Random(seeds[number])
            writer(record, f"w{number}", mine, shape["lives"], shape["saves"], add_to, make_entry)

        return live

    turn.run({f"w{number}": program(number) for number in range(shape["writers"])})
    bucket.before = None
    record.check()
    return record


@pytest.mark.parametrize(
    "block", [pytest.param(block, marks=[pytest.mark.slow] if block else []) for block in range(10)]
)
def test_of_racing_writers_nobody_is_told_wrong(block: int, turns: Any, add_to: Any, make_entry: Any) -> None:
    """A hundred races: no two heads of a number, no epoch twice, nothing acknowledged lost, no false loss."""
    acknowledged = fenced = 0
    for seed in range(block * 100, block * 100 + 100):
        shape = {"writers": 2 + seed % 2, "lives": 2, "saves": 4}
        record = race(seed, turns, add_to, make_entry, **shape)
        acknowledged += len(record.acknowledged)
        fenced += len(record.refused)
    assert acknowledged > 100
    assert fenced > 20


def test_a_sleeper_that_makes_a_deleted_number_again_learns_that_it_lost(add_to: Any, make_entry: Any) -> None:
    """Create-if-absent forgets deleted names; readers never see what it made, and it goes with the next prune."""
    bucket = SimulatedBucket()
    clock = SimulatedClock(seed=1)
    sleeper = HeadWriter.begin(bucket.handle("sleeper"), clock)
    is_asleep = True

    def sleep(who: str, operation: str, _key: str) -> None:
        nonlocal is_asleep
        if who == "sleeper" and operation == "create" and is_asleep:
            is_asleep = False
            other = HeadWriter.begin(bucket.handle("other"), SimulatedClock(seed=2))
            for save in range(3 * HEADS_KEPT):
                other.publish(add_to(make_entry(other.epoch, save)))

    bucket.before = sleep
    with pytest.raises(FencedError, match="epoch 2, this one has 1"):
        sleeper.publish(add_to(make_entry(1, 1)))
    head = newest_head(bucket.handle())
    assert head is not None
    assert head.epoch == 2
    assert all(known.epoch == 2 for known in head.checkpoints)
    assert "heads/0000000002" in bucket.contents()
    HeadWriter.begin(bucket.handle(), SimulatedClock(seed=3))
    assert len(bucket.contents()) == HEADS_KEPT
    assert "heads/0000000002" not in bucket.contents()


@pytest.mark.parametrize("others", [1, HEADS_KEPT - 1, HEADS_KEPT + 5, 90])
def test_a_sleeper_whose_reply_was_lost_learns_that_it_won(others: int, add_to: Any, make_entry: Any) -> None:
    """Others have built on its head, deleted it, forgotten it: its checkpoint is there, and it is told so."""
    bucket = SimulatedBucket()
    sleeper = HeadWriter.begin(bucket.handle("sleeper"), SimulatedClock(seed=1))
    bucket.fail("create", 1, "lost-reply")
    is_asleep = True

    def sleep(who: str, operation: str, _key: str) -> None:
        nonlocal is_asleep
        if who == "sleeper" and operation == "list" and is_asleep:
            is_asleep = False
            other = HeadWriter.begin(bucket.handle("other"), SimulatedClock(seed=2))
            for save in range(others):
                other.publish(add_to(make_entry(other.epoch, save)))

    bucket.before = sleep
    head = sleeper.publish(add_to(make_entry(1, 1)))
    assert any(known.place == (1, 1) for known in head.checkpoints)
    with pytest.raises(FencedError):
        sleeper.publish(add_to(make_entry(1, 2)))
    with pytest.raises(FencedError):
        sleeper.refresh()


@pytest.mark.parametrize("others", [1, HEADS_KEPT, ANCESTORS_MAX - 1])
def test_a_change_whose_reply_was_lost_is_made_once_though_it_doesnt_know_itself(others: int) -> None:
    """Heads name those before them: whose a number was is known long after the head is gone."""
    bucket = SimulatedBucket()
    writer = HeadWriter.begin(bucket.handle("writer"), SimulatedClock(seed=1))
    other = HeadWriter(bucket.handle("other"), SimulatedClock(seed=2), writer.head)
    bucket.fail("create", 1, "lost-reply")

    def meanwhile(who: str, operation: str, _key: str) -> None:
        if who == "writer" and operation == "list":
            bucket.before = None
            for _ in range(others):
                other.publish(lambda head: head)

    bucket.before = meanwhile
    writer.publish(lambda head: replace(head, boundary_epoch=head.boundary_epoch + 1))
    assert writer.head.boundary_epoch == 1
    assert writer.head.number == 2 + others


def test_threads_of_one_epoch_all_get_their_changes_in(add_to: Any, make_entry: Any) -> None:
    """A save beside a prune: the loser of a number makes its change anew on top of the winner's."""
    bucket = SimulatedBucket()
    first = HeadWriter.begin(bucket.handle("a"), SimulatedClock(seed=1))
    second = HeadWriter(bucket.handle("b"), SimulatedClock(seed=2), first.head)
    for save in range(20):
        (first, second)[save % 2].publish(add_to(make_entry(1, save)))
    head = newest_head(bucket.handle())
    assert head is not None
    assert [known.save for known in head.checkpoints] == list(range(20))
    assert head.number == 21
