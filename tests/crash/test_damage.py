"""Damage to what was promised: each kind noticed by its own reason, refused untouched, and survivable on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.format.batch import encode_one
from journalkit.format.frame import HEADER_BYTES as FRAME_BYTES
from journalkit.format.frame import encode
from journalkit.format.segment import HEADER_BYTES
from journalkit.testing import PowerCut

STORE = "/store"
Damager = Callable[[Any], str]
FIRST, MIDDLE, LAST, NEXT = (f"log-{number:016d}.jks" for number in (1, 2, 3, 4))
RECORD_BYTES = FRAME_BYTES + 6 + 10 + 5
SEAL_BYTES = FRAME_BYTES + 16

DAMAGES: dict[str, tuple[Damager, int]] = {}
"""Each damages a store of three segments of four records and says by what reason; how many records a prefix keeps."""


def damage(*, keeps: int) -> Callable[[Damager], Damager]:
    """Add a kind of damage."""

    def add(damager: Damager) -> Damager:
        DAMAGES[damager.__name__.removeprefix("_")] = (damager, keeps)
        return damager

    return add


@damage(keeps=4)
def _a_segment_is_missing(world: Any) -> str:
    world.remove(MIDDLE)
    return "segment is missing"


@damage(keeps=8)
def _the_newest_segment_is_missing(world: Any) -> str:
    world.remove(LAST)
    return "segment is missing"


@damage(keeps=0)
def _the_first_segment_is_missing(world: Any) -> str:
    world.remove(FIRST)
    return "segment is missing"


@damage(keeps=8)
def _the_newest_segment_is_empty(world: Any) -> str:
    world.write(LAST, b"")
    return "header is gone"


@damage(keeps=4)
def _a_segment_is_zeroed(world: Any) -> str:
    world.write(MIDDLE, bytes(len(world.read(MIDDLE))))
    return "header is gone .blank"


@damage(keeps=7)
def _an_ended_segment_is_truncated_in_a_record(world: Any) -> str:
    world.write(MIDDLE, world.read(MIDDLE)[: HEADER_BYTES + 3 * RECORD_BYTES + 9])
    return "cut short where a durable record was promised"


@damage(keeps=10)
def _the_newest_segment_is_truncated_between_records(world: Any) -> str:
    world.write(LAST, world.read(LAST)[: HEADER_BYTES + 2 * RECORD_BYTES])
    return "end of data where a durable record was promised"


@damage(keeps=12)
def _the_newest_segment_has_lost_its_seal(world: Any) -> str:
    world.write(LAST, world.read(LAST)[:-SEAL_BYTES])
    return "end of data where a durable record was promised"


@damage(keeps=0)
def _two_segments_are_swapped(world: Any) -> str:
    first, middle = world.read(FIRST), world.read(MIDDLE)
    world.write(FIRST, middle)
    world.write(MIDDLE, first)
    return "the file is segment 2, swapped or copied"


@damage(keeps=12)
def _a_segment_is_there_twice(world: Any) -> str:
    world.write(NEXT, world.read(FIRST))
    return "the file is segment 1, swapped or copied"


@damage(keeps=12)
def _a_later_segment_is_unreadable(world: Any) -> str:
    world.write(NEXT, b"x" * 500)
    return "doesn't know this segment, and its header can't be read .not a log segment"


@damage(keeps=10)
def _the_newest_segment_is_an_older_copy_of_itself(world: Any) -> str:
    world.write(LAST, world.older[12][LAST])
    return "zeros where a durable record was promised"


@damage(keeps=8)
def _the_manifest_is_an_older_copy(world: Any) -> str:
    world.write("MANIFEST", world.older[6]["MANIFEST"])
    return "the manifest is older than the log"


@damage(keeps=8)
def _the_manifest_is_an_older_copy_and_the_slot_is_gone(world: Any) -> str:
    world.write("MANIFEST", world.older[6]["MANIFEST"])
    world.remove("durable")
    return "the manifest doesn't know this segment, which holds records"


@damage(keeps=4)
def _a_segment_is_of_another_store(world: Any) -> str:
    world.write(MIDDLE, type(world)(seed=99).fill().read(MIDDLE))
    return "belongs to another store"


@damage(keeps=12)
def _a_segment_of_another_store_lies_ahead(world: Any) -> str:
    other = type(world)(seed=99).fill()
    other.open().put()
    world.write(NEXT, other.read(NEXT))
    return "belongs to another store"


@damage(keeps=12)
def _a_segment_is_of_a_clone(world: Any) -> str:
    clone = world.copy()
    for one in (clone, world):
        session = one.open()
        session.close()
    world.write(NEXT, clone.read(NEXT))
    return "of another life"


@damage(keeps=8)
def _an_ended_segment_is_of_a_twin(world: Any) -> str:
    """Two machines from one image went on writing: the same segment, salt and place, with another record in it."""
    entry = world.manifest.segments[-1]
    world.write(LAST, world.read(LAST)[:-SEAL_BYTES])
    world.remove("durable")
    world.open().release_tables()
    offset, payload = HEADER_BYTES + 3 * RECORD_BYTES, encode_one(b"key-000011", b"VALUE")
    other = encode(payload, lsn=12, time_us=0, durable_lsn=0, kind=1, salt=entry.salt, offset_bytes=offset)
    world.write(LAST, world.read(LAST)[:offset] + other)
    return "isn't the one that the manifest ended"


@damage(keeps=9)
def _a_promised_record_is_a_hole(world: Any) -> str:
    world.fs.zero(f"/store/{LAST}", HEADER_BYTES + RECORD_BYTES, RECORD_BYTES)
    return "zeros where a durable record was promised"


@damage(keeps=11)
def _a_bit_of_the_last_record_is_flipped(world: Any) -> str:
    world.fs.flip_bit(f"/store/{LAST}", 8 * (HEADER_BYTES + 4 * RECORD_BYTES) - 1)
    return "bad payload where a durable record was promised"


@damage(keeps=12)
def _a_bit_of_the_seal_is_flipped(world: Any) -> str:
    world.fs.flip_bit(f"/store/{LAST}", 8 * len(world.read(LAST)) - 1)
    return "bad payload where a durable record was promised"


@damage(keeps=8)
def _a_bit_of_a_header_is_flipped(world: Any) -> str:
    world.fs.flip_bit(f"/store/{LAST}", 400)
    return "header is gone .the segment's header is damaged"


@damage(keeps=12)
def _bytes_stand_behind_the_seal(world: Any) -> str:
    world.write(LAST, world.read(LAST) + bytes(9) + b"x")
    return "bytes stand behind the seal"


@dataclass
class Damaged:
    world: Any
    reason: str
    keeps: int


@pytest.fixture(params=sorted(DAMAGES))
def damaged(request: pytest.FixtureRequest, world: Any) -> Damaged:
    """A store with one kind of damage after the other, and what to expect of it."""
    damager, keeps = DAMAGES[request.param]
    reason = damager(world.fill())
    return Damaged(world.copy(), reason, keeps)


def test_damage_is_refused_by_its_own_reason_and_nothing_is_touched(damaged: Damaged) -> None:
    """Promise 3: damage is never taken for a torn tail, and a refused open leaves every byte and name as it was."""
    world = damaged.world
    before = world.files()
    for mode in ("default", "strict"):
        with pytest.raises(CorruptionError, match=damaged.reason) as caught:
            world.open(mode=mode)
        assert caught.value.path.startswith("/store/")
    assert world.files() == before
    world.remove("LOCK")
    with pytest.raises(CorruptionError, match=damaged.reason):
        world.open()
    assert "LOCK" not in world.names()


def test_a_reader_sees_the_same_damage(damaged: Damaged) -> None:
    """`verify` and `mode="r"` are the same scan and plan; one that saw less would lie."""
    with pytest.raises(CorruptionError, match=damaged.reason):
        damaged.world.look()


def test_point_in_time_keeps_the_prefix_and_numbers_above_all_that_was_seen(damaged: Damaged) -> None:
    """On request, and only then: a prefix, new numbers above all that was ever shown durable, and sound ever after."""
    world = damaged.world
    seen = world.look(mode="point-in-time")
    session = world.open(mode="point-in-time")
    assert session.state == seen == {b"key-%06d" % n: b"value" for n in range(damaged.keeps)}
    assert session.report.outcome == "point-in-time"
    for mode in ("default", "strict", "point-in-time", "default"):
        assert session.put() > 12
        expected = dict(session.state)
        if mode == "default":
            session.release_tables()
            world = world.copy()
        else:
            session.close()
        session = world.open(mode=mode)
        assert session.state == expected == world.fork().look()
        assert session.report.outcome in ("clean", "replayed")


def test_point_in_time_destroys_nothing(damaged: Damaged) -> None:
    """What is given up is kept aside: the records may be wanted by whoever repairs the rest."""
    world = damaged.world.in_memory()
    before = world.files()
    session = world.open(mode="point-in-time")
    after = world.files()
    aside = b"".join(data for name, data in after.items() if "/" in name)
    for name, data in before.items():
        holds_something = any(data[HEADER_BYTES:])
        if names.segment_number(name) is not None and after.get(name) != data and holds_something:
            assert data in aside
    assert session.report.quarantine == (STORE + "/quarantine" if aside else "")
    assert bool(aside) or not session.report.bytes_cut


def test_what_is_in_the_quarantine_stays_when_more_comes(world: Any) -> None:
    """Two recoveries of one store may set files of one name aside; neither takes the other's place."""
    store = world.fill().in_memory()
    store.remove(FIRST)
    store.fs.make_directory("/store/quarantine")
    store.write(f"quarantine/{MIDDLE}", b"set aside before")
    store.write(f"quarantine/{MIDDLE}-2", b"and before that")
    given_up = store.read(MIDDLE)
    store.open(mode="point-in-time").close()
    assert store.read(f"quarantine/{MIDDLE}") == b"set aside before"
    assert store.read(f"quarantine/{MIDDLE}-2") == b"and before that"
    assert store.read(f"quarantine/{MIDDLE}-3") == given_up


