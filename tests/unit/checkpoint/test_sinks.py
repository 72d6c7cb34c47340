"""Outputs that appear with a checkpoint: exactly once, whatever happens at whatever moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.sink_files import STAGED, FilesSink
from journalkit.checkpoint.sink_sql import SqlSink
from journalkit.checkpoint.sinks import Sink
from journalkit.errors import ArchiveUnavailableError, CorruptionError, ReadOnlyError, UsageError
from journalkit.testing import SimulatedBucket, SimulatedClock
from tests.unit.checkpoint.conftest import Place

INPUTS = 12
OPEN: list[SqlSink] = []


class Killed(BaseException):
    """The program ends here."""


def files_sink(bucket: SimulatedBucket, seed: int = 0) -> FilesSink:
    """Return a sink in a bucket, as a program called "writer" has it."""
    sink = FilesSink("unused", clock=SimulatedClock(seed=seed))
    sink._objects = bucket.handle("writer")
    return sink


def seen(bucket: SimulatedBucket) -> dict[str, bytes]:
    """Return what is to be seen."""
    return {key: data for key, data in bucket.contents().items() if not key.startswith(STAGED)}


def sql_sink(path: Path, connect: Callable[[Path], Any] = sqlite3.connect) -> SqlSink:
    """Return a sink into a table of a database."""
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE IF NOT EXISTS outputs (number INTEGER, word TEXT)")
    made.close()

    def connected() -> Any:
        connection = connect(path)
        connection.execute("PRAGMA synchronous = OFF")  # no power is cut here
        return connection

    sink = SqlSink(connected, "outputs", ["number", "word"])
    OPEN.append(sink)
    return sink


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close every sink into a database at the end."""
    yield
    while OPEN:
        OPEN.pop().close()


