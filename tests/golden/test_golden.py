"""Old data stays readable: every golden directory, opened by this version.

A released format's directories and what is expected of them never change. If
a test here fails, the change under test breaks somebody's data.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import journalkit
from journalkit import errors
from journalkit.cli import main
from journalkit.format.names import LOCK, RESERVE

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    """Load what a format's golden directories hold."""
    spec = importlib.util.spec_from_file_location(f"golden_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = sys.modules[name] = module  # the second format's takes what the first one's has
    spec.loader.exec_module(module)
    return module


FORMATS = [load(path.stem) for path in sorted(HERE.glob("format_*.py"))]


def files_of(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder. The lock's words are its owner's."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != LOCK}


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories as this version writes them."""
    folder = tmp_path_factory.mktemp("fresh") / "written"
    done = subprocess.run(
        [sys.executable, str(HERE / "make.py"), str(folder)],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return folder


CASES = [(HERE / form.FOLDER, golden) for form in FORMATS for golden in form.GOLDEN]


@pytest.fixture(params=CASES, ids=[f"{folder.name}-{golden.name}" for folder, golden in CASES])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    """What is expected of a directory, and a copy of it."""
    folder, golden = request.param
    shutil.copytree(folder / golden.name, tmp_path / "copy")
    return golden, tmp_path / "copy"


def contents(opened: Any) -> dict[Any, Any]:
    """Return everything in a store, or in a journal by LSN."""
    if isinstance(opened, journalkit.Journal):
        return {record.lsn: record.value for record in opened.read()}
    return dict(opened)


def spelled(entries: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Return entries such that equal ones are of equal types at every depth, and a NaN equals itself."""
    return [(repr(key), repr(value)) for key, value in entries.items()]


def open_it(golden: Any, path: Path, **options: Any) -> Any:
    """Open a golden directory as what it is."""
    return journalkit.open_journal(path, **options) if golden.is_journal else journalkit.open(path, **options)


def compare(golden: Any, opened: Any) -> None:
    """Compare a handle with what is expected of it."""
    assert sorted(spelled(contents(opened))) == sorted(spelled(golden.entries))
    assert (opened.lsn, opened.pruned_lsn) == (golden.lsn, golden.pruned_lsn)
    if not golden.is_journal:
        assert dict(opened.offsets) == golden.offsets
        assert dict(opened.metadata) == golden.metadata
        assert opened.recovery_report.snapshot_lsn == golden.snapshot_lsn
        assert opened.recovery_report.fell_back is golden.fell_back


def test_reading_gives_what_was_written_and_changes_nothing(case: tuple[Any, Path]) -> None:
    """The promise to who upgrades; and that a look never changes what is looked at."""
    read(*case)


@pytest.mark.parametrize(
    "golden", [golden for form in FORMATS for golden in form.GOLDEN], ids=lambda golden: str(golden.name)
)
def test_what_is_written_today_reads_the_same(golden: Any, fresh: Path) -> None:
    """Who writes golden directories must still be able to, and not only of the past is anything expected."""
    read(golden, fresh / golden.name)


def read(golden: Any, path: Path) -> None:
    """Open for reading, and compare."""
    before = files_of(path)
    if golden.outcome is None:
        with pytest.raises(getattr(errors, golden.error)) as caught:
            open_it(golden, path, mode="r")
        assert golden.blames in str(caught.value)
    else:
        with open_it(golden, path, mode="r") as opened:
            compare(golden, opened)
    assert files_of(path) == before


def test_writing_goes_on_where_it_ended_or_changes_nothing(case: tuple[Any, Path]) -> None:
    """The same for who writes: recovered, written to, closed, and all of it there again."""
    golden, path = case
    before = files_of(path)
    if golden.outcome is None:
        with pytest.raises(getattr(errors, golden.error)) as caught:
            open_it(golden, path)
        assert golden.blames in str(caught.value)
        assert files_of(path) == before
        return
    with open_it(golden, path) as opened:
        compare(golden, opened)
        assert opened.recovery_report.outcome == golden.outcome
        assert opened.epoch == golden.epoch + 1
        new = b"new"
        lsn = opened.append(new) if golden.is_journal else opened.put("new", new)
        if not golden.is_journal:
            opened.compact()
    with open_it(golden, path, mode="r") as opened:
        entries = {**golden.entries, (lsn if golden.is_journal else "new"): new}
        assert sorted(spelled(contents(opened))) == sorted(spelled(entries))


def test_verify_says_what_it_always_said(case: tuple[Any, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """0 sound, 1 a torn tail, 2 damaged; and it names the file and the kind of damage."""
    golden, path = case
    before = files_of(path)
    assert main(["verify", str(path)]) == golden.verify
    out, err = capsys.readouterr()
    assert golden.blames in out + err
    assert golden.kind.replace("-", " ") in out + err
    assert files_of(path) == before


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: str(form.FOLDER))
def test_each_golden_directory_is_expected_of_and_small(form: ModuleType) -> None:
    """A directory without expectations proves nothing; a large one is never looked at."""
    folders = {path.name: path for path in (HERE / form.FOLDER).iterdir()}
    assert folders.keys() == {golden.name for golden in form.GOLDEN}
    for path in folders.values():
        files = files_of(path)
        assert sum(map(len, files.values())) < 16 * 1024
        assert not {LOCK, RESERVE} & files.keys()


def test_keys_are_in_the_order_that_the_format_gives_them(tmp_path: Path) -> None:
    """Key order is byte order, and so part of each format."""
    for form in FORMATS:
        [name] = [golden.name for golden in form.GOLDEN if golden.name.endswith("-all-keys")]
        shutil.copytree(HERE / form.FOLDER / name, tmp_path / form.FOLDER)
        with journalkit.open(tmp_path / form.FOLDER, mode="r") as store:
            assert list(store) == form.KEYS
