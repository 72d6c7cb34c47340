"""The strict mount: it loses what it may lose, a sound store survives that, and three that aren't are found out."""

from __future__ import annotations

import errno
import os
import traceback
from contextlib import suppress
from pathlib import Path

import fuse_daemon
import pytest
import strict
from fault_writer import Canary
from fuse_daemon import running
from mounts import apart
from units import Outcome, Unit

from journalkit.fs.posix import PosixFileSystem
from journalkit.testing.contract import FILESYSTEM_CONTRACT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(bool(fuse_daemon.lacking()), reason=fuse_daemon.lacking() or "nothing is lacking"),
]


def chain(seed: int, *, lives: int, canary: Canary = "") -> Outcome:
    """Live a short chain."""
    return strict.prove(Unit("test", {"seed": seed, "lives": lives, "cuts": 6, "canary": canary}))


def test_a_store_survives_power_cuts_of_a_strict_mount() -> None:
    """A small piece of the proof: a life of each ending."""
    outcome = chain(3, lives=4)
    assert outcome.failures == []
    assert outcome.counts["strict lives"] == 4
    assert outcome.counts["strict cuts"] >= 15


@pytest.mark.parametrize("canary", ["early", "unsynced", "unnamed"])
def test_a_store_that_promises_too_early_is_found_out(canary: Canary) -> None:
    """Told before it was written, bytes never synced, names never synced: what finds none of them proves nothing."""
    assert chain(1, lives=6, canary=canary).failures


def unsynced(folder: str) -> list[object]:
    """Write with and without syncs, and return what cuts leave."""
    with running("strict_mount.py", folder) as daemon:
        daemon.ask("make", name="disk")
        top = Path(daemon.point)
        for name in ("named", "nameless"):
            with (top / "disk" / name).open("wb", buffering=0) as file:
                file.write(b"synced")
                os.fdatasync(file.fileno())
            if name == "named":
                directory = os.open(top / "disk", os.O_RDONLY)
                os.fsync(directory)
                os.close(directory)
        with (top / "disk" / "named").open("r+b", buffering=0) as file:
            file.write(b"SYNCED")
            for seed in range(20):
                daemon.ask("cut", source="disk", target=f"cut-{seed}", seed=seed)
            cuts = [top / f"cut-{seed}" for seed in range(20)]
            names = {tuple(sorted(os.listdir(cut))) for cut in cuts}
            contents = {(cut / "named").read_bytes() for cut in cuts}
            daemon.ask("fail", operation="sync_data", nth=1, error=errno.EIO)
            with pytest.raises(OSError, match="Input/output"):
                os.fdatasync(file.fileno())
            os.fdatasync(file.fileno())
        seen = (top / "disk" / "named").read_bytes()
        past = os.open(top / "disk" / "named", os.O_RDONLY | os.O_DIRECT)
        on_device = os.read(past, 10)
        os.close(past)
        return [names, contents, seen, on_device]


def test_the_mount_keeps_what_was_synced_and_nothing_else_for_sure() -> None:
    """Its rules are the proof's premise: names need the directory's sync, and a failed sync loses the page."""
    names, contents, seen, on_device = apart(unsynced)
    assert names == {("named",), ("named", "nameless")}
    assert contents == {b"synced", b"SYNCED"}
    assert (seen, on_device) == (b"SYNCED", b"synced")


def broken_claims(folder: str) -> dict[str, str]:
    """Hold the contract of file systems for the real one on the mount; return what is broken and how."""
    broken = {}
    with running("strict_mount.py", folder) as daemon:
        for claim, hold in FILESYSTEM_CONTRACT.items():
            daemon.ask("make", name=claim)
            root = os.path.join(daemon.point, claim, "root")
            os.mkdir(root)
            try:
                hold(PosixFileSystem(), root)
            except Exception:  # noqa: BLE001 - whatever it is, it is told
                broken[claim] = traceback.format_exc(limit=-2)
    return broken


def test_the_real_file_system_holds_its_contract_on_the_mount() -> None:
    """What is proved on it is worth as much as it is like any other file system.

    But for one claim: FUSE asks a daemon by name, so an open file that has none any more has no status.
    """
    broken = apart(broken_claims)
    assert broken.keys() == {"a_lock_whose_file_was_replaced_knows_it"}
    assert "Stale file handle" in broken.popitem()[1]


def powerless(folder: str) -> tuple[list[int], list[int]]:
    """Write on until the power goes; return which writes worked, and the shared counter's values behind each."""
    with running("strict_mount.py", folder) as daemon:
        daemon.ask("make", name="disk")
        worked, counts = [], []
        with (Path(daemon.point) / "disk" / "file").open("wb", buffering=0) as file:
            daemon.ask("stop_after", count=4)
            for number in range(6):
                with suppress(OSError):
                    file.write(b"x")
                    worked.append(number)
                counts.append(daemon.count)
        return worked, counts


def test_without_power_nothing_works_and_the_counter_says_where_it_went() -> None:
    """An operation's number is what promises are held against."""
    assert apart(powerless) == ([0, 1, 2], [2, 3, 4, 4, 4, 4])
