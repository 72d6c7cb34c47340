"""Workloads about what is written and folded: levels, batches, groups, large records, snapshots, rotation."""

from __future__ import annotations

from stage import Play
from workload import tail, workload

from journalkit import ABSENT
from journalkit.errors import ConflictError

# -- appends and what an acknowledgement means ---------------------------------------------------


@workload(ci=True)
def _durable_appends(play: Play) -> None:
    play.open()
    for number in range(5):
        play.put(f"key {number}", play.value(40 + number))
    play.fold()
    for number in range(3):
        play.put(f"key {number}", play.value(20))
    play.close()


@workload(ci=True)
def _never_synced(play: Play) -> None:
    play.open(sync="never")
    for number in range(3):
        play.put(number, play.value(50))
    play.sync()
    for number in range(3, 6):
        play.put(number, play.value(50))
    play.fold()
    for number in range(3):
        play.put(number, play.value(30))


@workload()
def _synced_by_interval(play: Play) -> None:
    play.open(sync="interval", sync_interval_ms=1000)
    for number in range(6):
        play.put(number, play.value(60))
        if number % 2:
            play.tick()
    play.fold()
    play.put("last", 1)
    play.put("very last", 2)
    play.tick()
    play.put("tail", 3)


@workload()
def _mixed_levels(play: Play) -> None:
    play.open()
    for number in range(2):
        play.put("weak", play.value(30), sync="never")
        play.put("strong", play.value(40 + number))
        play.put("interval", play.value(30), sync="interval")
        play.tick()
    play.put("weak", play.value(30), sync="never")
    play.fold()
    tail(play)


@workload()
def _one_key_overwritten(play: Play) -> None:
    play.open(keep_snapshots=1)
    for _ in range(4):
        play.put("key", play.value(100))
    play.fold()
    for _ in range(4):
        play.put("key", play.value(100), sync="never")
    play.sync()
    play.close()


@workload()
def _keys_of_all_types(play: Play) -> None:
    play.open()
    for key in (1, -1, b"bytes", "str", ("tuple", 1), ("tuple", (b"nested", 2))):
        play.put(key, {"in": [key if not isinstance(key, tuple) else 0], "pad": play.value(10)})
    play.fold()
    play.delete(("tuple", 1))
    play.put(-1, None)


@workload()
def _refused_by_a_condition(play: Play) -> None:
    play.open()
    play.put("key", 1)
    for expected in (2, ABSENT):
        try:
            play.put("key", 3, expect=expected)
        except ConflictError:
            continue
        raise AssertionError("a condition that doesn't hold was passed over")
    play.put("key", 2, expect=1)
    play.fold()
    play.put("new", 1, expect=ABSENT)
    play.put("key", 3, expect=2, sync="never")


@workload(ci=True)
def _batches(play: Play) -> None:
    play.open()
    play.batch({"a": play.value(30), "b": play.value(30)})
    play.batch({"b": ABSENT, "c": play.value(300)}, {"input": 1})
    play.batch({("t", n): play.value(60) for n in range(12)}, sync="never")
    play.fold()
    play.batch({("t", n): ABSENT for n in range(6)}, {"input": 2})
    play.batch({"a": play.value(700), "b": play.value(700)}, sync="never")


@workload(ci=True)
def _transactions_with_offsets(play: Play) -> None:
    play.open()
    for number in range(3):
        play.transaction({"sum": number, ("event", number): play.value(50)}, {"input": number})
    play.fold()
    play.transaction({("event", 0): ABSENT, "sum": 9}, {"input": 9, "other": play.value(20)})
    play.transaction({"sum": 10}, {"input": 10}, sync="never")
    play.transaction({"sum": 11}, {"input": 11}, sync="never")


@workload()
def _deletes(play: Play) -> None:
    play.open()
    for number in range(4):
        play.put(number, play.value(50))
    play.fold()
    play.delete(0)
    play.delete("was never there", sync="never")
    play.delete(1)
    play.fold()
    play.put(1, play.value(10), sync="never")
    play.delete(2, sync="never")


@workload()
def _deleted_to_nothing(play: Play) -> None:
    play.open(keep_snapshots=1)
    play.put("only", play.value(50))
    play.fold()
    play.delete("only")
    play.fold()
    play.put("again", 1)
    play.delete("again", sync="never")


# -- groups --------------------------------------------------------------------------------------


@workload(ci=True)
def _group_commit(play: Play) -> None:
    play.open()
    play.group({"lead": 1}, [{n: play.value(40)} for n in range(3)], ["always"] * 3)
    play.fold()
    play.group({"lead": 2}, [{n: play.value(400)} for n in range(3)], ["always"] * 3)
    play.put("tail", play.value(10), sync="never")


@workload()
def _group_of_mixed_levels(play: Play) -> None:
    play.open()
    play.group({"lead": 1}, [{n: play.value(60)} for n in range(4)], ["never", "always", "never", "never"])
    play.fold()
    play.group({"lead": 2}, [{n: play.value(60)} for n in range(2)], ["never", "never"])
    play.put("behind", 1)
    play.group({"lead": 3}, [{n: ABSENT} for n in range(2)], ["never", "never"])


@workload()
def _group_of_large_records(play: Play) -> None:
    play.open()
    play.group({"lead": play.value(600)}, [{n: play.value(1200)} for n in range(2)], ["always", "never"])
    play.fold()
    play.group({"lead": play.value(10)}, [{n: play.value(900)} for n in range(2)], ["never", "never"])


@workload()
def _group_across_a_rotation(play: Play) -> None:
    play.open()
    play.put("fill", play.value(3000))
    play.group({"over the edge": play.value(1500)}, [{n: play.value(200)} for n in range(3)], ["always"] * 3)
    play.fold()
    play.put("tail", play.value(10), sync="never")


