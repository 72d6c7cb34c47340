"""The plan, pure: what each kind of promise makes of a bad frame, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from journalkit.errors import CorruptionError, UsageError
from journalkit.format.manifest import Manifest, SegmentEnd, SegmentEntry, SnapshotEntry
from journalkit.format.segment import HEADER_BYTES, DurableSlot, SegmentHeader
from journalkit.format.table import TableInfo
from journalkit.recovery.damage import Damage
from journalkit.recovery.plan import RECOVERY_MODES, Cut, Plan, make_plan, permit
from journalkit.recovery.scan import GAP, Beyond, LogScan, SegmentScan
from journalkit.recovery.strays import Strays

STORE, WRITER = b"store-of-16-byte", b"writer-of-16-byt"
RECORD_BYTES = 50
FIRST, SECOND = "log-0000000000000001.jks", "log-0000000000000002.jks"


def segment(number: int, first_lsn: int, records: int, **changes: Any) -> SegmentScan:
    """Return a segment as a scan finds it: whole, unsealed, right behind segment number-1 of as many records."""
    entry = SegmentEntry(number, salt=number, epoch=1, first_lsn=first_lsn)
    header = SegmentHeader(
        salt=number,
        store=STORE,
        writer=WRITER,
        epoch=1,
        number=number,
        first_lsn=first_lsn,
        created_us=0,
        previous_number=number - 1,
        previous_last_lsn=first_lsn - 1,
        previous_end_bytes=0,
        previous_checksum=0,
    )
    end = HEADER_BYTES + records * RECORD_BYTES
    found = SegmentScan(
        entry=entry,
        size_bytes=4096,
        header=header,
        records=records,
        last_lsn=first_lsn + records - 1,
        end_bytes=end,
        checksum=number * 1000,
        stop="zeros",
        content_end_bytes=end,
    )
    return replace(found, **changes)


def sealed(found: SegmentScan) -> SegmentScan:
    """Return the segment as one that ends with a seal."""
    return replace(found, sealed=True, stop="")


def ended(found: SegmentScan, *, records: int | None = None) -> SegmentScan:
    """Return the segment as one whose end the manifest names, perhaps further on than it was found."""
    extra = 0 if records is None else records - found.records
    end = SegmentEnd(
        found.last_lsn + extra, found.end_bytes + extra * RECORD_BYTES, found.checksum if not extra else 1, found.sealed
    )
    return replace(found, entry=replace(found.entry, end=end), stop=found.stop if extra else "")


def headed(found: SegmentScan, **changes: Any) -> SegmentScan:
    """Return the segment with another header."""
    assert found.header is not None
    return replace(found, header=replace(found.header, **changes))


def after(previous: SegmentScan, found: SegmentScan) -> SegmentScan:
    """Return a segment whose header names this predecessor."""
    return headed(
        found,
        previous_number=previous.entry.number,
        previous_last_lsn=previous.last_lsn,
        previous_end_bytes=previous.end_bytes,
        previous_checksum=previous.checksum,
    )


def slot(**changes: Any) -> DurableSlot:
    """Return a slot of this writer."""
    return replace(DurableSlot(STORE, WRITER, epoch=1, segment=1, end_bytes=HEADER_BYTES, lsn=0), **changes)


def planned(
    *segments: SegmentScan,
    promise: DurableSlot | None = None,
    snapshot_lsn: int = 0,
    strays: Strays | None = None,
    **changes: Any,
) -> Plan:
    """Return the plan for a log of these segments."""
    manifest = Manifest(
        store=STORE,
        kind="store",
        codec="cbor",
        created_us=0,
        generation=1,
        epoch=1,
        writer=WRITER,
        segments=tuple(found.entry for found in segments),
        snapshots=(),
        pruned_lsn=0,
        durable_lsn=0,
        next_segment=1 + max((found.entry.number for found in segments), default=0),
        next_table=1,
    )
    manifest = replace(manifest, **changes)
    return make_plan(manifest, LogScan(segments, promise, 0), strays or Strays(), snapshot_lsn=snapshot_lsn)


def torn(found: SegmentScan, **changes: Any) -> SegmentScan:
    """Return the segment with something behind its run that is no whole frame."""
    usual = {"stop": "bad header", "content_end_bytes": found.end_bytes + 33}
    return replace(found, **(usual | changes))


def test_an_empty_log_is_kept_and_properly_closed() -> None:
    """A store that was created and never written."""
    plan = planned()
    assert (plan.segments, plan.last_lsn, plan.floor_lsn, plan.damage, plan.sealed) == ((), 0, 0, (), True)
    blank = SegmentScan(SegmentEntry(1, 1, 1, 0), end_bytes=0, header_fault="blank")
    assert (planned(blank).floor_lsn, planned(segment(1, 1, 0)).floor_lsn) == (0, 0)
    assert planned(ended(segment(1, 1, 3), records=9)).floor_lsn == 9


def test_a_segment_that_was_begun_since_the_manifest_is_kept_with_its_own_first_record() -> None:
    """The manifest named it ahead, with 0."""
    begun = segment(1, 1, 3)
    ahead = replace(begun, entry=replace(begun.entry, first_lsn=0))
    assert planned(ahead).segments == planned(begun).segments


def test_zeros_to_the_end_are_a_clean_end() -> None:
    """Space is prepared ahead: every crash leaves zeros, and they are nothing to report."""
    plan = planned(segment(1, 1, 3))
    assert (plan.last_lsn, plan.cuts, plan.damage, plan.bytes_cut) == (3, (), (), 0)
    assert plan.segments[0].end == SegmentEnd(3, HEADER_BYTES + 150, 1000, sealed=False)
    assert not plan.sealed


def test_an_unpromised_bad_frame_is_cut_and_reported() -> None:
    """A torn tail: undurable bytes that nobody was told about."""
    plan = planned(torn(segment(1, 1, 3)))
    assert plan.cuts == (Cut(1, HEADER_BYTES + 150, 33, 4, "bad header"),)
    assert (plan.last_lsn, plan.floor_lsn, plan.damage, plan.bytes_cut) == (3, 3, (), 33)


def test_a_whole_frame_behind_an_unpromised_hole_is_cut_with_it() -> None:
    """PITFALLS 12: unsynced writes reach the disk in any order; its mark ends before the hole."""
    plan = planned(torn(segment(1, 1, 3), beyond=Beyond(1, 5, 5, durable_lsn=3)))
    assert plan.cuts
    assert not plan.damage
    assert plan.floor_lsn == 3


PROMISES: dict[str, tuple[SegmentScan, dict[str, Any]]] = {
    "the slot, by offset": (torn(segment(1, 1, 3)), {"promise": slot(end_bytes=HEADER_BYTES + 151)}),
    "the slot, by LSN": (torn(segment(1, 1, 3)), {"promise": slot(lsn=4)}),
    "a seal behind it": (torn(segment(1, 1, 3), beyond=Beyond(1, 5, 5, 0, sealed=True)), {}),
    "the mark of a later frame": (torn(segment(1, 1, 3), beyond=Beyond(1, 6, 6, durable_lsn=4)), {}),
    "the manifest's mark": (torn(segment(1, 1, 3)), {"durable_lsn": 4}),
    "the manifest's end": (torn(ended(segment(1, 1, 3), records=4)), {}),
    "the manifest's seal": (torn(replace(ended(sealed(segment(1, 1, 4))), records=3, last_lsn=3, sealed=False)), {}),
    "a snapshot": (torn(segment(1, 1, 3)), {"snapshots": (SnapshotEntry(4, 0, (TableInfo(1, 1, 1, 1, 1),)),)}),
}


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_turns_a_cut_into_a_loss(promise: str) -> None:
    """Promise 3, the other half: what anything durable vouched for is never cut."""
    found, options = PROMISES[promise]
    plan = planned(found, **options)
    assert plan.damage[0] == Damage(FIRST, "bad header where a durable record was promised", found.end_bytes, 4)
    assert plan.last_lsn == 3


def test_a_later_segment_promises_the_seal_of_the_one_before() -> None:
    """The log goes on only behind a seal, made durable first."""
    first = segment(1, 1, 3)
    plan = planned(first, after(segment(1, 1, 4), segment(2, 5, 1)))
    assert [damage.file for damage in plan.damage] == [FIRST]
    assert plan.last_lsn == 3
    assert plan.floor_lsn == 5


def test_a_slot_of_another_life_promises_nothing() -> None:
    """A restored or copied slot must neither cost a record nor hide that one is lost."""
    for other in (slot(store=b"x" * 16), slot(epoch=0), slot(writer=b"x" * 16)):
        plan = planned(torn(segment(1, 1, 3)), promise=replace(other, lsn=99, end_bytes=9999))
        assert not plan.damage
        assert plan.floor_lsn == 3


@pytest.mark.parametrize("promise", [slot(epoch=2, lsn=9), slot(segment=2, lsn=9), slot(segment=2, lsn=0)])
def test_a_slot_that_the_manifest_can_not_know_says_that_the_manifest_is_older(promise: DurableSlot) -> None:
    """PITFALLS 7: a manifest that was copied back, alone."""
    plan = planned(segment(1, 1, 3), promise=promise)
    assert "the manifest is older than the log" in plan.damage[0].reason
    assert plan.floor_lsn >= promise.lsn
    assert plan.epoch == promise.epoch


def test_a_slot_of_a_pruned_segment_is_an_old_slot_and_no_older_manifest() -> None:
    """The slot is never synced: a power cut after a fold and a prune leaves one of a segment that is gone."""
    assert not planned(segment(2, 6, 1), promise=slot(lsn=5), pruned_lsn=5).damage
    assert planned(segment(2, 6, 1), promise=slot(lsn=5), pruned_lsn=4).damage


def test_records_promised_behind_a_seal_are_missing() -> None:
    """An older copy of the segment was sealed by somebody else."""
    assert not planned(sealed(segment(1, 1, 3)), promise=slot(end_bytes=HEADER_BYTES + 150, lsn=3)).damage
    assert planned(sealed(segment(1, 1, 3)), promise=slot(end_bytes=HEADER_BYTES + 151, lsn=3)).damage
    assert planned(torn(sealed(segment(1, 1, 3)), stop="")).cuts[0].reason == "bytes behind the end"


ONE = segment(1, 1, 3)
AT = HEADER_BYTES + 150
LOOKED_AT = replace(ended(sealed(ONE)), scanned=False, records=0, size_bytes=AT - 1)
HEADLESS = {"header": None, "records": 0, "end_bytes": 0, "header_fault": "bad checksum"}
TOLD: dict[str, tuple[SegmentScan, dict[str, Any], tuple[Any, ...]]] = {
    "missing": (replace(ONE, present=False), {}, ("the segment is missing", None, 1)),
    "missing, never begun": (
        SegmentScan(SegmentEntry(1, 1, 1, 0), present=False), {}, ("the segment is missing", None, None)
    ),
    "headless": (replace(ONE, **HEADLESS), {}, ("the segment's header is gone (bad checksum)", 0, 1)),
    "foreign": (headed(ONE, store=b"x" * 16), {}, ("the segment belongs to another store", 0)),
    "swapped": (headed(ONE, number=9), {}, ("the file is segment 9, swapped or copied", 0)),
    "other salt": (headed(ONE, salt=9), {}, ("the segment is of another life of this store", 0)),
    "other epoch": (headed(ONE, epoch=9), {}, ("the segment is of another life of this store", 0)),
    "other first": (headed(ONE, first_lsn=9), {}, ("the segment is of another life of this store", 0)),
    "cut short": (LOOKED_AT, {}, ("the segment is cut short", AT - 1)),
    "other end": (replace(ended(ONE), checksum=7), {}, ("the segment isn't the one that the manifest ended", 0)),
    "behind its seal": (torn(sealed(ONE), stop=""), {}, ("bytes stand behind the seal", AT)),
    "before its seal": (
        sealed(ONE), {"promise": slot(end_bytes=AT + 1, lsn=3)},
        ("records that were promised behind the seal are missing", AT, 4),
    ),
    "gap": (torn(ONE, stop=GAP, stop_lsn=7), {}, ("record 7 follows record 3", AT, 4)),
    "seal": (torn(ONE, stop=GAP), {}, ("the seal doesn't fit", AT, 4)),
    "ends": (replace(ONE, stop=""), {"durable_lsn": 4}, ("end of data where a durable record was promised", AT, 4)),
    "no beginning": (headed(segment(1, 5, 3), first_lsn=5), {"pruned_lsn": 3}, (
        "records before this segment are missing", 0, 4
    )),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_each_damage_is_told_with_its_place_and_its_first_record(case: str) -> None:
    """Who has to decide between a backup and a prefix looks there first; a gap needs no promise to be one."""
    found, options, told = TOLD[case]
    assert planned(found, **options).damage == (Damage(FIRST, *told),)


def test_a_log_that_ends_before_what_the_manifest_promises_is_damage_even_behind_a_seal() -> None:
    """No single tail looks bad here, and still records are gone."""
    plan = planned(sealed(segment(1, 1, 3)), durable_lsn=7)
    assert plan.damage == (Damage("MANIFEST", "the log ends at LSN 3, and LSN 7 was promised", lsn=4),)
    assert plan.floor_lsn == 7
    assert planned(durable_lsn=7).damage


def test_blank_and_empty_segments_are_dropped_and_what_holds_anything_is_not() -> None:
    """Prepared ahead and never used, or begun and never written: restarts must not pile them up."""
    first = sealed(segment(1, 1, 3))
    empty = after(first, segment(2, 4, 0))
    blank = SegmentScan(SegmentEntry(3, 3, 1, 0), size_bytes=4096, last_lsn=3, end_bytes=0, header_fault="blank")
    plan = planned(first, empty, blank)
    assert [entry.number for entry in plan.segments] == [1]
    assert (plan.blank, plan.given_up, plan.damage, plan.sealed) == ((2, 3), (), (), False)


def test_a_header_torn_while_a_segment_was_begun_is_a_torn_tail() -> None:
    """A rotation writes the header of a segment that the manifest named ahead; the power may go in between."""
    first = sealed(segment(1, 1, 3))
    begun = SegmentScan(
        SegmentEntry(2, 2, 1, 0), size_bytes=4096, last_lsn=3, end_bytes=0, content_end_bytes=60, header_fault="torn"
    )
    plan = planned(first, begun)
    assert not plan.damage
    assert [(cut.segment, cut.offset_bytes, cut.count_bytes) for cut in plan.cuts] == [(2, 0, 60)]
    assert plan.blank == (2,)
    assert planned(first, begun, promise=slot(segment=2, lsn=3)).damage


def test_a_first_record_that_is_torn_is_cut_and_its_segment_dropped() -> None:
    """The copy in the quarantine is all that was in it."""
    first = sealed(segment(1, 1, 3))
    plan = planned(first, torn(after(first, segment(2, 4, 0))))
    assert [cut.segment for cut in plan.cuts] == [2]
    assert (plan.blank, plan.given_up) == ((2,), ())


@pytest.mark.parametrize("other", [{"checksum": 7}, {"end_bytes": 4000, "content_end_bytes": 4000}])
def test_a_segment_that_was_exchanged_for_one_like_it_is_noticed_by_its_successor(other: dict[str, int]) -> None:
    """A copy of the store that was written to as well has a segment of the same number, length and LSNs."""
    first = sealed(segment(1, 1, 3))
    second = after(first, segment(2, 4, 1))
    assert planned(first, second).damage == ()
    (damage,) = planned(replace(first, **other), second).damage
    assert damage == Damage(SECOND, "the segment doesn't follow its predecessor", 0, 4)


def test_damage_breaks_the_run_and_what_is_behind_it_is_given_up() -> None:
    """Point-in-time: a prefix and never more, however sound the rest is."""
    first = sealed(segment(1, 1, 3))
    second = torn(after(first, segment(2, 4, 2)), beyond=Beyond(1, 8, 8, durable_lsn=7))
    third = after(replace(second, last_lsn=8, end_bytes=900, checksum=5), segment(3, 9, 4))
    plan = planned(first, second, third)
    assert [entry.number for entry in plan.segments] == [1, 2]
    assert (plan.last_lsn, plan.floor_lsn) == (5, 12)
    assert [cut.segment for cut in plan.cuts] == [2]
    assert plan.given_up == (Cut(3, 0, third.content_end_bytes, 13, "behind damage"),)
    assert plan.bytes_cut == 33 + third.content_end_bytes


def test_what_is_missing_before_a_snapshot_costs_nothing_behind_it() -> None:
    """A lost segment of history is damage; the state doesn't need it, and point-in-time keeps all of it."""
    second = after(segment(1, 1, 3), segment(2, 4, 3))
    missing = SegmentScan(SegmentEntry(1, 1, 1, 1), present=False)
    plan = planned(missing, second, snapshot_lsn=3)
    assert plan.damage
    assert [entry.number for entry in plan.segments] == [2]
    assert (plan.pruned_lsn, plan.last_lsn) == (3, 6)
    assert planned(missing, second, snapshot_lsn=2).segments == ()


