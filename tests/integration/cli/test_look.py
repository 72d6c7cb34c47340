"""Looking: info, log, get, scan, dump, du. They tell the truth and change nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.format import names
from journalkit.format.frame import Kind, encode

Run = Callable[..., Any]

LOOKS = ["info", "verify", "log", "dump", "scan", "du", "recover --dry-run"]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("damage", ["none", "table", "log", "manifest", "torn"])
def test_looking_never_writes_a_byte(run: Run, place: Any, torn: Any, look: str, as_json: bool, damage: str) -> None:
    """Promise 4: whatever state the store is in, bytes, names, sizes and times stay as they were."""
    if damage == "table":
        place.flip(place.newest_table)
    elif damage == "log":
        place.flip(place.last_segment)
    elif damage == "manifest":
        place.flip(place.path / names.MANIFEST, 40)
    target = torn if damage == "torn" else place
    command, *options = look.split()
    before = target.fingerprint()
    ran = run(command, target, *options, *["--json"] * as_json)
    assert target.fingerprint() == before
    assert ran.code in (0, 1, 2)
    assert (ran.code == 0) or damage != "none"
    assert "defect" not in ran.err
    assert ran.err.count("\n") <= 1


def test_info_tells_what_it_is_and_where_it_stands(run: Run, place: Any) -> None:
    """The first thing somebody asks of a directory that a customer sent."""
    ran = run("info", place)
    assert ran.code == 0
    for told in ("store, values as cbor", "LSN 81", "LSN 41", "sealed", "{'app': 'test'}", "replays 2 records"):
        assert told in ran.out, ran.out
    with journalkit.open(place.path, mode="r") as store:
        assert store.uuid in ran.out


def test_info_in_json_has_the_ladder(run: Run, place: Any) -> None:
    """A program watches the same numbers."""
    told = run("info", place, "--json").json
    assert (told["pruned_lsn"], told["snapshot_lsn"], told["durable_lsn"], told["last_lsn"]) == (41, 81, 83, 83)
    assert told["recovery"] == {
        "verdict": "sound",
        "from_snapshot_lsn": 81,
        "records_to_replay": 2,
        "bytes_to_cut": 0,
    }
    assert told["metadata"] == {"app": "test"}
    assert told["last_opened"]["pid"] == os.getpid()
    assert [len(snapshot["tables"]) for snapshot in told["snapshots"]] == [1, 1]


def test_info_works_beside_a_live_writer_and_says_who_it_is(run: Run, tmp_path: Any) -> None:
    """It takes no lock, so it can neither wait nor be in the way."""
    with journalkit.open(tmp_path / "live") as store:
        store["a"] = 1
        ran = run("info", tmp_path / "live")
        assert f"process {os.getpid()}" in ran.out
        assert "is running" in ran.out
        assert "LSN 1, open" in ran.out
        store["b"] = 2


@pytest.mark.parametrize("words", [b"", b"no json", b'{"host": "elsewhere", "pid": 1, "since": "x", "opened_at": "y"}'])
def test_info_makes_do_with_any_lock_file(run: Run, place: Any, words: bytes) -> None:
    """The words beside the lock are help, not truth."""
    (place.path / names.LOCK).write_bytes(words)
    ran = run("info", place)
    assert ran.code == 0
    assert ("elsewhere" in ran.out) == (b"elsewhere" in words)


@pytest.mark.parametrize(("pid", "told"), [(0, "gone"), (2**70, "gone"), (1, "running"), (4_000_000, "gone")])
def test_info_says_whether_the_last_opener_runs(run: Run, place: Any, pid: int, told: str) -> None:
    """A store that "somebody has" is looked for on the machine that has it."""
    import json
    import socket

    words = {"host": socket.gethostname(), "pid": pid, "since": "x", "opened_at": "y"}
    (place.path / names.LOCK).write_text(json.dumps(words))
    assert told in run("info", place).out


def test_info_says_what_the_next_open_would_do_about_damage(run: Run, place: Any, torn: Any) -> None:
    """Refuse, fall back or cut: told before it happens."""
    assert "cuts a torn tail" in run("info", torn).out
    place.flip(place.newest_table)
    assert "passed over; nothing is lost" in run("info", place).out
    place.flip(place.last_segment)
    assert "refuses: " in run("info", place).out


def test_info_shows_the_last_of_many_segments(run: Run, tmp_path: Any) -> None:
    """A page is read, a list of a thousand files isn't."""
    with journalkit.open(tmp_path / "many", compaction="manual", sync="never", segment_bytes_max=4096) as store:
        for number in range(60):
            store[number] = "x" * 1000
    assert "(the last 12 of " in run("info", tmp_path / "many").out