# -- large records -------------------------------------------------------------------------------


@workload(ci=True)
def _large_records(play: Play) -> None:
    play.open()
    play.put("large", play.value(2600))
    play.put("larger", play.value(5200))
    play.fold()
    play.put("large", play.value(1900))
    play.put("last", play.value(2300), sync="never")


@workload()
def _large_undurable_records(play: Play) -> None:
    play.open(sync="never")
    play.put("a", play.value(1500))
    play.put("b", play.value(2000))
    play.fold()
    for number in range(3):
        play.put(number, play.value(1100))


@workload()
def _record_over_a_prepared_step(play: Play) -> None:
    """Larger than the 64 KiB that a segment begins with: the file grows under the record."""
    play.open(segment_bytes_max=80_000, keep_snapshots=1)
    play.put("huge", play.value(70_000))
    play.put("huge", 1)
    play.fold()
    play.put("small", play.value(20))
    play.put("small", play.value(20), sync="never")


# -- folds, snapshots, rotation ------------------------------------------------------------------


@workload()
def _one_snapshot_kept(play: Play) -> None:
    play.open(keep_snapshots=1)
    for number in range(3):
        play.put(number, play.value(80))
        play.fold()
    tail(play)


@workload(ci=True)
def _two_snapshots_kept(play: Play) -> None:
    play.open(keep_snapshots=2)
    for number in range(3):
        play.put(number, play.value(80))
        play.put("same", number, sync="never")
        play.fold()
    tail(play)


@workload()
def _three_snapshots_kept(play: Play) -> None:
    play.open(keep_snapshots=3)
    for number in range(4):
        play.put(number, play.value(50))
        play.fold()
    play.put("tail", 1, sync="never")


@workload()
def _fewer_snapshots_kept_later(play: Play) -> None:
    play.open(keep_snapshots=3)
    for number in range(3):
        play.put(number, play.value(50))
        play.fold()
    play.close()
    play.open(keep_snapshots=1)
    play.put("more", 1)
    play.fold()
    tail(play)


@workload()
def _undurable_tail_folded(play: Play) -> None:
    play.open(sync="never")
    for number in range(6):
        play.put(number, play.value(200))
    play.fold()
    play.put("more", play.value(100))
    play.fold()
    play.put("tail", play.value(100))


@workload()
def _folds_of_nothing_new(play: Play) -> None:
    play.open()
    play.put("key", play.value(30))
    for _ in range(3):
        play.fold()
    play.put("key", play.value(30), sync="never")


@workload()
def _table_of_several_blocks(play: Play) -> None:
    play.open(keep_snapshots=1)
    play.batch({number: play.value(700) for number in range(16)})
    play.fold()
    play.put(3, play.value(900))
    play.fold()
    play.put(4, 1, sync="never")


@workload(ci=True)
def _deltas(play: Play) -> None:
    """A base, a delta with a deletion, a smaller one, both merged; snapshots share tables."""
    play.open(keep_snapshots=2, fold_bytes_min=1, fold_ratio=1000.0)
    play.batch({number: play.value(60) for number in range(10)})
    play.fold()
    play.put(0, play.value(900))
    play.delete(1)
    play.fold()
    play.put(2, play.value(40))
    play.delete(3, sync="never")
    play.fold()
    play.put(1, play.value(2000))
    play.fold()
    play.delete(4)
    tail(play)


@workload(ci=True)
def _folds_by_a_child(play: Play) -> None:
    """What another process merges: a base, a delta, both merged, compressed from the second life on."""
    play.open(keep_snapshots=1, fold_bytes_min=1, fold_ratio=0.5, compaction="process")
    play.batch({number: play.value(100) for number in range(10)})
    play.fold()
    play.put(0, play.value(300))
    play.delete(1, sync="never")
    play.fold()
    play.kill()
    play.open(compression="zstd")
    play.put(2, bytes(900))
    play.fold()
    play.delete(3)
    play.batch({number: bytes(200) for number in range(6)})
    play.fold()
    if not play.handle.statistics().folds_outside:
        raise AssertionError("no child merged")
    tail(play)


@workload()
def _deltas_merged_into_the_base(play: Play) -> None:
    play.open(keep_snapshots=1, fold_bytes_min=1, fold_ratio=0.5)
    play.batch({number: play.value(100) for number in range(10)})
    play.fold()
    play.delete(0)
    play.fold()
    play.put(5, play.value(900))
    play.fold()
    play.kill()
    play.open()
    play.delete(6)
    play.fold()
    play.delete(7, sync="never")
    tail(play)


@workload()
def _rotated_by_size(play: Play) -> None:
    play.open()
    for number in range(9):
        play.put(number % 4, play.value(1000))
    play.fold()
    play.put("tail", play.value(700), sync="never")


@workload()
def _rotated_among_undurable_records(play: Play) -> None:
    play.open(sync="never")
    for number in range(10):
        play.put(number % 4, play.value(900))
    play.fold()
    for number in range(5):
        play.put(number % 4, play.value(1000))


@workload()
def _segments_prepared(play: Play) -> None:
    play.open()
    for number in range(4):
        play.put(number, play.value(1200))
        play.prepare()
    play.fold()
    play.prepare()
    play.put("half", play.value(2300))
    play.prepare()
    play.put("tail", play.value(200), sync="never")


@workload()
def _prepared_segment_left_behind(play: Play) -> None:
    play.open()
    play.put("half", play.value(2300))
    play.prepare()
    play.kill()
    play.open()
    play.put("more", play.value(2300))
    play.prepare()
    play.fold()
    play.put("half", play.value(2300))
    play.prepare()
    play.close()
    play.open()
    tail(play)