def test_a_log_that_ends_before_its_snapshot_is_given_up_through_it() -> None:
    """Nothing could follow it without a gap that an older snapshot would fall into."""
    plan = planned(torn(segment(1, 1, 3)), durable_lsn=9, snapshot_lsn=5)
    assert (plan.segments, plan.pruned_lsn, plan.last_lsn, plan.floor_lsn) == ((), 5, 5, 9)
    assert [cut.segment for cut in plan.given_up] == [1]
    assert plan.cuts == ()


def test_a_segment_that_was_only_looked_at_is_kept_by_its_recorded_end() -> None:
    """History below the snapshot is not read at each open; its size is compared."""
    found = replace(ended(sealed(segment(1, 1, 3))), scanned=False, records=0)
    assert planned(found, snapshot_lsn=3).segments == (found.entry,)
    plan = planned(replace(found, size_bytes=found.end_bytes - 1), snapshot_lsn=3)
    assert (plan.segments, plan.pruned_lsn) == ((), 3)


def test_strays_of_a_later_life_raise_floor_and_epoch() -> None:
    """An older manifest was copied back: what the segments beyond it used is not used again."""
    first = sealed(segment(1, 1, 3))
    other = Strays(damage=list(planned(durable_lsn=1).damage), last_lsn=50, epoch=9)
    plan = planned(first, strays=other)
    assert (plan.last_lsn, plan.floor_lsn, plan.epoch) == (3, 50, 9)


