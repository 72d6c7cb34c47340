"""The proof by power cuts: it cuts, it judges, it finds a store that acknowledges too early, and it leaves no mount."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mounts
import power
import pytest
from units import Outcome, Unit

pytestmark = [pytest.mark.root, pytest.mark.slow]


def cut(name: str, cuts: int, canary: str = "") -> Outcome:
    """Run a unit of one way to cut."""
    [way] = [number for number, way in enumerate(power.WAYS) if way.name == name]
    outcome = power.prove(Unit(name, {"way": way, "cuts": cuts, "seed": 7, "canary": canary}))
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    return outcome


@pytest.mark.parametrize("name", ["ext4 data=ordered shutdown", "xfs defaults shutdown", "btrfs defaults copy"])
def test_a_few_cuts_lose_nothing(name: str) -> None:
    """One of each file system, so that a change that breaks one is seen at once."""
    outcome = cut(name, 3)
    assert outcome.failures == []
    assert outcome.counts["cuts"] == 3


@pytest.mark.parametrize(
    ("name", "canary"),
    [
        ("ext4 data=ordered shutdown", "early"),
        ("ext4 data=ordered shutdown", "no fsync"),
        ("btrfs defaults copy", "early"),
    ],
)
def test_a_store_that_acknowledges_what_is_not_on_the_device_is_found_out(name: str, canary: str) -> None:
    """The canary: un-synced writes told as durable, and an fsync that does nothing."""
    outcome = cut(name, 40, canary)
    assert len(outcome.failures) == 1
    assert canary in outcome.failures[0]


@pytest.mark.skipif(bool(mounts.lacking(mounts.EXT4)), reason="nothing can be mounted here")
def test_a_proof_that_is_killed_leaves_no_mount_and_no_loop_device(tmp_path: Path) -> None:
    """Whoever interrupts a run shouldn't have to clean up behind it."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(power.__file__).parent)!r}); import mounts, time\n"
        "def hold(folder):\n"
        "    images = mounts.Images(folder)\n"
        "    mounts.Mounted(images.fresh(mounts.EXT4), mounts.EXT4, images.point())\n"
        "    print(images.point(), flush=True); time.sleep(60)\n"
        "mounts.apart(hold)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    point = process.stdout.readline().strip()
    assert len(loops_below(tmp_path)) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline_s = time.monotonic() + 10
    while loops_below(tmp_path) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert loops_below(tmp_path) == []
    assert point not in Path("/proc/mounts").read_text()


def loops_below(folder: Path) -> list[str]:
    """Return the loop devices whose image lies below a folder."""
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    found = []
    for file in files:
        try:
            found += [name for name in [file.read_text().strip()] if name.startswith(str(folder))]
        except OSError:
            continue  # it was let go of in between
    return found


def test_units_reach_the_goals() -> None:
    """A run that can't reach its goal would only be noticed at its end."""
    for size, goal in (("ci", 60), ("full", 1_000)):
        planned = power.units(size, 1)
        assert sum(unit.arguments["cuts"] for unit in planned) >= goal
        assert len({unit.name for unit in planned}) == len(planned)
