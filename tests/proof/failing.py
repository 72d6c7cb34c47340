"""One run of a workload on a disk that fails, and everything that has to hold then.

Whatever goes wrong, only errors of the contract come out. The handle goes on
being read. What it acknowledged, before and after, survives a power cut. Where
the error said that nothing was written, the same handle goes on once the fault
is gone; one that refuses goes on refusing, and opening the store again works.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from history import History
from oracle import judged
from places import MEDIUM, PACKAGE, Hang, limited
from readings import Readings
from stage import Killed, Play
from workload import Workload

import journalkit
from journalkit.errors import JournalError, StorageError, StoreFullError
from journalkit.testing import SimulatedDisk

Arrange = Callable[[SimulatedDisk], None]
CLOSE_S_MAX = 3.0
NO_THREAD: dict[str, dict[str, Any]] = {"store": {"compaction": "manual"}, "journal": {}}
_LIMIT_S = 60.0


class FailingPlay(Play):
    """A play whose disk fails: it may come to its end sooner than the script expects."""

    def killed_within(self, operations: int, action: Callable[[], None]) -> None:
        """Be killed within an action, or after it if it has fewer operations now."""
        self.process.fuse = operations
        self._until_killed(action)

    def torn(self, share: float, action: Callable[[], None]) -> None:
        """Be killed in the middle of a frame, or after the action if none was written."""
        self.process.tear = share
        self._until_killed(action)

    def _until_killed(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Killed:
            pass
        except JournalError:
            # The disk was faster: the process lives, and is not to be killed any more.
            self.process.fuse = self.process.tear = None
            raise
        self.kill()


@dataclass(slots=True)
class Trial:
    """One run. `fault` says what was arranged, `reading` whether reads may fail too.

    `readings` are what readers saw in other runs of the workload, to be told again where nothing differs.
    """

    workload: Workload
    fault: str
    arrange: Arrange
    reading: bool = False
    cuts: tuple[Any, ...] = ("none",)
    readings: Readings = field(default_factory=Readings)
    disk: SimulatedDisk = field(default_factory=SimulatedDisk)
    history: History = field(default_factory=History)
    complaints: list[str] = field(default_factory=list)
    error: BaseException | None = None
    phase: str = ""

    def run(self, mend: Arrange = SimulatedDisk.mend) -> Trial:
        """Run the workload and judge what became of it."""
        self.history.kind = self.workload.kind
        play = FailingPlay(self.disk, self.history, self.workload.name, 0, {})
        try:
            with limited(_LIMIT_S):
                self.arrange(self.disk)
                try:
                    self.workload.script(play)
                except JournalError as error:
                    self.error = error
                except OSError as error:
                    if _is_the_package_s(error):
                        raise
                    # The script itself, by way of somebody who lays hands on the directory, met the fault.
                self.phase = self.history.doing
                self._cut("when it failed")
                if play.handle is not None and not play.handle.closed:
                    self._look(play)
                    mend(self.disk)
                    self._go_on(play)
                    self._close(play)
                mend(self.disk)
                self._cut("in the end")
        except Hang as hang:
            self.complain(f"hangs: {hang}")
        except Exception:  # noqa: BLE001 - what isn't of the contract is what this looks for
            self.complain(f"an exception that is none of the contract:\n{traceback.format_exc(limit=-5)}")
        finally:
            play.abandon()
        return self

    @property
    def kind(self) -> str:
        """Which kind of failure it is."""
        return self.fault.split(" ", 1)[0]

    @property
    def has_failed(self) -> bool:
        """Whether the run came to what was to fail."""
        return self.disk.fault_count > 0

    def complain(self, what: str) -> None:
        """Note something wrong, with all that is needed to see it again."""
        story = self.disk.story(last=10).replace("\n", "\n    ")
        self.complaints.append(
            f"{self.workload.name}, {self.fault}: {what}\n  it had raised {self.error!r}\n  {self.history.tell(4)}\n"
            f"    {story}"
        )

    def _cut(self, when: str) -> None:
        """Hold what the next process finds, after a power cut and after none."""
        if self.history.handle is not None:
            self.history.observe()
        for cut in self.cuts:
            disk = self._recovered() if cut == "no cut" else self.disk.crash(cut)
            disk.capacity_bytes = None
            found = judged(disk, self.history.path, self.history, thorough=False, readings=self.readings)
            for complaint in found.complaints:
                self.complain(f"{when}, found by the next process ({cut!r}): {complaint}")

    def _recovered(self) -> SimulatedDisk:
        """Return what the next process leaves that finds no cut, opens and is cut then.

        A reader before it may see in the cache what a failed sync lost; who opens for writing looks past that.
        """
        disk = self.disk.process_crash()
        disk.capacity_bytes = None
        if self.history.exists:
            opener = journalkit.open_journal if self.history.kind == "journal" else journalkit.open
            opener(self.history.path, fs=disk, **NO_THREAD[self.history.kind]).forbid()
        return disk.crash("none")

    def _look(self, play: Play) -> None:
        """Hold that reading goes on and shows a state that there was."""
        handle, history = play.handle, self.history
        try:
            lsn = handle.lsn
            if history.kind == "journal":
                found: Any = {record.lsn: record.value for record in handle.read()}
                first = handle.pruned_lsn
            else:
                found, first = dict(handle.items()), 0
        except JournalError as error:
            if not self.reading or not isinstance(error, StorageError):
                self.complain(f"a read on the same handle was refused: {type(error).__name__}: {error}")
            return
        if not handle.durable_lsn <= lsn <= history.submitted:
            self.complain(f"the handle is at LSN {lsn}, durable to {handle.durable_lsn}, {history.submitted} submitted")
            return
        entries = history.state(lsn).entries
        expected = {key: entry for key, entry in entries.items() if key > first} if first else entries
        if found != expected:
            self.complain(f"the handle at LSN {lsn} shows another state than the fold of the first {lsn} commits")

    def _go_on(self, play: Play) -> None:
        """Commit on the same handle, now that the fault is gone."""
        handle, history = play.handle, self.history
        if handle.lsn < history.submitted and handle._opened.log.failure is None:
            # A commit that failed isn't shown, and its outcome is unknown only if the handle takes no more.
            if not self.reading:
                self.complain("a commit failed with an unknown outcome, and the handle takes the next one")
                return
            history.withdraw()  # A transaction couldn't read, so it never came to its commit.
        failure, durable_lsn = handle._opened.log.failure, handle.durable_lsn
        shown = history.acknowledged
        try:
            self._commit(play)
        except JournalError as error:
            if failure is None:
                self.complain(
                    f"the fault is gone, the log hasn't failed, and it refuses: {type(error).__name__}: {error}"
                )
            elif isinstance(self.error, StoreFullError):
                self.complain(f"there is room again, and the handle doesn't go on: {type(error).__name__}: {error}")
        else:
            if failure is not None:
                self.complain("a handle that had failed took a commit")
        if failure is not None and (handle.durable_lsn, history.acknowledged) != (durable_lsn, shown):
            self.complain(f"a handle that had failed acknowledged LSN {handle.durable_lsn}")
        self._cut("after going on")

    def _commit(self, play: Play) -> None:
        if self.history.kind == "journal":
            play.append("after", sync="always")
        else:
            play.put("after", "the fault", sync="always")

    def _close(self, play: Play) -> None:
        """Close in time; what wasn't durable is then, or the error says that it isn't."""
        handle = play.handle
        began_s = time.monotonic()
        try:
            handle.close()
        except JournalError:
            play.kill()
        else:
            self.history.acknowledge(handle.lsn if handle.lsn <= self.history.submitted else 0)
            play.process.die()
        if time.monotonic() - began_s > CLOSE_S_MAX:
            self.complain(f"closing took {time.monotonic() - began_s:.1f} s")


def _is_the_package_s(error: BaseException) -> bool:
    """Whether an error came up through the package, and not from the script's own use of the disk."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.startswith(PACKAGE) and not frame.filename.startswith(MEDIUM) for frame in frames)
