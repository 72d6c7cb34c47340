"""The demo does what it says it does, and says so when it doesn't."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import journalkit
from journalkit.cli import demo_worker, main
from journalkit.cli.demo_input import Input, folder_input, plain_count, standard_library, words_of
from journalkit.cli.demo_lives import Hit, Worker, what_was_hit
from journalkit.cli.demo_result import FOLDS_MIN, Result, judge
from journalkit.cli.demo_run import KILLS, Course, Kill, make_schedule
from journalkit.cli.demo_show import show_result
from journalkit.fs.posix import PosixFileSystem
from journalkit.manifest import read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some text, the same every time, with bytes that are no UTF-8 and a line over several chunks."""
    chance = random.Random(5)
    place = tmp_path / "text"
    place.mkdir()
    for number in range(6):
        lines = [" ".join(f"word{chance.randrange(3000)}" for _ in range(10)) for _ in range(120)]
        (place / f"{number}.txt").write_text("\n".join([*lines, "x" * 3000, "Ünïcode ist ein WORT"]), encoding="utf-8")
    (place / "latin.txt").write_bytes(b"caf\xe9 caf\xe9\n" * 20)
    (place / "picture.bin").write_bytes(b"\0" * 100)
    return place


def test_a_small_demo_passes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole of it, small: kills, recoveries, folds, and counts that agree in the end."""
    # Its moments are the clock's. Where the processor is busy elsewhere, workers take seconds to begin, and what a
    # bound time should hold is left out: then the same is asked of more time, while nothing may be wrong in any.
    for seconds in (8, 20, 45):
        path = tmp_path / f"kept-{seconds}"
        arguments = ["--folder", str(folder), "--kills", "6", "--seconds", str(seconds), "--seed", "1"]
        code = main(["demo", "--json", *arguments, "--path", str(path)])
        out, err = capsys.readouterr()
        told = json.loads(out)
        assert err == ""
        assert told["counts_agree"]
        assert told["acknowledged_lost"] == 0
        assert code == (0 if told["passed"] else 1)
        if told["passed"] and told["kills"] >= 3 and told["files"] == told["files_given"]:
            break
    assert told["passed"]
    assert told["kills"] >= 3
    assert told["kills_by_hit"]["fold"] >= 1
    assert told["background_folds"] >= FOLDS_MIN
    assert told["files"] == told["files_given"] == 7
    with journalkit.open(path, mode="r") as store:
        assert store["caf"] == 40
        assert told["different_words"] == len(store)


def test_a_demo_is_told_line_by_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no terminal is, there are plain lines: each recovery, and a closing table."""
    code = main(["demo", "--folder", str(folder), "--kills", "6", "--seconds", "6", "--seed", "1"])
    out, err = capsys.readouterr()
    assert code in (0, 1)
    assert err == ""
    assert "kill   1  " in out
    assert "the verdict" in out
    assert "\x1b" not in out


def test_a_worker_that_has_ended_can_be_asked_to_end(tmp_path: Path) -> None:
    """On a busy machine it was done before it was asked, and the demo took the closed pipe for a defect."""
    worker = Worker(str(tmp_path / "store"), str(tmp_path / "no text"), [])
    while not worker.ended:
        worker.listen(1.0)
    worker.finish()
    worker.dispose()
    assert worker.failure


def test_ctrl_c_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    """130, no traceback, no worker that goes on, no temporary directory."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "journalkit", "demo", "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    assert process.stdout is not None
    while b"kill" not in process.stdout.readline() or not any(temporary.glob("*/store")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
    assert not list(temporary.iterdir())
    assert str(temporary) not in _command_lines()


def _command_lines() -> str:
    """Return the command lines of all processes, where they can be had."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_a_worker_whose_parent_is_gone_ends(folder: Path, tmp_path: Path) -> None:
    """A demo that is killed itself must not leave a process at work for ever."""
    text = folder_input(str(folder))
    text.save(str(tmp_path / "input.json"))
    options = ["--chunk-bytes=200", "--fold-bytes-min=1000", "--bytes-per-s=100"]
    command = ["-m", "journalkit.cli.demo_worker", str(tmp_path / "store"), str(tmp_path / "input.json"), *options]
    with subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert json.loads(worker.stdout.readline()) == {"event": "opening"}
        worker.stdin.close()
        assert worker.wait(timeout=20) != 0


class NoOrders:
    """A parent who wants nothing."""

    finish = False


def counted(tmp_path: Path, text: Input, monkeypatch: pytest.MonkeyPatch) -> Course:
    """Let the worker count everything in this process, without a kill, and return that course."""
    told: list[str] = []
    monkeypatch.setattr(demo_worker, "tell", lambda event, **fields: told.append(event))
    with journalkit.open(tmp_path / "store", sync="never") as store:
        demo_worker.count_all(store, text, 100, demo_worker.Pace(0), NoOrders())  # type: ignore[arg-type]
    assert set(told) == {"committed"}
    return Course(position=(len(text.files), 0), snapshots={1, 2, 3})


