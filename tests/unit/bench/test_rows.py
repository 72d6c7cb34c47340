"""Every row, at a scale at which only its steps mean anything; and contenders that are missing, broken or wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journalkit.bench import arena, registry
from journalkit.bench.arena import Bench
from journalkit.bench.document import document
from journalkit.bench.engine import BenchError, Database, Engine, Terms
from journalkit.bench.result import Row
from journalkit.errors import UsageError

MakeEngine = Callable[..., Engine]
MakeBench = Callable[..., Bench]


def rows_of(bench: Bench, *names: str) -> list[Row]:
    """Measure some rows."""
    return list(registry.measure(bench, registry.select(names)))


@pytest.mark.parametrize("measure", registry.MEASURES, ids=lambda measure: measure.rows[0])
def test_a_measure_gives_the_rows_that_it_promises(measure: registry.Measure, bench: MakeBench, tmp_path: Path) -> None:
    """In their order, each with a figure or with who was missing; and nothing stays behind."""
    rows = list(measure.run(bench(), frozenset(measure.rows)))
    assert [row.name for row in rows] == list(measure.rows)
    for row in rows:
        assert row.verdict != "not measured" or row.missing
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["put-cbor", "ycsb-f-zipfian", "open-read-large", "get-cold-device"])
def test_one_row_of_several_can_be_had_alone(name: str, bench: MakeBench) -> None:
    """Who works on one thing measures one thing."""
    assert [row.name for row in rows_of(bench(), name)] == [name]


def test_patterns_select_rows() -> None:
    """A name, the beginning of several, a shell pattern; what names none is told with what there is."""
    assert registry.select(["durable-put"]) == {"durable-put"}
    assert registry.select(["put"]) == {"put-bytes", "put-msgpack", "put-cbor"}
    assert registry.select(["ycsb-?-zipfian"]) == {f"ycsb-{mix}-zipfian" for mix in "abcdf"}
    assert registry.select([]) == set(registry.NAMES)
    with pytest.raises(UsageError, match="scan-1000"):
        registry.select(["nothing"])


def test_row_names_are_told_apart() -> None:
    """Two rows of one name can't be selected, and one of them would be lost in the JSON."""
    assert len(set(registry.NAMES)) == len(registry.NAMES)


def test_a_missing_peer_is_named_in_every_row(bench: MakeBench, engine: MakeEngine) -> None:
    """Silence would read as "beaten"."""
    absent = Engine("absent", ("no_such_module_anywhere",), "absent", engine().open, engine().settings)
    [row] = rows_of(bench(absent, engine()), "put-bytes")
    assert [missing.name for missing in row.missing] == ["absent"]
    assert row.rival is not None
    assert row.rival.name == "dict"


def test_a_bench_without_any_peer_has_no_verdict(bench: MakeBench) -> None:
    """Alone nobody is the best."""
    absent = Engine("absent", ("no_such_module_anywhere",), "absent", _never, str)
    [row] = rows_of(bench(absent), "get-few")
    assert row.verdict == "not measured"


def test_a_peer_that_breaks_is_named_and_the_row_goes_on(
    bench: MakeBench, engine: MakeEngine, dict_database: type[Any]
) -> None:
    """At loading, in a round, when it is opened: each time the others are measured all the same."""

    class AtLoading(dict_database):  # type: ignore[misc]
        def write(self, items: Any) -> None:
            raise RuntimeError("broken at loading")

    class InARound(dict_database):  # type: ignore[misc]
        def scan(self, start: bytes, count: int) -> Any:
            raise RuntimeError("broken in a round")

    class WhenOpened(dict_database):  # type: ignore[misc]
        def __init__(self, path: str, terms: Terms) -> None:
            raise RuntimeError("broken when opened")

    peers = [engine(kind.__name__, kind) for kind in (AtLoading, InARound, WhenOpened)]
    [row] = rows_of(bench(*peers, engine()), "scan-1000")
    assert {missing.name for missing in row.missing} == {"AtLoading", "InARound", "WhenOpened"}
    assert all("broken" in missing.why for missing in row.missing)
    assert row.rival is not None
    assert row.rival.name == "dict"


