"""Changing: put, delete, load, compact. Durable when done, and nothing at all where they are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import journalkit

Run = Callable[..., Any]
State = Callable[[Any], Any]


def test_put_creates_a_store_and_says_so(run: Run, tmp_path: Any, state: State) -> None:
    """A typing error in a path shows."""
    path = tmp_path / "new"
    ran = run("put", path, "user:1", '{"name": "Ada", "tags": {"$set": ["x"]}}')
    assert (ran.code, ran.out) == (0, "LSN 1\n")
    assert f"created the store {path}" in ran.err
    assert state(path)["entries"] == {"user:1": {"name": "Ada", "tags": {"x"}}}
    ran = run("put", path, "n", "2", "--json")
    assert (ran.json, ran.err) == ({"lsn": 2}, "")


@pytest.mark.parametrize(
    ("arguments", "stdin", "value"),
    [
        (["--stdin"], b'{"a": 1}', {"a": 1}),
        (["--stdin", "--raw"], b"\x00\xff", b"\x00\xff"),
        (["hello", "--raw"], b"", b"hello"),
        (["-5"], b"", -5),
    ],
)
def test_put_takes_a_value_from_where_it_is_told(
    run: Run, place: Any, state: State, arguments: list[str], stdin: bytes, value: Any
) -> None:
    """Large values and bytes don't fit on a command line."""
    assert run("put", place, "k", *arguments, stdin=stdin).code == 0
    assert state(place)["entries"]["k"] == value


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "told"),
    [
        (["k", "hello"], b"", 64, "quote it: '\"hello\"'"),
        (["k", "{"], b"", 64, "it is no JSON"),
        (["k", '{"$no": 1}'], b"", 64, "'$no' is no type"),
        (["k"], b"", 64, "either as VALUE or"),
        (["k", "1", "--stdin"], b"1", 64, "either as VALUE or"),
        (["k", "--stdin"], b"\xff", 64, "not UTF-8"),
        (["k", "1", "--key-type", "int"], b"", 64, "no integer"),
        (["[", "1", "--key-type", "json"], b"", 64, "the key '['"),
        (['["a"]', "1", "--key-type", "json"], b"", 2, "a key can't be or hold a list"),
        (["k", '{"$datetime": "2026-01-01"}'], b"", 2, "naive"),
        (["k" * 9000, "1"], b"", 2, "too long"),
    ],
)
def test_what_can_not_be_stored_is_refused_and_leaves_no_store(
    run: Run, tmp_path: Any, arguments: list[str], stdin: bytes, code: int, told: str
) -> None:
    """Wrong arguments are 64, wrong entries 2, each in a sentence, and nothing changes on disk."""
    ran = run("put", tmp_path / "new", *arguments, stdin=stdin)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err, ran.err
    assert not (tmp_path / "new").exists()


def test_delete_removes_keys_in_one_record(run: Run, place: Any, state: State) -> None:
    """Those that aren't there are named, and are no error."""
    ran = run("delete", place, "user:01", "user:02", "nobody")
    assert ran.code == 0
    assert ran.out.startswith("deleted 2 keys, LSN ")
    assert "no such key: nobody" in ran.err
    assert not {"user:01", "user:02"} & state(place)["entries"].keys()
    told = run("delete", place, "nobody", "--json").json
    assert (told["deleted"], told["absent"]) == (0, ["nobody"])
    assert run("delete", place, "7", "--key-type", "int").code == 0
    assert 7 not in state(place)["entries"]


def test_delete_creates_no_store(run: Run, tmp_path: Any) -> None:
    """There is nothing to delete where nothing is."""
    assert run("delete", tmp_path / "new", "k").code == 2
    assert not (tmp_path / "new").exists()


def test_dump_and_load_reproduce_a_store(run: Run, place: Any, tmp_path: Any, state: State) -> None:
    """Keys and values of all types, and the offsets."""
    dumped = run("dump", place).out
    ran = run("load", tmp_path / "copy", "--json", stdin=dumped.encode())
    assert ran.json == {"entries": 63, "offsets": 1, "lsn": 1}
    assert state(tmp_path / "copy") == state(place)
    assert run("dump", tmp_path / "copy").out == dumped