def test_info_of_a_damaged_manifest_names_it_in_one_line(run: Run, place: Any) -> None:
    """Without it there is nothing to tell."""
    place.flip(place.path / names.MANIFEST, 40)
    ran = run("info", place)
    assert (ran.code, ran.out) == (2, "")
    assert "MANIFEST" in ran.err


def test_the_log_of_a_store_tells_lsn_time_size_and_keys(run: Run, place: Any) -> None:
    """Who committed what, when, how big."""
    ran = run("log", place, "--from", 80)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split() == ["LSN", "time", "kind", "size", "keys", "what"]
    assert [line.split()[0] for line in lines[1:]] == ["80", "81", "82", "83"]
    assert lines[-1].endswith("-user:00")
    assert lines[-2].endswith("last")


def test_the_log_in_json_has_every_change(run: Run, place: Any) -> None:
    """A line a record, with or without values."""
    [record] = run("log", place, "--from", 82, "--to", 82, "--json").lines
    assert record["lsn"] == 82
    assert record["changes"] == [{"key": "last", "op": "put", "value_size": 1}]
    [record] = run("log", place, "--from", 82, "--to", 82, "--json", "--values").lines
    assert record["changes"] == [{"key": "last", "op": "put", "value": 1}]


def test_the_log_tells_reserved_keys_from_the_users(run: Run, tmp_path: Any) -> None:
    """An offset is a key of journalkit's own, and travels with the state."""
    with journalkit.open(tmp_path / "s", compaction="manual") as store, store.transaction() as tx:
        tx.offsets["in"] = {"at": 5}
        for number in range(6):
            tx[number] = number
    ran = run("log", tmp_path / "s", "--values")
    assert "<offsets> in" in ran.out
    assert "and 3 more" in ran.out
    assert '<offsets> in = {"at": 5}' in ran.out
    [record] = run("log", tmp_path / "s", "--json", "--values").lines
    assert {"keyspace": "offsets", "name": "in", "op": "put", "value": {"at": 5}} in record["changes"]


@pytest.mark.parametrize(
    ("options", "lsns"),
    [
        (["--limit", 2], [42, 43]),
        (["--limit", 0], []),
        (["--reverse", "--limit", 2], [83, 82]),
        (["--reverse", "--from", 82], [83, 82]),
        (["--reverse", "--to", 43], [43, 42]),
        (["--reverse", "--limit", 0], []),
        (["--from", 83, "--to", 900], [83]),
        (["--from", 84], []),
        (["--from", 83, "--to", 82], []),
    ],
)
def test_the_log_shows_what_was_asked_for(run: Run, place: Any, options: list[Any], lsns: list[int]) -> None:
    """From, to, limit and direction together, at their edges."""
    ran = run("log", place, "--json", *options)
    assert (ran.code, [line["lsn"] for line in ran.lines]) == (0, lsns)


def test_the_log_says_where_it_begins(run: Run, place: Any) -> None:
    """Asked for what was pruned, it doesn't pretend that nothing was there."""
    ran = run("log", place, "--from", 1, "--limit", 1, "--json")
    assert [line["lsn"] for line in ran.lines] == [42]
    assert "up to LSN 41 the log was pruned" in ran.err


def test_a_journals_log_shows_its_values(run: Run, journal: Any) -> None:
    """A journal's values are what it is."""
    assert '{"n": 9}' in run("log", journal).out
    assert [line["value"] for line in run("log", journal, "--json").lines] == [{"n": number} for number in range(10)]


def test_a_damaged_log_is_shown_up_to_the_damage(run: Run, place: Any) -> None:
    """Records before it are right; then it is said, on standard error, in one line, with exit code 2."""
    place.flip(place.files("log-*")[0], 600)
    ran = run("log", place, "--json")
    lsns = [line["lsn"] for line in ran.lines]
    assert ran.code == 2
    assert "promised" in ran.err
    # What the snapshot doesn't hold is intact behind the damage, and is what recovery would replay.
    assert lsns == [82, 83]
    place.flip(place.last_segment)
    assert run("log", place, "--json").code == 2


