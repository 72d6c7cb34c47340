"""What is at the top, and what is nowhere: paths of somebody's machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP_LEVEL = {"LICENSE", "README.md", "docs", "fuzz", "journalkit", "pyproject.toml", "tests"}

# Homes and work folders as absolute paths, in pieces so that this file doesn't name one.
MACHINE_PATH = re.compile("(?<![\\w.~$}])/" + "(?:root|home|Users|work)" + "/[\\w.]")


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[Path]:
    """The files that git knows; an sdist has none to ask."""
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=repository, capture_output=True, check=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name]


def test_the_top_level_holds_what_the_design_names(tracked: list[Path]) -> None:
    """A new folder at the top is a decision, not an accident; dotfiles are the tools'."""
    extra = {path.parts[0] for path in tracked if not path.parts[0].startswith(".")} - TOP_LEVEL
    assert not extra


def test_no_file_names_a_machine(repository: Path, tracked: list[Path]) -> None:
    """A path that exists on one machine is a bug on every other, and says more than it should."""
    wrong = []
    for path in tracked:
        whole = repository / path
        if not whole.is_file() or b"\0" in (data := whole.read_bytes()):
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if MACHINE_PATH.search(line):
                wrong.append(f"{path}:{number}: {line.strip()[:80]}")
    assert not wrong, "\n".join(wrong)