def rows(path: Path) -> list[tuple[int, str]]:
    """Return the table, in order."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT number, word FROM outputs ORDER BY number").fetchall()
    connection.close()
    return found


def work(job: Checkpoints, files: FilesSink, sql: SqlSink, chance: Random) -> None:
    """Go on from the latest checkpoint to the last input: each makes a row, and each save a file."""
    sinks: tuple[Sink, ...] = (files, sql)
    loaded = job.load_latest(sinks=sinks)
    done = loaded[1].offsets["in"] if loaded is not None else 0
    while done < INPUTS:
        begun = done
        for _ in range(chance.randrange(1, 4)):
            if done < INPUTS:
                sql.add((done, f"word {done}"))
                done += 1
        files.write(f"part-{begun:04}", b"%d-%d" % (begun, done))
        job.save({"done": done}, offsets={"in": done}, sinks=sinks)


def complaints(files: SimulatedBucket, path: Path) -> str:
    """Return what is wrong with the outputs of all inputs, "" if nothing."""
    found = rows(path)
    if found != [(number, f"word {number}") for number in range(INPUTS)]:
        return f"rows {found}"
    at = 0
    for name, data in sorted(seen(files).items()):
        begun, done = map(int, data.split(b"-"))
        if name != f"part-{begun:04}" or begun != at:
            return f"file {name} of {data!r} where {at} was to come"
        at = done
    if at != INPUTS or any(key.startswith(STAGED) for key in files.contents()):
        return f"files {sorted(files.contents())}"
    return ""


def test_outputs_are_seen_with_the_checkpoint(place: Place, tmp_path: Path) -> None:
    """Not before, and in order."""
    outputs = SimulatedBucket()
    files, sql = files_sink(outputs), sql_sink(tmp_path / "db")
    job = place.open()
    assert job.load_latest(sinks=[files, sql]) is None
    sql.add((1, "a"), (2, "b"))
    files.write("day=1/part", (b"some", b"thing"))
    files.write("day=1/part", b"another thing")
    assert (rows(tmp_path / "db"), seen(outputs)) == ([], {})
    job.save(1, sinks=[files, sql])
    assert rows(tmp_path / "db") == [(1, "a"), (2, "b")]
    assert outputs.contents() == {"day=1/part": b"another thing"}
    saved = job.save(2, sinks=[files, sql])
    assert saved.manifest.said.prepared == {}


def test_killed_at_every_operation_each_output_is_seen_once(tmp_path: Path) -> None:
    """Of the checkpoints, of the files, and of the database; the next one goes on."""
    for nth in range(1, 400):
        place, outputs = Place(seed=nth), SimulatedBucket()
        path = tmp_path / f"{nth}.db"
        count = 0

        def step(who: str = "writer", *_: str) -> None:
            nonlocal count
            if who == "writer":
                count += 1
                if count >= nth:  # noqa: B023 - called within this turn
                    raise Killed

        class Connection(sqlite3.Connection):
            def commit(self) -> None:
                step()
                super().commit()
                step()

        place.bucket.before = outputs.before = step
        try:
            sink = sql_sink(path, lambda where: sqlite3.connect(where, factory=Connection))
            work(place.open(), files_sink(outputs, nth), sink, Random(nth))
            is_over = True
        except Killed:
            is_over = False
        place.bucket.before = outputs.before = None
        sink.close()  # as the end of a process does
        work(place.open("next"), files_sink(outputs, nth + 1000), sql_sink(path), Random(nth + 1))
        wrong = complaints(outputs, path)
        assert not wrong, f"killed at {nth}: {wrong}\n{outputs.story()}"
        if is_over:
            assert nth > 50
            return
    raise AssertionError("it was killed each time")


@pytest.mark.parametrize("seed", range(12))
def test_saves_that_fail_leave_their_outputs_to_the_next(tmp_path: Path, seed: int) -> None:
    """The job goes on with the same handle: what its state counts is to be seen, once a save succeeds."""
    place, outputs = Place(seed), SimulatedBucket(seed=seed)
    path = tmp_path / "db"
    files, sql = files_sink(outputs, seed), sql_sink(path)
    job = place.open()
    job.load_latest(sinks=[files, sql])
    place.bucket.rates = {"unavailable": 0.1, "lost-reply": 0.1, "late": 0.05}
    outputs.rates = {"unavailable": 0.1, "lost-reply": 0.05}
    for number in range(INPUTS):
        sql.add((number, f"word {number}"))
        while True:
            try:
                files.write(f"part-{number:04}", b"%d-%d" % (number, number + 1))
                break
            except ArchiveUnavailableError:
                continue
        try:
            job.save(number, offsets={"in": number + 1}, sinks=[files, sql])
        except ArchiveUnavailableError:
            continue
    place.bucket.mend()
    outputs.mend()
    job.save("the last", offsets={"in": INPUTS}, sinks=[files, sql])
    assert complaints(outputs, path) == ""


def test_a_copy_takes_no_outputs_along(place: Place, tmp_path: Path) -> None:
    """They belong to the job that made them."""
    outputs = SimulatedBucket()
    files = files_sink(outputs)
    job = place.open()
    files.write("a", b"1")
    outputs.fail("put", 1, "unavailable")
    with pytest.raises(ArchiveUnavailableError):
        job.save(1, sinks=[files])
    saved = job.get("latest")
    assert len(saved.manifest.said.prepared["files"]) == 1
    other = Place(seed=1).open()
    assert other.copy_from(saved).manifest.said.prepared == {}
    with pytest.raises(UsageError, match="outputs of 'files'"):
        place.open("next").load_latest()
    assert place.open("reader", mode="r").load_latest() is not None
    again = files_sink(outputs, 5)
    place.open("next").load_latest(sinks=[again])
    assert outputs.contents() == {"a": b"1"}


def test_what_is_left_of_a_save_travels_with_one_in_the_background_too(place: Place) -> None:
    """Its state counts the inputs that made them: without the handles who goes on would throw them away."""
    outputs = SimulatedBucket()
    files = files_sink(outputs)
    job = place.open()
    files.write("a", b"1")
    outputs.fail("put", 1, "unavailable")
    with pytest.raises(ArchiveUnavailableError):
        job.save(1, sinks=[files])
    job.save_async(2).wait()
    again = files_sink(outputs, 5)
    loaded = place.open("next").load_latest(sinks=[again])
    assert loaded is not None
    assert (loaded[0], outputs.contents()) == (2, {"a": b"1"})


def test_a_staged_file_that_somebody_removed_is_told(place: Place) -> None:
    """The job can't make it again: its inputs are counted."""
    outputs = SimulatedBucket()
    files = files_sink(outputs)
    files.write("a", b"1")
    handle = files.prepare()
    outputs.handle().delete(*outputs.contents())
    with pytest.raises(CorruptionError, match="removed"):
        files.commit(handle)


