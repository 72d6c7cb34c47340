"""`journalkit checkpoints diff`, `restore` and `watch`: what a person does after a bad night."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journalkit.checkpoint import watching
from journalkit.checkpoint.open import open_checkpoints
from journalkit.checkpoint.watching import Notice
from journalkit.cli import checkpoint_restore, main
from journalkit.errors import ArchiveUnavailableError, FencedError
from journalkit.format import names
from journalkit.testing import SimulatedClock
from tests.integration.cli.conftest import Ran

LONG = 100_000


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Return a directory with three checkpoints, the first of which has a name."""
    path = tmp_path / "job"
    clock = SimulatedClock()
    with open_checkpoints(path, clock=clock) as checkpoints:
        for number in range(1, 4):
            clock.advance(3600)
            checkpoints.save(
                {"step": number, "note": "x" * 100, "w": np.full(40_000, number, "f4"), "same": b"y" * LONG},
                offsets={"orders/0": 10 * number},
                metrics={"loss": 1 / number},
                name="good" if number == 1 else None,
            )
    return path


# -- diff ------------------------------------------------------------------------------------------


def test_a_difference_is_shown_place_by_place(run: Callable[..., Ran], job: Path) -> None:
    """With values where they are short, and what of it is long."""
    said = run("checkpoints", "diff", job, "good")
    assert (said.code, said.err) == (0, "")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    for wanted in (
        "before 1.1 saved 2026-01-01 01:00:00Z, good", "after 1.3 saved 2026-01-01 03:00:00Z", "both have 97.7 KiB",
        "only 1.1 156.2 KiB", "step changed 1 3", "orders/0 changed 10 30",
        "w changed array float32 (40000,) array float32 (40000,) 156.2 KiB 156.2 KiB",
        "loss changed 1.0 0.3333333333333333",
    ):  # fmt: skip
        assert wanted in lines, said.out
    assert not any(line.startswith(("same", "note")) for line in lines)


def test_a_difference_is_told_to_programs(run: Callable[..., Ran], job: Path) -> None:
    """In the lossless form of JSON."""
    told = run("checkpoints", "diff", job, "1.2", "1.3", "--json").json
    assert (told["first"]["id"], told["second"]["id"]) == ("1.2", "1.3")
    assert told["state"] == [
        {
            "at": {"$tuple": ["step"]}, "what": "changed", "before": "int", "after": "int", "size_bytes": 0,
            "differing_bytes": 0, "old": 2, "new": 3,
        },
        {
            "at": {"$tuple": ["w"]}, "what": "changed", "before": "array float32 (40000,)",
            "after": "array float32 (40000,)", "size_bytes": 160_000, "differing_bytes": 160_000,
        },
    ]  # fmt: skip
    assert (told["shared_bytes"], told["first_bytes"], told["second_bytes"]) == (LONG, 160_000, 160_000)


def test_nothing_and_much_are_said_in_few_words(run: Callable[..., Ran], job: Path, tmp_path: Path) -> None:
    """A line, or forty and how many more."""
    assert "nothing differs" in run("checkpoints", "diff", job, "latest").out
    with open_checkpoints(tmp_path / "wide") as checkpoints:
        checkpoints.save({f"key-{number}": number for number in range(50)})
        checkpoints.save({f"key-{number}": "text" * 50 for number in range(50)})
    said = run("checkpoints", "diff", tmp_path / "wide", "1.1").out
    assert "10 more in state: --json has all" in said
    assert "texttexttexttexttexttexttextt…" in said
    assert len(run("checkpoints", "diff", tmp_path / "wide", "1.1", "--json").json["state"]) == 50


# -- restore ---------------------------------------------------------------------------------------


def test_a_restored_one_is_the_newest_and_is_listed_as_what_it_is(run: Callable[..., Ran], job: Path) -> None:
    """And the way back is said at once."""
    said = run("checkpoints", "restore", job, "good", "--yes")
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        f"restored 1.1, saved 2026-01-01 01:00:00Z, as 2.1; `journalkit checkpoints restore {job} 1.3` undoes it\n"
    )
    listed = run("checkpoints", "list", job)
    assert listed.out.splitlines()[0].split() == ["id", "saved", "name", "restores", "loss"]
    assert listed.out.splitlines()[1].split()[::3] == ["2.1", "1.1"]
    assert ["restores", "1.1"] in [line.split() for line in run("checkpoints", "show", job).out.splitlines()]
    assert [each["restores"] for each in run("checkpoints", "list", job, "--json").json] == ["1.1", None, None, None]
    assert run("checkpoints", "show", job, "--json").json["offsets"] == {"orders/0": 10}
    assert "nothing differs" in run("checkpoints", "diff", job, "good").out
    undone = run("checkpoints", "restore", job, "1.3", "--yes", "--name", "undone", "--json").json
    assert undone == {"restored": "1.3", "id": "3.1", "name": "undone", "newest_before": "2.1"}
    assert run("checkpoints", "verify", job, "--all").code == 0


