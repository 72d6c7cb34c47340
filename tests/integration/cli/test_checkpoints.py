"""`journalkit checkpoints`: what a person sees of a job's checkpoints, and can do to them."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit import Keyed, Shard, open_worker
from journalkit.checkpoint.open import open_checkpoints
from journalkit.format import names
from journalkit.testing import SimulatedClock
from tests.integration.cli.conftest import Ran

LONG = 100_000


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Return a directory with three checkpoints: the first has a name, all have a loss."""
    path = tmp_path / "job"
    clock = SimulatedClock()
    with open_checkpoints(path, clock=clock) as checkpoints:
        for number in range(1, 4):
            clock.advance(3600)
            checkpoints.save(
                {"step": number, "model": {"w": bytes([number]) * LONG}, "seen": ["a", "b"], "log": [b"x" * LONG, 5]},
                offsets={"orders/0": 10 * number},
                metadata={"git": "abc"},
                metrics={"loss": 1 / number},
                name="before the change" if number == 1 else None,
            )
    return path


def test_the_list_is_newest_first_with_names_and_metrics(run: Callable[..., Ran], job: Path) -> None:
    """What somebody looks at to choose one."""
    said = run("checkpoints", "list", job)
    assert said.code == 0
    assert [line.split() for line in said.out.splitlines()] == [
        ["id", "saved", "name", "loss"],
        ["1.3", "2026-01-01", "03:00:00Z", "0.333333"],
        ["1.2", "2026-01-01", "02:00:00Z", "0.5"],
        ["1.1", "2026-01-01", "01:00:00Z", "before", "the", "change", "1"],
    ]
    short = run("checkpoints", "list", job, "--limit", 1)
    assert (len(short.out.splitlines()), short.err) == (2, "2 more\n")
    told = run("checkpoints", "list", job, "--json").json
    assert [each["id"] for each in told] == ["1.3", "1.2", "1.1"]
    assert told[2] == {
        "id": "1.1", "saved": "2026-01-01T01:00:00+00:00", "name": "before the change", "restores": None,
        "metrics": {"loss": 1.0},
    }  # fmt: skip


@pytest.mark.parametrize("which", [[], ["latest"], ["1.3"]])
def test_one_is_shown_with_what_its_state_is_made_of(run: Callable[..., Ran], job: Path, which: list[str]) -> None:
    """Without the job's classes, and without reading what is long."""
    said = run("checkpoints", "show", job, *which)
    assert said.code == 0
    lines = [line.split() for line in said.out.splitlines()]
    for wanted in (
        "checkpoint 1.3", "name none", "orders/0 30", "loss 0.333333", "step 3", "model w bytes 97.7 KiB",
        'seen ["a", "b"]', "log 0 bytes 97.7 KiB", "log 1 5", 'metadata {"git": "abc"}',
    ):  # fmt: skip
        assert wanted.split() in lines, said.out


def test_buffers_and_empty_maps_are_shown_as_what_they_are(run: Callable[..., Ran], tmp_path: Path) -> None:
    """Short ones too, and in a list."""
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save({"b": bytearray(b"xy"), "none": OrderedDict(), "l": [bytearray(b"z"), memoryview(b"abc")]})
    said = run("checkpoints", "show", tmp_path)
    lines = [line.split() for line in said.out.splitlines()]
    for wanted in ("b bytearray 2 B", "none {}", "l 0 bytearray 1 B", "l 1 memoryview 3 B"):
        assert wanted.split() in lines, said.out


def test_a_long_state_is_shown_in_short(run: Callable[..., Ran], tmp_path: Path) -> None:
    """And in full where a program reads it."""
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save({f"key-{number}": number for number in range(100)})
    assert "60 more" in run("checkpoints", "show", tmp_path).out
    assert len(run("checkpoints", "show", tmp_path, "--json").json["state"]) == 100


def test_a_store_is_shown_by_what_it_is(run: Callable[..., Ran], tmp_path: Path) -> None:
    """Its LSN tells which moment; and a restore that was cut short is told as that by who looks at the directory."""
    with open_checkpoints(tmp_path / "job") as checkpoints, journalkit.open("memory://", compaction="manual") as store:
        store["a"] = 1
        checkpoints.save({"db": store, "list": [store, 1]})
    said = run("checkpoints", "show", tmp_path / "job")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert any(re.fullmatch(r"db store, LSN 1, 1 table \d+ B", line) for line in lines), said.out
    assert any(re.fullmatch(r"list 0 store, LSN 1, 1 table \d+ B", line) for line in lines), said.out
    (tmp_path / "new").mkdir()
    for name in ("restore.tmp", "table-0000000000000001.jkt"):
        (tmp_path / "new" / name).touch()
    for command in ("verify", "info"):
        said = run(command, tmp_path / "new")
        assert said.code == 2
        assert "a restore was cut short" in said.err


