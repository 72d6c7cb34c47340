"""The types that a program sees: what is right passes a strict check, what is wrong is refused by its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import journalkit

api = pytest.importorskip("mypy.api", reason="mypy comes with journalkit[dev]")

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed is found by itself; a tree under test has to be named."""
    folder = Path(next(iter(journalkit.__path__))).parent
    if folder.name != "site-packages":
        monkeypatch.setenv("MYPYPATH", str(folder))


def check(file: str, tmp_path: Path) -> set[tuple[int, str]]:
    """Return line and code of each error."""
    options = ["--strict", "--python-version=3.11", "--config-file=", f"--cache-dir={tmp_path}", "--no-error-summary"]
    printed, complaints, _ = api.run([*options, "--no-incremental", str(HERE / file)])
    assert complaints == ""
    return {(int(line), code) for line, code in re.findall(r":(\d+): error: .*\[([\w-]+)\]", printed)}


def test_what_programs_write_passes_a_strict_check(tmp_path: Path) -> None:
    """Installed as it is, without stubs of anybody's own."""
    assert check("uses.py", tmp_path) == set()


def test_what_is_wrong_is_refused_where_it_stands(tmp_path: Path) -> None:
    """A checker that knows no types refuses nothing; so this is the canary of the other test as well."""
    lines = (HERE / "misuses.py").read_text().splitlines()
    marked = [(number, re.search(r"# refused: ([\w-]+)$", line)) for number, line in enumerate(lines, 1)]
    assert check("misuses.py", tmp_path) == {(number, mark[1]) for number, mark in marked if mark}