@pytest.mark.parametrize(
    "name",
    ["durable-put", "durable-put-threads", "put-bytes", "batch-bytes", "get-few", "get-cold", "get-cold-device",
     "get-many", "get-missing", "scan-1000", "ycsb-a-uniform", "ycsb-d-zipfian"],
)  # fmt: skip
def test_the_canary_is_caught(
    name: str, bench: MakeBench, engine: MakeEngine, dict_database: type[Any], tmp_path: Path
) -> None:
    """A contender that forgets what it was given is the fastest of all; no row may believe it."""

    class Canary(dict_database):  # type: ignore[misc]
        """Keeps the first value of a key and, of others, every third one not at all."""

        def __init__(self, path: str, terms: Terms) -> None:
            super().__init__(path, terms)
            self.put = self._put

        def _put(self, key: bytes, value: Any) -> None:
            if sum(key) % 3:
                self.entries.setdefault(key, value)

        def write(self, items: Any) -> None:
            for key, value in items:
                self._put(key, value)

    with pytest.raises(BenchError, match="canary"):
        rows_of(bench(engine("canary", Canary)), name)
    assert os.listdir(tmp_path) == []


def test_a_key_that_is_gone_is_a_wrong_answer_too(
    bench: MakeBench, engine: MakeEngine, dict_database: type[Any]
) -> None:
    """Engines that raise KeyError for it are no exception."""

    class Forgetful(dict_database):  # type: ignore[misc]
        def __init__(self, path: str, terms: Terms) -> None:
            super().__init__(path, terms)
            self.get = self.entries.__getitem__
            self.put = lambda key, value: None

    with pytest.raises(BenchError, match="forgetful"):
        rows_of(bench(engine("forgetful", Forgetful)), "put-bytes")


def test_a_peer_that_breaks_when_it_is_checked_is_named(
    bench: MakeBench, engine: MakeEngine, dict_database: type[Any]
) -> None:
    """Its figure stands beside the reason to doubt it."""

    class Unreadable(dict_database):  # type: ignore[misc]
        def reader(self) -> Any:
            raise RuntimeError("broken when read")

    [row] = rows_of(bench(engine("unreadable", Unreadable), engine()), "put-bytes")
    assert [missing.name for missing in row.missing] == ["unreadable"]


def test_a_full_disk_ends_the_bench_with_what_to_do(
    bench: MakeBench, engine: MakeEngine, dict_database: type[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A peer that fails for want of room isn't a peer that fails."""

    class Full(dict_database):  # type: ignore[misc]
        def write(self, items: Any) -> None:
            monkeypatch.setattr(arena, "ROOM_BYTES_MIN", 1 << 62)
            raise OSError(28, "No space left on device")

    with pytest.raises(BenchError, match="make room"):
        rows_of(bench(engine("full", Full)), "get-few")
    assert os.listdir(tmp_path) == []


def test_ctrl_c_leaves_nothing_behind(
    bench: MakeBench, engine: MakeEngine, dict_database: type[Any], tmp_path: Path
) -> None:
    """A bench is stopped more often than it ends."""

    class Stopped(dict_database):  # type: ignore[misc]
        def write(self, items: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows_of(bench(engine("stopped", Stopped)), "get-few")
    assert os.listdir(tmp_path) == []


def test_the_document_is_json_with_every_contender(bench: MakeBench) -> None:
    """Scripts that watch a figure over months read this."""
    made = bench()
    [row] = rows_of(made, "put-bytes")
    found = json.loads(json.dumps(document(made, [row])))
    assert {"journalkit", "scale", "python", "compiled", "system", "processors", "file_system", "rows"} == set(found)
    [plain] = found["rows"]
    assert plain["goal"] == {"at_least": 1.2}
    assert plain["rival"] == "dict"
    assert plain["durability"] == "process crash"
    assert plain["met"] == (plain["ratio"] >= 1.2)
    assert [one["name"] for one in plain["contenders"]] == ["journalkit", "dict"]
    assert all(one["settings"] and one["figure_low"] <= one["figure"] for one in plain["contenders"])


def _never(_path: str, _terms: Terms) -> Database:
    raise AssertionError