def test_point_in_time_survives_a_crash_at_every_operation(damaged: Damaged) -> None:
    """What is kept must not depend on where the power went."""
    whole = damaged.world.fork()
    before = whole.fs.operation_count
    whole.open(mode="point-in-time")
    for after in range(1, whole.fs.operation_count - before + 1):
        trial = damaged.world.fork()
        trial.fs.stop_after(after)
        with pytest.raises(PowerCut):
            trial.open(mode="point-in-time")
        again = trial.crash(after)
        session = again.open(mode="point-in-time")
        assert len(session.state) == damaged.keeps
        assert session.put() > 12
        session.close()
        again.open(mode="strict").close()


def test_point_in_time_on_an_older_manifest_keeps_the_tables_that_only_the_newer_one_named(world: Any) -> None:
    """What looks like a fold's leftover may be the newest snapshot, and the only place of what was pruned."""
    session = world.open()
    for _ in range(3):
        session.put()
    session.fold()
    older = world.read("MANIFEST")
    session.put()
    session.fold()
    session.put()
    session.close()
    store = world.copy().in_memory()
    newest = store.tables()[-1]
    store.write("MANIFEST", older)
    with pytest.raises(CorruptionError, match="the manifest is older than the log"):
        store.open()
    store.open(mode="point-in-time").close()
    assert newest in store.quarantined()
    store.open(mode="strict").close()