def test_a_torn_tail_is_mentioned_and_is_no_error(run: Run, torn: Any) -> None:
    """Nothing promised is missing."""
    ran = run("log", torn, "--json")
    assert (ran.code, len(ran.lines)) == (0, 5)
    assert "a torn tail of" in ran.err


def test_records_that_make_no_sense_are_shown_as_bytes(run: Run, place: Any, tmp_path: Any) -> None:
    """Checksums vouch for bytes, not for sense; verify names the record."""
    path = tmp_path / "live"
    with journalkit.open(path, compaction="manual", codec="raw") as store:
        store["a"] = b"\x00"
        [segment] = path.glob("log-*")
        data = segment.read_bytes()
        import shutil

        shutil.copytree(path, tmp_path / "copy")
    end = len(data.rstrip(b"\0")) + 1
    salt = int.from_bytes(data[12:16], "little")
    frame = encode(b"\x01\x02", lsn=2, time_us=2**62, durable_lsn=0, kind=Kind.BATCH, salt=salt, offset_bytes=end)
    copied = tmp_path / "copy" / segment.name
    copied.write_bytes((data[:end] + frame).ljust(len(data), b"\0"))
    ran = run("log", tmp_path / "copy")
    assert "<undecodable>" in ran.out
    assert ran.code == 2
    assert run("log", tmp_path / "copy", "--json").lines[1]["payload"] == "0102"
    ran = run("verify", tmp_path / "copy")
    assert (ran.code, "makes no sense" in ran.out) == (2, True)


def test_get_prints_the_value_as_json(run: Run, place: Any) -> None:
    """With --json or without: a value is data."""
    assert run("get", place, "user:20").json == 20
    assert run("get", place, "user:01", "--json").json == {"name": "name 1", "pad": "x" * 400}
    assert run("get", place, '{"$tuple": ["t", 1]}', "--key-type", "json").json == {"$tuple": [1, 2]}
    assert run("get", place, "7", "--key-type", "int").out == "null\n"


def test_get_of_an_absent_key_is_exit_code_one_and_silence(run: Run, place: Any) -> None:
    """A shell asks `if journalkit get ...`, and null is a value."""
    ran = run("get", place, "nobody")
    assert (ran.code, ran.out) == (1, "")
    assert "no such key: nobody" in ran.err
    assert run("get", place, "user:01", "--key-type", "bytes").code == 1


def test_get_raw_prints_bytes_and_strings_as_they_are(place: Any, capfdbinary: Any) -> None:
    """A file that was put comes out the same."""
    with journalkit.open(place.path) as store:
        store["blob"] = bytes(range(256))
        store["text"] = "Grüße\n"
    from journalkit.cli import main

    assert main(["get", str(place), "blob", "--raw"]) == 0
    assert capfdbinary.readouterr().out == bytes(range(256))
    assert main(["get", str(place), "text", "--raw"]) == 0
    assert capfdbinary.readouterr().out == "Grüße\n".encode()
    assert main(["get", str(place), "last", "--raw"]) == 2


def test_scan_goes_through_a_range_in_order(run: Run, place: Any) -> None:
    """Prefix, start, stop, direction, limit and keys alone."""
    keys = [line["key"] for line in run("scan", place, "--json", "--keys-only").lines]
    assert keys[:2] == [7, {"$bytes": "AP8="}]
    assert keys[-1] == {"$tuple": ["t", 1]}
    ran = run("scan", place, "--prefix", "user:2", "--limit", 2)
    assert ran.out == "user:20\t20\nuser:21\t21\n"
    ran = run("scan", place, "--start", "user:58", "--stop", "user:60", "--reverse", "--keys-only")
    assert ran.out == "user:59\nuser:58\n"
    ran = run("scan", place, "--prefix", '{"$tuple": ["t"]}', "--key-type", "json", "--json")
    assert ran.lines == [{"key": {"$tuple": ["t", 1]}, "value": {"$tuple": [1, 2]}}]