def test_what_several_workers_gave_is_shown_by_rank(run: Callable[..., Ran], tmp_path: Path) -> None:
    """And needs no rule for what goes where in one process."""
    first, second = (open_worker(tmp_path, rank=rank, size=2, run="r") for rank in range(2))
    with first, second:
        other = threading.Thread(target=lambda: second.save({"mine": "second", "counts": Keyed(groups=1)}))
        other.start()
        part = Shard(np.zeros(20_000), (40_000,), (0,))
        first.save({"mine": "first", "counts": Keyed({"a": 1, "b": 2}, groups=1), "w": part})
        other.join()
    said = run("checkpoints", "show", tmp_path)
    lines = [line.split() for line in said.out.splitlines()]
    for wanted in (
        "workers 2", "rank 0 mine first", "rank 1 mine second", "rank 0 counts 2 keys in 1 groups",
        "rank 0 w <f8 (20000,) at (0,) of (40000,) 156.2 KiB",
    ):  # fmt: skip
        assert wanted.split() in lines, said.out
    assert run("checkpoints", "show", tmp_path, "--json").json["workers"] == 2
    assert run("checkpoints", "verify", tmp_path).code == 0


def test_showing_tells_programs_everything(run: Callable[..., Ran], job: Path) -> None:
    """In the lossless form of JSON."""
    told = run("checkpoints", "show", job, "before the change", "--json").json
    assert (told["id"], told["offsets"], told["metadata"]) == ("1.1", {"orders/0": 10}, {"git": "abc"})
    assert {"at": {"$tuple": ["model", "w"]}, "kind": "bytes", "size_bytes": LONG} in told["state"]


def test_verify_reads_all_of_it_and_says_what_is_damaged(run: Callable[..., Ran], job: Path) -> None:
    """The newest, one, or all; the exit code tells a script."""
    assert run("checkpoints", "verify", job).code == 0
    pack = job / names.pack_key(1, 2, 0)
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    pack.write_bytes(bytes(data))
    assert run("checkpoints", "verify", job, "1.2").code == 2
    said = run("checkpoints", "verify", job, "--all")
    assert said.code == 2
    assert "1 of 3 checkpoints is damaged" in said.out
    assert str(pack) in said.out
    told = run("checkpoints", "verify", job, "--all", "--json").json
    assert [(each["id"], each["sound"]) for each in told] == [("1.3", True), ("1.2", False), ("1.1", True)]


def test_verify_looks_at_the_newest_though_it_is_damaged(run: Callable[..., Ran], job: Path) -> None:
    """Who loads the latest would get an older one; who verifies it wants to know."""
    (job / names.checkpoint_key(1, 3)).unlink()
    said = run("checkpoints", "verify", job)
    assert said.code == 2
    assert "missing" in said.out


def test_deleting_and_pruning_beside_the_job(run: Callable[..., Ran], job: Path) -> None:
    """What would be done is told first; the job goes on."""
    with open_checkpoints(job) as running:
        assert run("checkpoints", "delete", job, "1.2").out == "deleted 1.2, saved 2026-01-01 02:00:00Z\n"
        dry = run("checkpoints", "prune", job, "--last", 1, "--dry-run", "--json").json
        assert dry == {"dry_run": True, "deleted": [], "forgotten": [], "remaining": 0, "objects": 0, "freed_bytes": 0}
        would = run("checkpoints", "prune", job, "--trash-period", "0s", "--dry-run")
        assert "2 objects of " in would.out
        assert (job / names.pack_key(1, 2, 0)).exists()
        done = run("checkpoints", "prune", job, "--trash-period", "0s")
        assert done.out == would.out.replace("would be ", "")
        assert not (job / names.pack_key(1, 2, 0)).exists()
        running.save({"step": 4})
        assert [each.id for each in running] == ["2.1", "1.3", "1.1"]


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        (["--last", "2"], ["1.3", "1.2", "1.1"]),
        (["--last", "1"], ["1.3", "1.1"]),
        (["--best", "loss:max=2"], ["1.3", "1.2", "1.1"]),
        (["--best", "loss=1"], ["1.3", "1.1"]),
        (["--every", "1h=2h"], ["1.3", "1.2", "1.1"]),
        (["--every", "2h=1d"], ["1.3", "1.1"]),
        ([], ["1.3", "1.2", "1.1"]),
    ],
)
def test_rules_are_said_in_words(run: Callable[..., Ran], job: Path, rule: list[str], left: list[str]) -> None:
    """And joined by "or"; what has a name stays."""
    assert run("checkpoints", "prune", job, *rule).code == 0
    assert [each["id"] for each in run("checkpoints", "list", job, "--json").json] == left


