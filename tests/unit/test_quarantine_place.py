"""Something else in the quarantine's place: where there is something to give up, nothing begins.

Found by the fuzz targets `open` and `salvage`: a point-in-time recovery went
through, what it gave up stayed where it was, and the next open refused it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.cli import main
from journalkit.errors import CorruptionError, StorageError
from journalkit.format.names import QUARANTINE, segment_name


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A store without records whose log is damaged, beside a segment of another store and a file."""
    path = tmp_path / "state"
    journalkit.open(path).close()
    other = tmp_path / "other"
    with journalkit.open(other) as store:
        store["a"] = 1
    (path / segment_name(3)).write_bytes((other / segment_name(1)).read_bytes())
    (path / QUARANTINE).write_bytes(b"mine")
    return path


def files(path: Path) -> dict[str, bytes]:
    """Return all files but the lock."""
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "LOCK"}


def test_a_recovery_that_has_nowhere_to_put_what_it_gives_up_changes_nothing(damaged: Path) -> None:
    """Refused before the first change, and done once the place is free."""
    before = files(damaged)
    with pytest.raises(StorageError, match="Not a directory"):
        journalkit.open(damaged, recovery="point-in-time")
    assert files(damaged) == before
    (damaged / QUARANTINE).unlink()
    journalkit.open(damaged, recovery="point-in-time").close()
    journalkit.open(damaged, recovery="strict").close()


def test_a_dry_run_says_so_too(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is what would be done."""
    assert main(["recover", str(damaged), "--mode", "point-in-time", "--dry-run"]) == 2
    assert "Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{}, {"mode": "r"}], ids=["rw", "r"])
def test_a_sound_store_opens_beside_such_a_file(tmp_path: Path, options: dict[str, Any]) -> None:
    """Nothing is given up, so nothing is in the way."""
    with journalkit.open(tmp_path / "state") as store:
        store["a"] = 1
    (tmp_path / "state" / QUARANTINE).write_bytes(b"mine")
    with journalkit.open(tmp_path / "state", **options) as store:
        assert dict(store) == {"a": 1}
    assert main(["recover", str(tmp_path / "state"), "--dry-run"]) == 0


def test_damage_is_still_refused_as_damage(damaged: Path) -> None:
    """Without a mode that permits it the damage is what is told."""
    with pytest.raises(CorruptionError):
        journalkit.open(damaged)
