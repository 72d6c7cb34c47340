"""The fuzzer is worth what it finds: its canaries, its checksums, and every input that ever found something."""

from __future__ import annotations

import importlib.util
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import fuzzing
import pytest
from units import Unit

from fuzz import __main__ as program
from fuzz import directories, session
from fuzz.child import Order, Watch
from fuzz.corpus import FOLDER, stored
from fuzz.notes import Notes
from fuzz.session import Limits
from fuzz.target import INPUT_BYTES_MAX
from fuzz.targets import CANARIES, TARGETS, target_named
from journalkit.format import manifest, names

QUICK = Limits(input_s=0.25)
"""For canaries: they loop and wait until they are stopped."""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a session leaves what it leaves."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", TARGETS)
def test_every_stored_input_and_every_seed_is_answered(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finding that was mended stays mended, without atheris and without chance."""
    monkeypatch.setattr("tempfile.tempdir", session.MEMORY or str(tmp_path))
    target = target_named(name)
    for data in [*stored(name), *target.seeds(Random(1))]:
        assert len(data) <= INPUT_BYTES_MAX
        target.run(data)


def test_the_corpus_is_small_and_belongs_to_targets() -> None:
    """It is cloned by everybody, and replayed at every test run."""
    files = [path for path in FOLDER.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert {path.parent.name for path in files} <= set(TARGETS)
    assert sum(path.stat().st_size for path in files) < 1 << 20
    assert max(map(len, (stored(name) for name in TARGETS))) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("name", CANARIES)
def test_blind_mutation_finds_every_canary(name: str, temporary: Path) -> None:
    """A fuzzer that misses a planted bug says nothing when it finds nothing; this is what it falls back to."""
    found = session.run(name, seconds=60, engine="mutation", limits=QUICK)
    assert found.finding, found.line()
    assert f"python -m fuzz {name} --file" in found.finding
    assert found.artifact is not None
    assert found.artifact.is_relative_to(temporary)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris isn't installed")
@pytest.mark.parametrize("name", CANARIES)
def test_guided_by_coverage_it_finds_every_canary_too(name: str, temporary: Path) -> None:
    """The engine that CI runs is another one, with other ways to miss."""
    found = session.run(name, seconds=20, engine="atheris", limits=QUICK)
    assert found.finding, found.line()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris isn't installed")
def test_coverage_is_really_seen(temporary: Path) -> None:
    """Without instrumentation atheris runs all the same, blindly."""
    result = session.run("manifest", seconds=2, engine="atheris")
    assert result.edges > 100
    assert result.kept > 10
    assert not result.finding


@pytest.mark.parametrize(("name", "says"), [("canary-error", "IndexError"), ("canary-crash", "by SIGSEGV")])
def test_the_command_that_a_finding_prints_shows_it_again(name: str, says: str, temporary: Path) -> None:
    """A finding that can't be repeated is a rumour."""
    found = session.run(name, seconds=20, engine="mutation", limits=QUICK)
    _, command = found.finding.rsplit("again: ", 1)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "fuzz"]
    boot = f"import sys, runpy; sys.path[:] = {sys.path!r}; sys.argv = ['fuzz'] + sys.argv[1:]; "
    again = subprocess.run(
        [sys.executable, "-c", boot + "runpy.run_module('fuzz', run_name='__main__')", *words[3:]],
        check=False,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 1
    assert says in again.stderr


def test_nothing_is_left_behind_where_nothing_is_found(temporary: Path) -> None:
    """Runs by the thousand would fill the disk."""
    result = session.run("key", seconds=0.2, engine="mutation")
    assert (result.finding, result.artifact) == ("", None)
    assert result.inputs > 20
    assert list(temporary.iterdir()) == []


def test_two_runs_of_a_seed_are_the_same(temporary: Path) -> None:
    """The number of an input and the seed have to be worth something."""
    first, second = (session.run("canary-behind-checksums", seconds=20, seed=5, engine="mutation") for _ in range(2))
    assert (first.inputs, first.finding.splitlines()[0]) == (second.inputs, second.finding.splitlines()[0])
    assert first.inputs > 0


def test_without_atheris_it_says_so_and_goes_on(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Less is found then; whoever reads "nothing found" has to know."""
    monkeypatch.setattr(session, "has_atheris", lambda: False)
    monkeypatch.setattr(sys, "argv", ["fuzz", "batch", "--seconds", "0.2"])
    assert program.main() == 0
    said = capsys.readouterr().out
    assert "atheris isn't installed here, so inputs are mutated blindly" in said
    assert "mutation, seed 1: nothing found" in said
    monkeypatch.setattr(sys, "argv", ["fuzz", "batch", "--engine", "atheris"])
    assert program.main() == 1


def test_a_run_ends_by_the_processor_s_time_and_not_by_the_wall_s(temporary: Path) -> None:
    """Beside others on a busy machine a target has to be fuzzed as long as alone."""
    order = Order("key", "mutation", 1, 0.2, str(temporary), [], 5.0, 128, 512)
    Notes(temporary / "notes", create=True).close()
    watch = Watch(order, target_named("key"))
    try:
        time.sleep(0.3)
        assert not watch.is_over
        while time.process_time() < watch._end_cpu_s:
            pass
        assert watch.is_over
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)


def test_a_missed_canary_is_a_failure(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`canary` fails when the fuzzer is blind: here to what can't be found in no time by one of them."""
    monkeypatch.setattr(program, "CANARIES", ("batch",))
    monkeypatch.setattr(sys, "argv", ["fuzz", "canary", "--seconds", "0.1", "--engine", "mutation"])
    assert program.main() == 1
    assert "MISSED: batch" in capsys.readouterr().out


def test_sealing_leaves_what_is_sound_as_it_is() -> None:
    """So the checksums that mutation makes right are the format's own, and not merely some."""
    kept = {"store-empty", "store-all-keys", "store-all-values", "store-two-snapshots", "journal-many-segments"}
    files = [path for path in directories.GOLDEN.glob("format-*/*/*") if path.parent.name in kept]
    assert len({path.parent.name for path in files}) >= len(kept)
    for path in files:
        assert directories.sealed(path.name, path.read_bytes()) == path.read_bytes(), path
        changed = bytearray(path.read_bytes())
        changed[-1] ^= 1
        assert directories.sealed(path.name, bytes(changed)) != changed, path


def test_a_sealed_mutation_gets_past_the_checksums() -> None:
    """Without that nothing behind them is fuzzed: nine in ten changed manifests have to be read again."""
    whole = next(content for name, content in directories.golden_files() if name == names.MANIFEST)
    chance, read = Random(3), 0
    for _ in range(200):
        changed = directories.edit_manifest(whole, chance)
        try:
            manifest.decode_manifest(changed)
            read += 1
        except manifest.MalformedError as error:
            read += "damaged" not in str(error)
    assert read == 200


def test_a_directory_survives_being_an_input() -> None:
    """And names that lead elsewhere don't."""
    for items in directories.golden_directories():
        assert tuple(directories.unpack(directories.pack(items))) == items
    away = [directories.Item(name, b"x") for name in ("../x", "/x", "a/b", "..", "", "a\0b", "quarantine/../x")]
    assert directories.unpack(directories.pack(away)) == []


def test_a_unit_counts_its_inputs_and_tells_a_finding(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """The proof fails on what a target finds, and where it hardly ran; inputs that nothing guided are told apart."""
    monkeypatch.setattr(session, "has_atheris", lambda: False)
    good = fuzzing.prove(Unit("key", {"target": "key", "seed": 1, "seconds": 0.5}))
    assert not good.failures
    assert good.counts["targets"] == 1
    assert good.counts["inputs"] == good.counts["inputs mutated blindly, for want of atheris"] > 20
    bad = fuzzing.prove(Unit("canary-error", {"target": "canary-error", "seed": 1, "seconds": 5}))
    assert "again: python -m fuzz canary-error --file" in bad.failures[0]
    monkeypatch.setattr(fuzzing, "INPUTS_MIN_PER_S", 1e9)
    assert "hardly runs" in fuzzing.prove(Unit("key", {"target": "key", "seed": 1, "seconds": 0.2})).failures[0]


def test_every_target_has_its_name() -> None:
    """Names are listed apart from the targets, which are imported only when they run."""
    for name in (*TARGETS, *CANARIES):
        assert target_named(name).name == name
        assert target_named(name).says


def test_each_target_has_its_time_in_both_sizes() -> None:
    """Twenty seconds in CI and ten minutes in a full run: however many targets come, none gets less."""
    for size, seconds in (("ci", 20.0), ("full", 600.0)):
        planned = fuzzing.units(size, 1)
        assert [unit.name for unit in planned] == list(TARGETS)
        assert {unit.arguments["seconds"] for unit in planned} == {seconds}