def test_load_reads_a_file_in_batches(run: Run, tmp_path: Any, state: State) -> None:
    """Each commit so many lines; empty lines are none."""
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(f'{{"key": {number}, "value": "v"}}\n\n' for number in range(25)))
    ran = run("load", tmp_path / "s", lines, "--batch", 10)
    assert (ran.code, ran.out) == (0, "loaded 25 entries, LSN 3\n")
    assert len(state(tmp_path / "s")["entries"]) == 25
    ran = run("load", tmp_path / "s", stdin=b'{"offset": "in", "value": 1}')
    assert ran.out == "loaded 0 entries and 1 offset, LSN 4\n"


def test_large_lines_make_smaller_batches(run: Run, tmp_path: Any) -> None:
    """A commit has a limit in bytes, whatever a thousand lines hold."""
    value = "x" * 9_000_000
    lines = "".join(json.dumps({"key": number, "value": value}) + "\n" for number in range(4))
    assert run("load", tmp_path / "s", "--json", stdin=lines.encode()).json["lsn"] == 2


BAD_LINES = [
    (b'{"key": "b"}', "neither"),
    (b"[1]", "neither"),
    (b'{"offset": 1, "value": 2}', "neither"),
    (b'{"key": "b", "value": 1, "more": 2}', "neither"),
    (b'{"key": "b", "value": 1', "no JSON"),
    (b'{"key": "b", "value": Infinity}', "no JSON"),
    (b'{"key": "b", "value": {"a": 1, "a": 2}}', "a name twice"),
    (b'{"key": "b", "value": {"$what": 1}}', "no type"),
    (b'{"key": 1.5, "value": 1}', "a key can't be"),
    (b'{"key": "b", "value": {"$datetime": "2026-01-01"}}', "naive"),
    (b'{"offset": "\\ud800", "value": 1}', "surrogate"),
    (b"\xff\xfe", "not UTF-8"),
    (b"[" * 100_000, "too deep"),
]


@pytest.mark.parametrize(("line", "told"), BAD_LINES)
@pytest.mark.parametrize("batch", [1, 100])
def test_a_bad_line_is_named_and_nothing_of_its_batch_is_written(
    run: Run, tmp_path: Any, state: State, line: bytes, told: str, batch: int
) -> None:
    """Whoever mends the file knows where to look and what is there already."""
    path = tmp_path / "s"
    journalkit.open(path).close()
    ran = run("load", path, "--batch", batch, stdin=b'{"key": "a", "value": 1}\n' + line + b"\n")
    assert (ran.code, ran.out) == (2, "")
    assert "standard input: line 2: " in ran.err
    assert told in ran.err, ran.err
    assert ran.err.count("\n") == 1
    if batch == 1:
        assert "written before: 1 entry, up to line 1" in ran.err
        assert state(path)["entries"] == {"a": 1}
    else:
        assert "nothing was written" in ran.err
        assert state(path)["entries"] == {}


@pytest.mark.parametrize("line", [b"nonsense", b'{"key": 1.5, "value": 1}', b'{"offset": "\\ud800", "value": 1}'])
def test_a_bad_first_line_leaves_no_store_behind(run: Run, tmp_path: Any, line: bytes) -> None:
    """A refused command changes nothing on disk."""
    assert run("load", tmp_path / "new", stdin=line).code == 2
    assert run("load", tmp_path / "new", tmp_path / "no-such-file").code == 2
    assert run("load", tmp_path / "new", "--codec", "zip", stdin=line).code == 2
    assert not (tmp_path / "new").exists()


def test_a_raw_store_is_dumped_and_loaded_as_one(run: Run, tmp_path: Any, state: State) -> None:
    """The codec is the store's; a new one is told which."""
    with journalkit.open(tmp_path / "raw", codec="raw") as store:
        store["k"] = b"\x00"
    dumped = run("dump", tmp_path / "raw").out.encode()
    assert run("load", tmp_path / "copy", "--codec", "raw", stdin=dumped).code == 0
    assert state(tmp_path / "copy") == state(tmp_path / "raw")
    ran = run("load", tmp_path / "copy", stdin=b'{"key": "k", "value": 1}')
    assert "line 1: the raw codec stores bytes" in ran.err


