"""Workloads about lives of a store: closed, killed and recovered; and journals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stage import Play
from workload import ALL, Workload, tail, workload

from journalkit.format.names import RESERVE

# -- lives: closed, killed, recovered ------------------------------------------------------------


@workload()
def _reopened_clean(play: Play) -> None:
    for number in range(3):
        play.open()
        play.put(number, play.value(70))
        if number == 1:
            play.fold()
        play.put("weak", number, sync="never")
        play.close()


@workload()
def _opened_and_closed_often(play: Play) -> None:
    play.open()
    play.close()
    play.open()
    play.put("key", play.value(20))
    play.fold()
    for _ in range(3):
        play.close()
        play.open()


@workload()
def _checked_whole_and_strictly(play: Play) -> None:
    play.open()
    play.put("key", play.value(2000))
    play.fold()
    play.put("key", play.value(20))
    play.close()
    play.open(check_all=True, recovery="strict")
    tail(play)


@workload(ci=True)
def _reopened_after_a_kill(play: Play) -> None:
    play.open()
    play.put("a", play.value(50))
    play.fold()
    play.put("b", play.value(50))
    play.put("c", play.value(700), sync="never")
    play.kill()
    play.open()
    play.put("d", play.value(50), sync="never")
    play.put("e", play.value(50))
    play.kill()
    play.open()
    play.put("f", play.value(30), sync="never")


@workload()
def _metadata_kept(play: Play) -> None:
    metadata: dict[str, Any] = {"schema": 3, "owner": "a test", "pad": "p" * 700}
    play.history.metadata = metadata
    play.open(metadata=metadata)
    play.put("key", 1)
    play.fold()
    play.close()
    del play._options["metadata"]
    play.open()
    tail(play)


@workload(ci=True)
def _torn_tail_cut(play: Play) -> None:
    play.open()
    play.put("key", play.value(40))
    play.fold()
    play.put("whole", play.value(40))
    play.torn(0.5, lambda: play.put("torn", play.value(800)))
    play.open()
    play.put("next", play.value(60))
    tail(play)


@workload()
def _torn_tails_cut_twice(play: Play) -> None:
    play.open()
    play.put("key", play.value(40))
    play.fold()
    play.torn(0.9, lambda: play.put("torn", play.value(100)))
    play.open()
    play.torn(0.1, lambda: play.put("torn", play.value(1500)))
    play.open()
    play.put("weak", play.value(40), sync="never")
    play.torn(0.99, lambda: play.put("torn", play.value(30), sync="never"))
    play.open()
    play.put("tail", play.value(20), sync="never")


@workload()
def _reserve_lost_and_found(play: Play) -> None:
    play.open()
    play.put("key", play.value(40))
    play.close()
    play.fs.unlink(f"{play.history.path}/{RESERVE}")
    play.open()
    play.put("key", play.value(30))
    play.fold()
    tail(play)


def _killed_in(name: str, action: Callable[[Play], None], operations: Sequence[int]) -> None:
    """Register a workload that is killed within something, behind each of so many operations."""

    def script(play: Play) -> None:
        play.open(keep_snapshots=1)
        play.put("key", play.value(60))
        play.fold()
        for count in operations:
            play.put("key", play.value(60))
            play.put("weak", play.value(60), sync="never")
            play.killed_within(count, lambda: action(play))
            play.open()
        play.fold()
        play.put("tail", play.value(60), sync="never")

    ALL.append(Workload(name, script, "store", is_ci=False))


def _reopen(play: Play) -> None:
    fuse = play.process.fuse
    play.kill()
    play.process.fuse = fuse
    play.open()


_killed_in("killed_in_folds", lambda play: play.fold(), (2, 10, 18, 22))
_killed_in("killed_in_recoveries", _reopen, (3, 7, 10))
_killed_in("killed_in_closes", lambda play: play.close(), (0, 1, 3))


# -- journals ------------------------------------------------------------------------------------


@workload("journal", ci=True)
def _journal_pruned(play: Play) -> None:
    play.open()
    for number in range(4):
        play.append({"event": number, "pad": play.value(60)})
    play.rotate()
    play.append(play.value(80), sync="never")
    play.prune(3)
    play.prune(4)
    play.append(play.value(30))
    play.append(play.value(900), sync="never")
    play.append(play.value(30), sync="never")


@workload("journal")
def _journal_of_large_records(play: Play) -> None:
    play.open()
    for _ in range(5):
        play.append(play.value(1700))
    play.prune(3)
    play.append(play.value(2600), sync="never")
    play.append(play.value(1200), sync="never")


@workload("journal")
def _journal_never_synced(play: Play) -> None:
    play.open(sync="never")
    for _ in range(4):
        play.append(play.value(300))
    play.sync()
    play.append(play.value(300))
    play.rotate()
    play.prune(5)
    for _ in range(4):
        play.append(play.value(100))


@workload("journal")
def _journal_reopened(play: Play) -> None:
    play.open()
    play.append(play.value(50))
    play.rotate()
    play.append(play.value(50), sync="never")
    play.kill()
    play.open()
    play.prune(1)
    play.append(play.value(50))
    play.torn(0.6, lambda: play.append(play.value(900)))
    play.open()
    play.append(play.value(50))
    play.close()
    play.open()
    play.append(play.value(50), sync="never")