def test_du_tells_what_is_shared(run: Callable[..., Ran], job: Path) -> None:
    """What would be free if one went."""
    told = run("checkpoints", "du", job, "--json").json
    assert [each["total_bytes"] for each in told] == [2 * LONG] * 3
    assert [each["own_bytes"] for each in told] == [LONG + 64, LONG + 64, 0]
    assert "97.7 KiB" in run("checkpoints", "du", job).out


def test_a_copy_is_a_checkpoint_of_the_other_place(run: Callable[..., Ran], job: Path, tmp_path: Path) -> None:
    """Whole, by itself, and none is touched that isn't asked for."""
    said = run("checkpoints", "copy", job, tmp_path / "other", "1.2", "--name", "kept")
    assert (said.code, said.out.count("copied 1.2 of ")) == (0, 1)
    assert run("checkpoints", "copy", job, tmp_path / "other", "--json").json["to"] == "2.1"
    shown = run("checkpoints", "show", tmp_path / "other", "kept", "--json").json
    assert (shown["offsets"], shown["metrics"]) == ({"orders/0": 20}, {"loss": 0.5})
    assert shown["saved"] == run("checkpoints", "show", job, "1.2", "--json").json["saved"]
    assert run("checkpoints", "verify", tmp_path / "other", "--all").code == 0
    assert run("checkpoints", "copy", job, "ftp://x").code == 64
    assert run("checkpoints", "copy", job, tmp_path / "third", "9.9").code == 2
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prune", "JOB", "--every", "1h"], "INTERVAL=TIME"),
        (["prune", "JOB", "--every", "1=2h"], "no time"),
        (["prune", "JOB", "--every", "0s=2h"], "no interval"),
        (["prune", "JOB", "--best", "loss"], "METRIC=N"),
        (["prune", "JOB", "--last", "0"], "whole number"),
        (["prune", "JOB", "--trash-period", "soon"], "no time"),
        (["list", "ftp://x"], "scheme"),
        (["list"], "URL"),
        ([], "ACTION"),
        (["draw", "JOB"], "draw"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_wrong_usage(
    run: Callable[..., Ran], job: Path, arguments: list[str], words: str
) -> None:
    """Exit 64 and one line, and nothing was done."""
    said = run("checkpoints", *[str(job) if each == "JOB" else each for each in arguments])
    assert said.code == 64
    assert words in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("action", ["list", "show", "verify", "prune", "delete", "du"])
def test_a_place_without_checkpoints_is_told_in_one_line(run: Callable[..., Ran], tmp_path: Path, action: str) -> None:
    """A wrong path makes no new job."""
    extra = ["1.1"] if action == "delete" else []
    said = run("checkpoints", action, tmp_path / "nothing", *extra)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert "there are no checkpoints at" in said.err
    assert not (tmp_path / "nothing").exists()


def test_nothing_saved_yet_is_no_error_to_look_at(run: Callable[..., Ran], tmp_path: Path) -> None:
    """A job that has just begun."""
    open_checkpoints(tmp_path).close()
    said = run("checkpoints", "list", tmp_path)
    assert (said.code, said.err) == (0, f"no checkpoints at {tmp_path}\n")
    assert json.loads(run("checkpoints", "list", tmp_path, "--json").out) == []
    assert run("checkpoints", "verify", tmp_path, "--all").code == 0
    for action in ("show", "verify"):
        said = run("checkpoints", action, tmp_path)
        assert (said.code, "no checkpoints yet" in said.err) == (2, True)


def test_looking_changes_no_byte(run: Callable[..., Ran], job: Path) -> None:
    """Nor when a file was touched last."""

    def seen() -> dict[str, Any]:
        return {str(path): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in job.rglob("*")}

    before = seen()
    for action in ("list", "show", "verify", "du"):
        assert run("checkpoints", action, job).code == 0
    assert run("checkpoints", "prune", job, "--last", 1, "--dry-run").code == 0
    assert seen() == before


@pytest.mark.parametrize("options", [("--every", "9999999999999999w=1d"), ("--trash-period", "9999999999999999w")])
def test_a_giant_time_is_a_time(run: Callable[..., Ran], job: Path, options: tuple[str, str]) -> None:
    """And no defect."""
    said = run("checkpoints", "prune", job, *options)
    assert (said.code, said.err) == (0, "")


def test_a_copy_under_no_name_takes_over_nothing(run: Callable[..., Ran], job: Path, tmp_path: Path) -> None:
    """The job that runs in the other place goes on."""
    with open_checkpoints(tmp_path / "other") as running:
        said = run("checkpoints", "copy", job, tmp_path / "other", "--name", "latest")
        assert (said.code, "name='latest'" in said.err) == (64, True)
        running.save({"step": 1})
