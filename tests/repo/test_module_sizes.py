"""A file is read in one sitting. The limit is a ratchet: it only goes down."""

from __future__ import annotations

from pathlib import Path

LINES_MAX = 400

# Longer ones, at exactly their length, each with a decision record: who shortens one lowers its number here.
LONGER: dict[str, int] = {}


def test_no_module_outgrows_a_sitting(repository: Path, package_folder: Path) -> None:
    """What nobody reads whole, nobody knows whole."""
    files = [(f"journalkit/{path.relative_to(package_folder)}", path) for path in package_folder.rglob("*.py")]
    for folder in ("tests", "fuzz"):
        files += [(str(path.relative_to(repository)), path) for path in (repository / folder).rglob("*.py")]
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in files}
    longer = {name: count for name, count in lines.items() if count > LINES_MAX}
    assert longer == LONGER