def test_what_makes_no_sense_is_refused(place: Place, tmp_path: Path) -> None:
    """Before anything is written."""
    files, sql = FilesSink(tmp_path / "out", name="one"), sql_sink(tmp_path / "db")
    job = place.open()
    with pytest.raises(UsageError, match="names"):
        job.save(1, sinks=[files, FilesSink(tmp_path, name="one")])
    with pytest.raises(UsageError, match="name"):
        job.save(1, sinks=[FilesSink(tmp_path, name=5)])  # type: ignore[arg-type]
    with pytest.raises(ReadOnlyError):
        place.open("reader", mode="r").load_latest(sinks=[files])
    for name in ("staged/x", "../x", "", "a//b"):
        with pytest.raises(UsageError):
            files.write(name, b"")
    with pytest.raises(UsageError, match="2 columns"):
        sql.add((1, "a"), (1,))
    assert sql.prepare() is None
    for wrong in (
        lambda: SqlSink(lambda: None, "a table", ["a"]), lambda: SqlSink(lambda: None, "t", ["a; b"]),
        lambda: SqlSink(lambda: None, "t", []), lambda: SqlSink(lambda: None, "t", ["a"], paramstyle="named"),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            wrong()
    for sink, words in ((files, "FilesSink"), (sql, "SqlSink")):
        with pytest.raises(CorruptionError, match=words):
            sink.commit({"other": 1})  # type: ignore[attr-defined]
    assert job.latest() is None
    files.close()
    sql.close()
    sql.close()


def test_files_go_to_a_directory_as_well(place: Place, tmp_path: Path) -> None:
    """By their names, in the directories that these have."""
    with place.open() as job:
        files = FilesSink(tmp_path / "out")
        files.write("2026/11/part-1.csv", b"a,b\n")
        large = Random(1).randbytes(9 << 20)
        files.write("large", iter([large[:5_000_000], large[5_000_000:]]))
        job.save(1, sinks=[files])
        assert (tmp_path / "out" / "2026" / "11" / "part-1.csv").read_bytes() == b"a,b\n"
        assert (tmp_path / "out" / "large").read_bytes() == large
        files.close()


def test_rows_that_a_table_refuses_are_told_and_keep_nobody_waiting(tmp_path: Path) -> None:
    """As long as the error is kept, too: the batch is in none of its parts there, and is committed again."""
    sql = sql_sink(tmp_path / "db")
    sql.add((1, "a"))
    handle = sql.prepare()
    connection = sqlite3.connect(tmp_path / "db")
    connection.execute("ALTER TABLE outputs RENAME TO others")
    with pytest.raises(sqlite3.OperationalError) as kept:
        sql.commit(handle)
    connection.execute("ALTER TABLE others RENAME TO outputs")
    connection.close()
    other = sql_sink(tmp_path / "db")
    other.recover([handle])
    sql.commit(handle)
    assert rows(tmp_path / "db") == [(1, "a")]
    assert "no such table" in str(kept.value)


def test_a_staged_file_that_is_removed_while_it_is_committed_is_told(tmp_path: Path) -> None:
    """By somebody else, since nobody who goes on does that before all is committed."""
    outputs = SimulatedBucket()
    files = files_sink(outputs)
    files.write("a", b"1")
    handle = files.prepare()
    outputs.before = lambda _who, operation, _key: outputs._objects.clear() if operation == "get" else None
    with pytest.raises(CorruptionError, match="a staged file was removed"):
        files.commit(handle)
    assert outputs.contents() == {}