def test_a_key_can_not_command_the_terminal(run: Run, tmp_path: Any) -> None:
    """A stored escape sequence is shown, not obeyed, and an entry stays on its line."""
    with journalkit.open(tmp_path / "s") as store:
        store["\x1b[31mred\nnext"] = "\x9b"
        store[""] = 1
    for command in ("scan", "log"):
        out = run(command, tmp_path / "s", *["--values"] * (command == "log")).out
        assert "\x1b" not in out
        assert "\x9b" not in out
        assert "\\x1b[31mred\\nnext" in out
    assert '""\t1' in run("scan", tmp_path / "s").out


def test_dump_ends_with_the_offsets(run: Run, place: Any) -> None:
    """They are state too, of a kind of their own."""
    lines = run("dump", place).lines
    assert lines[-1] == {"offset": "orders/0", "value": 1042}
    assert len(lines) == 64
    assert all(set(line) == {"key", "value"} for line in lines[:-1])


def test_dump_beside_a_damaged_block_fails_in_one_line(run: Run, tmp_path: Any) -> None:
    """A dump that stops is no dump."""
    path = tmp_path / "s"
    with journalkit.open(path, compaction="manual", keep_snapshots=1) as store:
        for number in range(40):
            store[number] = "x" * 200_000
        store.compact()
    [table] = path.glob("table-*")
    data = bytearray(table.read_bytes())
    data[4_000_000] ^= 1
    table.write_bytes(data)
    ran = run("dump", path)
    assert ran.code == 2
    assert "checksum" in ran.err
    assert "Traceback" not in ran.err


def test_du_tells_every_byte_by_its_purpose(run: Run, place: Any) -> None:
    """What takes the room, what could go, and what isn't ours."""
    (place.path / "notes.txt").write_text("mine")
    (place.path / "folder").mkdir()
    (place.path / "folder" / "more").write_text("mine too")
    (place.path / "MANIFEST.tmp").write_text("half")
    (place.path / "quarantine").mkdir()
    (place.path / "quarantine" / "cut").write_bytes(b"x" * 10)
    told = run("du", place, "--json").json
    sizes = {kind: use["size_bytes"] for kind, use in told["kinds"].items()}
    assert sizes["newest snapshot"] == place.newest_table.stat().st_size
    assert sizes["older snapshots"] == place.oldest_table.stat().st_size
    assert sizes["not journalkit's"] == 12
    assert sizes["left over, swept at the next open"] == 4
    assert sizes["quarantine"] == 10
    assert told["size_bytes"] == sum(path.stat().st_size for path in place.path.rglob("*") if path.is_file())
    assert "total" in run("du", place).out


def test_du_beside_a_writer_counts_the_prepared_log(run: Run, tmp_path: Any) -> None:
    """Room that is set aside ahead is told as that."""
    with journalkit.open(tmp_path / "s", compaction="manual", segment_bytes_max=8192) as store:
        for number in range(5):
            store[number] = "x" * 1000
        kinds = run("du", tmp_path / "s", "--json").json["kinds"]
    assert "log, needed" in kinds


def test_a_journal_is_told_from_a_store(run: Run, journal: Any, place: Any) -> None:
    """Each command says which of the two it works on."""
    assert "journal, values as cbor" in run("info", journal).out
    assert run("verify", journal).code == 0
    assert run("du", journal).code == 0
    for command in (["get", journal, "k"], ["scan", journal], ["dump", journal], ["put", journal, "k", "1"]):
        ran = run(*command)
        assert ran.code == 2
        assert "journal" in ran.err


def test_the_current_directory_is_the_default(run: Run, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody stands in the directory already."""
    monkeypatch.chdir(place.path)
    assert run("verify").code == 0
    assert run("scan", "--limit", 1).out == "7\tnull\n"


def test_a_segment_pruned_while_the_log_is_read_is_no_error(
    run: Run, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a live writer a file may go between the look and the reading; what is left is shown."""
    from journalkit.cli import log

    read_kept, calls = log.read_kept, []

    def pruned_once(*args: Any, **kwargs: Any) -> int:
        calls.append(kwargs["after_lsn"])
        if len(calls) == 1:
            raise FileNotFoundError
        return read_kept(*args, **kwargs)

    monkeypatch.setattr(log, "read_kept", pruned_once)
    ran = run("log", place, "--json")
    assert (ran.code, len(ran.lines), calls) == (0, 42, [0, 0])