def test_a_msgpack_store_is_seen_dumped_and_loaded_as_one(run: Run, tmp_path: Any, state: State) -> None:
    """Every command that shows or takes values speaks the store's codec."""
    with journalkit.open(tmp_path / "packed", codec="msgpack") as store:
        store.update({"a": {"n": [1, 2.5, b"x"]}, "b": (1, {2})})
        with store.transaction() as tx:
            tx.offsets["in"] = 7
    assert run("put", tmp_path / "packed", "c", '{"$tuple": [1]}').code == 0
    assert run("get", tmp_path / "packed", "a").json == {"n": [1, 2.5, {"$bytes": "eA=="}]}
    assert "$set" in run("scan", tmp_path / "packed").out
    assert '"$tuple"' in run("log", tmp_path / "packed", "--values").out
    assert run("info", tmp_path / "packed", "--json").json["codec"] == "msgpack"
    dumped = run("dump", tmp_path / "packed").out.encode()
    assert run("load", tmp_path / "copy", "--codec", "msgpack", stdin=dumped).code == 0
    assert state(tmp_path / "copy") == state(tmp_path / "packed")
    assert run("dump", tmp_path / "copy").out.encode() == dumped


def test_a_batch_that_is_too_large_as_a_whole_is_told_by_its_lines(
    run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No single line is to blame then."""
    from journalkit.errors import RecordTooLargeError

    def refuse(*_: Any, **__: Any) -> None:
        raise RecordTooLargeError("too large", size_bytes=2, limit_bytes=1)

    journalkit.open(tmp_path / "s").close()
    monkeypatch.setattr(journalkit.Store, "write", refuse)
    ran = run("load", tmp_path / "s", stdin=b'{"key": 1, "value": 1}\n{"offset": "o", "value": 1}')
    assert (ran.code, "lines 1 to 2: too large" in ran.err) == (2, True)


def test_a_line_longer_than_any_record_is_not_read_on(run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without line ends can't fill the memory."""
    from journalkit.cli import load

    monkeypatch.setattr(load, "LINE_BYTES_MAX", 100)
    ran = run("load", tmp_path / "s", stdin=b" " * 200)
    assert ran.code == 0
    ran = run("load", tmp_path / "s", stdin=b'{"key": "' + b"x" * 200)
    assert "line 1: it is longer than 100 bytes" in ran.err


def test_compact_tells_what_it_changed(run: Run, place: Any, state: State) -> None:
    """Sizes before and after, and where the snapshot is now."""
    before = state(place)
    told = run("compact", place, "--json").json
    assert (told["before"]["snapshot_lsn"], told["after"]["snapshot_lsn"]) == (81, 83)
    assert state(place) == before
    out = run("compact", place).out
    assert "newest snapshot" in out
    assert "LSN 83" in out


def test_compact_of_an_empty_store_has_nothing_to_do(run: Run, tmp_path: Any) -> None:
    """No record, no snapshot."""
    journalkit.open(tmp_path / "s").close()
    ran = run("compact", tmp_path / "s")
    assert ran.code == 0
    assert ran.out.splitlines()[-1].split() == ["newest", "snapshot", "none", "none"]
    assert run("compact", tmp_path / "nowhere").code == 2


@pytest.mark.parametrize("command", [["put", "k", "1"], ["delete", "k"], ["load"], ["compact"], ["recover"]])
def test_a_store_in_use_is_refused_with_who_has_it(run: Run, place: Any, command: list[str]) -> None:
    """Host and pid, and nothing changed."""
    name, *rest = command
    with journalkit.open(place.path) as store:
        before = store.lsn
        ran = run(name, place, *rest, stdin=b'{"key": 1, "value": 1}')
        assert (ran.code, ran.out) == (2, "")
        assert "open for writing in this process" in ran.err
        assert store.lsn == before