def test_records_of_a_foreign_segment_say_nothing_about_our_numbers() -> None:
    """Another store may have counted much further."""
    plan = planned(headed(segment(1, 1_000_001, 3), store=b"x" * 16))
    assert plan.floor_lsn == 0
    assert [cut.segment for cut in plan.given_up] == [1]


def test_a_mode_that_does_not_exist_is_refused() -> None:
    """A misspelt mode must not fall through to a laxer one."""
    with pytest.raises(UsageError, match="lenient"):
        permit(planned(), "lenient", "/store")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", RECOVERY_MODES)
def test_what_each_mode_permits(mode: Any) -> None:
    """The modes are named as RocksDB names them, and mean the same."""
    permit(planned(segment(1, 1, 3)), mode, "/store")
    for plan, allowed, step in (
        (planned(torn(segment(1, 1, 3))), ("default", "point-in-time"), "open with recovery='default'"),
        (planned(segment(1, 1, 3), durable_lsn=4), ("point-in-time",), "restore a backup"),
    ):
        if mode in allowed:
            permit(plan, mode, "/store")
        else:
            with pytest.raises(CorruptionError, match=step) as caught:
                permit(plan, mode, "/store")
            told = caught.value.path, caught.value.offset_bytes, caught.value.lsn
            assert told == (f"/store/{FIRST}", HEADER_BYTES + 150, 4)


@pytest.mark.parametrize("whole", [sealed(segment(1, 1, 3)), ended(segment(1, 1, 3))], ids=["sealed", "ended"])
@pytest.mark.parametrize("change", [{"previous_end_bytes": 1 << 50}, {"previous_last_lsn": 7}], ids=["byte", "LSN"])
def test_a_header_that_names_more_than_a_whole_predecessor_has_is_damage(
    whole: SegmentScan, change: dict[str, int]
) -> None:
    """Found by fuzzing beside the independent reader: each left it to the other, and it was nobody's damage."""
    following = after(whole, segment(2, 8, 1))
    assert not planned(whole, following).damage
    assert [found.file for found in planned(whole, headed(following, **change)).damage] == [SECOND]