def judged(tmp_path: Path, text: Input, course: Course) -> Result:
    """Judge the store that `counted` made."""
    return judge(str(tmp_path / "store"), text, course, 0, lambda _amount: None)


def test_counts_that_differ_fail_the_demo(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A judge that never condemns is none: one word counted once too often, and one lost."""
    text = folder_input(str(folder))
    course = counted(tmp_path, text, monkeypatch)
    course.kills.append(Kill(1, 1.0, "fold", "fold", (0, 0)))
    assert judged(tmp_path, text, course).passed
    with journalkit.open(tmp_path / "store") as store:
        store["word1"] += 1
        del store["word2"]
    result = judged(tmp_path, text, course)
    assert not result.passed
    assert [word for word, _, _ in result.wrong] == ["word1", "word2"]
    show_result(result, kept=None, as_json=False)
    assert "a defect in journalkit" in capsys.readouterr().out


@pytest.mark.parametrize("lacking", ["folds", "a kill inside a fold", "an acknowledged position"])
def test_a_demo_that_showed_too_little_fails(
    lacking: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts that agree prove little if nothing was folded, or no kill was dangerous."""
    text = folder_input(str(folder))
    course = counted(tmp_path, text, monkeypatch)
    hit: Hit = "append" if lacking == "a kill inside a fold" else "fold"
    course.kills.append(Kill(1, 1.0, "fold", hit, (0, 0), lost=lacking == "an acknowledged position"))
    if lacking == "folds":
        course.snapshots = {1, 2}
    result = judged(tmp_path, text, course)
    assert result.counts_agree
    assert not result.passed
    show_result(result, kept="there", as_json=False)
    assert "NO" in capsys.readouterr().out


def test_chunks_are_counted_as_whole_files_are(folder: Path) -> None:
    """Worker and judge cut the text differently; if that showed, the demo would condemn the innocent."""
    text = folder_input(str(folder))
    plain = plain_count(text.files, lambda _amount: None)
    by_line = sum(len(words_of(line)) for path in text.files for line in Path(path).read_bytes().splitlines(True))
    assert plain.total() == by_line
    assert plain["ünïcode"] == 6
    assert plain["caf"] == 40


@pytest.mark.parametrize(("seconds", "kills"), [(None, None), (None, 3), (20.0, None), (None, 200), (60.0, 10)])
def test_a_schedule_keeps_to_what_was_asked(seconds: float | None, kills: int | None) -> None:
    """Under thirty seconds if nothing is asked, and never longer than asked."""
    schedule = make_schedule(standard_library(), seconds, kills)
    assert schedule.killing_s < schedule.seconds
    assert schedule.seconds <= (seconds or max(25, 200))
    assert schedule.kills == (kills or (KILLS if seconds is None else round(seconds * 0.8 / 0.7)))
    assert KILLS >= 25


@pytest.mark.parametrize(
    ("left_behind", "hit"),
    [
        ("table-{next_table}.jkt.tmp", "fold"),
        ("table-{next_table}.jkt", "fold"),
        ("MANIFEST.tmp", "publish"),
        ("log-{next_segment}.jks", "rotate"),
        ("log-{old_segment}.jks", "prune"),
        ("something", "append"),
    ],
)
def test_what_a_kill_hit_is_read_from_what_it_left(left_behind: str, hit: str, tmp_path: Path) -> None:
    """The demo promises a kill inside a fold: the directory is the witness."""
    path = tmp_path / "store"
    journalkit.open(path).close()
    journalkit.open(path).close()
    manifest = read_manifest(PosixFileSystem(), str(path))
    assert manifest is not None
    numbers = {
        "next_table": f"{manifest.next_table:016}",
        "next_segment": f"{manifest.next_segment:016}",
        "old_segment": f"{1:016}",
    }
    (path / left_behind.format(**numbers)).write_bytes(b"")
    assert what_was_hit(str(path)) == hit


def test_wrong_arguments_are_refused_before_anything_happens(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory that is somebody's is never written to; too little text says so."""
    assert main(["demo", "--path", str(folder)]) == 64
    small = tmp_path / "small"
    small.mkdir()
    (small / "a.txt").write_text("few words")
    assert main(["demo", "--folder", str(small)]) == 2
    assert main(["demo", "--folder", str(small / "a.txt")]) == 2
    assert main(["demo", "--kills", "0"]) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert not list(folder.glob("MANIFEST"))


def test_a_worker_that_gives_up_is_told_in_a_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that can't be created is an error of the machine, and the demo's own line says which."""
    (tmp_path / "file").write_text("")
    assert main(["demo", "--folder", str(folder), "--path", str(tmp_path / "file" / "store"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