def test_restoring_the_newest_has_nothing_to_undo(run: Callable[..., Ran], job: Path) -> None:
    """It is done all the same: the newest may be a damaged one, and latest an older one then."""
    assert run("checkpoints", "restore", job, "latest", "--yes").out.endswith("as 2.1\n")
    (job / names.checkpoint_key(2, 1)).unlink()
    with pytest.warns(UserWarning, match="passed over"):
        told = run("checkpoints", "restore", job, "latest", "--yes", "--json").json
    assert (told["restored"], told["newest_before"]) == ("1.3", "2.1")


def test_a_job_that_runs_is_fenced_only_with_consent(run: Callable[..., Ran], job: Path) -> None:
    """Nobody is asked where nobody sits: --yes says it."""
    with open_checkpoints(job) as running:
        said = run("checkpoints", "restore", job, "good")
        assert (said.code, said.out) == (64, "")
        assert "say --yes" in said.err
        for arguments in (["9.9", "--yes"], ["good", "--yes", "--name", "latest"]):
            assert run("checkpoints", "restore", job, *arguments).code in (2, 64)
        running.save({"step": 4})
        assert run("checkpoints", "restore", job, "good", "--yes").code == 0
        with pytest.raises(FencedError):
            running.save({"step": 5})


def test_without_any_standard_input_nobody_is_asked(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever started the program has closed it."""
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["checkpoints", "restore", str(job), "good"]) == 64


def test_one_whose_manifest_is_damaged_fences_nobody(run: Callable[..., Ran], job: Path) -> None:
    """It is looked at before the place is taken over."""
    (job / names.checkpoint_key(1, 1)).unlink()
    with open_checkpoints(job) as running:
        said = run("checkpoints", "restore", job, "good", "--yes")
        assert (said.code, "missing" in said.err) == (2, True)
        running.save({"step": 4})


@pytest.mark.parametrize(
    ("answer", "is_done"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_on_a_terminal_it_is_asked_for(
    run: Callable[..., Ran], job: Path, monkeypatch: pytest.MonkeyPatch, answer: str, is_done: bool
) -> None:
    """With what will happen; anything but yes changes nothing."""
    monkeypatch.setattr(checkpoint_restore, "is_terminal", lambda _stream: True)
    before = sorted(str(path) for path in job.rglob("*"))
    said = run("checkpoints", "restore", job, "good", stdin=answer.encode())
    assert "a job that runs there is fenced" in said.err
    assert "restore it? [y/N] " in said.err
    assert said.code == (0 if is_done else 2)
    assert ("nothing was restored" in said.err, said.out == "") == (not is_done, not is_done)
    assert (sorted(str(path) for path in job.rglob("*")) == before) == (not is_done)


# -- watch -----------------------------------------------------------------------------------------


def test_what_is_there_is_printed_from_one_on(run: Callable[..., Ran], job: Path) -> None:
    """A line each, as a list has them."""
    run("checkpoints", "delete", job, "1.2")
    run("checkpoints", "restore", job, "good", "--yes")
    said = run("checkpoints", "watch", job, "--from", "1.1", "--timeout", "0")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[:4] == [
        "1.1  2026-01-01 01:00:00Z  good  loss=1",
        "gap: 1.2 isn't there: let go before it was seen, or never published",
        "1.3  2026-01-01 03:00:00Z  loss=0.333333",
        "epoch 2: another writer took over",
    ]
    assert lines[4].startswith("2.1  ")
    assert "restores 1.1" in lines[4]
    told = run("checkpoints", "watch", job, "--from", "1.1", "--timeout", "0s", "--json").lines
    assert [each["kind"] for each in told] == ["checkpoint", "gap", "checkpoint", "epoch", "checkpoint"]
    assert told[1] == {"kind": "gap", "epoch": 1, "first": "1.2", "last": "1.2"}
    assert told[3] == {"kind": "epoch", "epoch": 2}
    assert (told[4]["id"], told[4]["restores"]) == ("2.1", "1.1")


def test_it_ends_once_so_many_were_printed(run: Callable[..., Ran], job: Path) -> None:
    """And says so if the time was up before."""
    said = run("checkpoints", "watch", job, "--from", "good", "--count", 2)
    assert (said.code, len(said.out.splitlines())) == (0, 2)
    said = run("checkpoints", "watch", job, "--count", 2, "--timeout", "0.01")
    assert (said.code, said.out, said.err) == (2, "", "0 of 2 checkpoints published in 0.01 s\n")


def test_several_that_were_missed_are_one_line(run: Callable[..., Ran], job: Path) -> None:
    """From the first to the last."""
    run("checkpoints", "delete", job, "1.1", "1.2")
    out = run("checkpoints", "watch", job, "--from", "1.1", "--count", 1).out
    assert out.startswith("gap: 1.1 to 1.2 aren't there")


class Sleeping(SimulatedClock):
    """A clock whose sleep somebody ends."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def sleep(self, duration_s: float) -> None:
        super().sleep(duration_s)
        self._act()


def interrupted() -> None:
    """Press Ctrl-C."""
    raise KeyboardInterrupt


def test_ctrl_c_ends_it_quietly(run: Callable[..., Ran], job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the code of all commands."""
    monkeypatch.setattr("journalkit.checkpoint.open.SystemClock", lambda: Sleeping(interrupted))
    said = run("checkpoints", "watch", job, "--from", "1.3")
    assert (said.code, len(said.out.splitlines()), said.err) == (130, 1, "")


class Closed(io.StringIO):
    """A pipe whose reader went away."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_reader_that_went_away_ends_it_quietly(
    run: Callable[..., Ran], job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `head` does."""
    monkeypatch.setattr(sys, "stdout", Closed())
    said = run("checkpoints", "watch", job, "--from", "1.1")
    assert (said.code, said.err) == (141, "")


def test_a_place_that_cant_be_reached_is_told_on_standard_error(
    run: Callable[..., Ran], job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and it goes on."""

    def notices(*_: Any, **__: Any) -> Iterator[Notice]:
        yield Notice("unavailable", 1, error=ArchiveUnavailableError("the service can't be reached"))
        yield Notice("epoch", 2)

    monkeypatch.setattr("journalkit.checkpoint.looking.notices", notices)
    said = run("checkpoints", "watch", job)
    assert said.err == "the service can't be reached: asked again until it answers\n"
    assert said.out == "epoch 2: another writer took over\n"
    assert watching.PAUSE_MAX_S == 60


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diff", "JOB"], "A"),
        (["restore", "JOB"], "CHECKPOINT"),
        (["restore", "JOB", "good", "--to", "x", "--yes"], "leave --name and --yes out"),
        (["restore", "JOB", "good", "--to", "x", "--name", "y"], "leave --name and --yes out"),
        (["watch", "JOB", "--interval", "0"], "interval"),
        (["watch", "JOB", "--interval", "soon"], "no time"),
        (["watch", "JOB", "--interval", "1e5000x0"], "no number of seconds"),
        (["watch", "JOB", "--interval", "1e9"], "a day at most"),
        (["watch", "JOB", "--timeout", "-1"], "no time"),
        (["watch", "JOB", "--count", "0"], "whole number"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_wrong_usage(
    run: Callable[..., Ran], job: Path, arguments: list[str], words: str
) -> None:
    """Exit 64 and no traceback, and nothing was done."""
    said = run("checkpoints", *[str(job) if each == "JOB" else each for each in arguments])
    assert said.code == 64
    assert words in said.err


@pytest.mark.parametrize("arguments", [["diff", "1.1"], ["restore", "1.1", "--yes"], ["watch"]])
def test_a_place_without_checkpoints_is_told_and_not_made(
    run: Callable[..., Ran], tmp_path: Path, arguments: list[str]
) -> None:
    """A wrong path makes no new job."""
    said = run("checkpoints", arguments[0], tmp_path / "nothing", *arguments[1:])
    assert (said.code, said.out) == (2, "")
    assert "there are no checkpoints at" in said.err
    assert not (tmp_path / "nothing").exists()
