"""A disk that loses power, for proofs that don't depend on luck.

`SimulatedDisk` is a `FileSystem` that keeps apart what programs see and what
would survive. It promises as little as the interface does: a file that was
synced has no name until its directory was synced too, un-synced writes reach
the medium in any combination, a failed sync loses its data for good. What
exactly a power cut may leave is told in `journalkit.testing.medium`.

When a check fails, `story()` tells in a few lines what the disk was asked for,
what went wrong on it, and by which seed a cut left it.

    disk = SimulatedDisk()
    disk.make_directory("/store")
    disk.sync_directory("/")
    ...                                  # the program under test
    for seed in range(100):
        check(disk.crash(keep=seed))     # a new disk, as one cut may leave it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from journalkit.fs.interface import FileStatus
from journalkit.fs.tree import FileNode
from journalkit.testing.children import InlineChild
from journalkit.testing.faults import Place, Share
from journalkit.testing.handles import SimulatedFile, SimulatedLock
from journalkit.testing.medium import SECTOR_BYTES, Chooser, Link, Rename, Unlink, chooser
from journalkit.testing.state import DiskState

_LINES_BEFORE = 8


class SimulatedDisk:
    """A strict `FileSystem` in memory, with crashes, faults and a history. Threads may share it.

    Its root exists and is durable. `capacity_bytes` and
    `reported_filesystem_type` may be changed at any time.
    """

    def __init__(self, *, capacity_bytes: int | None = None, filesystem_type: str = "simulated") -> None:
        self.reported_filesystem_type = filesystem_type
        self._state = DiskState(capacity_bytes)

    # -- the file system ------------------------------------------------------------------------

    def open_read(self, path: str) -> SimulatedFile:
        """Open an existing file for reading."""
        return self._open("open_read", path)

    def open_direct(self, path: str) -> SimulatedFile:
        """Open for reads that show what the device has: not what a failed sync left in the cache."""
        return self._open("open_direct", path)

    def list(self, path: str) -> Sequence[str]:
        """Return the names in a directory, sorted."""
        with self._state.guard:
            self._state.plan.step("list", path)
            return sorted(self._state.tree.directory(path).entries)

    def status(self, path: str) -> FileStatus | None:
        """Return what is at `path`, or None when there is nothing."""
        with self._state.guard:
            self._state.plan.step("status", path)
            return self._state.tree.status(path)

    def free_bytes(self, path: str) -> int:
        """Return the room left."""
        with self._state.guard:
            self._state.plan.step("free_bytes", path)
            self._state.tree.get(path)
            return self._state.free_bytes()

    def filesystem_type(self, path: str) -> str:
        """Return `reported_filesystem_type`."""
        with self._state.guard:
            self._state.tree.get(path)
            return self.reported_filesystem_type

    def open_write(self, path: str) -> SimulatedFile:
        """Open an existing file for reading and writing."""
        return self._open("open_write", path)

    def create(self, path: str) -> SimulatedFile:
        """Create a file that must not exist."""
        with self._state.guard:
            self._state.plan.step("create", path)
            node = self._add_file(path)
            return SimulatedFile(self._state, node, path, is_writable=True, is_direct=False)

    def make_directory(self, path: str) -> None:
        """Create one directory; FileExistsError if something is there."""
        state = self._state
        with state.guard:
            state.plan.step("make_directory", path)
            node = state.tree.new_directory()
            state.tree.add(path, node)
            parent, name = state.tree.parent(path)
            state.directory_medium(parent).operations.append(Link(name, node))

    def rename(self, source: str, target: str) -> None:
        """Replace `target` by `source`, atomically; a sync of either directory makes it durable."""
        state = self._state
        with state.guard:
            state.plan.step("rename", source, f" {target}")
            node = state.tree.file(source)
            (old, old_name), (new, name) = state.tree.parent(source), state.tree.parent(target)
            if new.entries.get(name) is node:
                return
            state.tree.rename(source, target)
            rename = Rename(old, new, name, node, old_name)
            state.directory_medium(old).operations.append(rename)
            if new is not old:
                state.directory_medium(new).operations.append(rename)

    def link(self, source: str, target: str) -> None:
        """Give the file `source` a second name that must not be taken."""
        state = self._state
        with state.guard:
            state.plan.step("link", source, f" {target}")
            node = state.tree.link(source, target)
            parent, name = state.tree.parent(target)
            state.directory_medium(parent).operations.append(Link(name, node))

    def unlink(self, path: str) -> None:
        """Remove a name; who has the file open keeps it, and its room stays taken."""
        with self._state.guard:
            self._state.plan.step("unlink", path)
            self._state.tree.remove_file(path)
            self._note_unlink(path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        with self._state.guard:
            self._state.plan.step("remove_directory", path)
            self._state.tree.remove_directory(path)
            self._note_unlink(path)

    def sync_directory(self, path: str) -> None:
        """Make every change of names in this directory durable.

        One that fails leaves them pending: unlike a file's bytes, names that
        were not written are written again, or the file system shuts down.
        """
        with self._state.guard:
            self._state.plan.step("sync_directory", path)
            self._state.sync_directory(self._state.tree.directory(path))

    def lock(self, path: str) -> SimulatedLock | None:
        """Take the exclusive lock on the file at `path`, creating it if need be; None if somebody has it."""
        with self._state.guard:
            self._state.plan.step("lock", path)
            if self._state.tree.status(path) is None:
                self._add_file(path)
            node = self._state.tree.file(path)
            return None if node.is_locked else SimulatedLock(self._state, node, path)

    def start_child(self, module: str) -> InlineChild:  # noqa: ARG002 - folds are all that asks for one
        """Give a fold a child that works on this disk, in the thread that asks it."""
        return InlineChild(self)

    # -- crashes --------------------------------------------------------------------------------

    def crash(self, keep: Literal["all", "none"] | int | Chooser) -> SimulatedDisk:
        """Return a new disk as one power cut now may leave this one; this one goes on as it was.

        Args:
            keep: What becomes of everything un-synced: "all" or "none" of it
                reaches the medium, or what a seed or a `Chooser` decides.
        """
        with self._state.guard:
            return self._with(self._state.after_crash(chooser(keep)), f"power cut, keep={keep!r}")

    def process_crash(self) -> SimulatedDisk:
        """Return a new disk as the next process finds it: the same bytes, durable or not, no handles and no locks."""
        with self._state.guard:
            return self._with(self._state.after_process_crash(), "crash of the process")

    # -- faults ---------------------------------------------------------------------------------

    def fail(self, operation: str, nth: int, error: int, *, times: int | None = 1, path_contains: str = "") -> None:
        """Make the nth such operation from now on, and those after it up to `times` (None: all), raise OSError.

        The operation doesn't happen. A failing `sync` or `sync_data` leaves
        what it should have made durable clean but lost.
        """
        with self._state.guard:
            self._state.plan.fail(operation, nth, error, times=times, path_contains=path_contains)

    def short_write(self, nth: int, count_bytes: int | Share, *, path_contains: str = "") -> None:
        """Make the nth `pwrite` from now on take at most `count_bytes`, or what a function makes of its length."""
        with self._state.guard:
            self._state.plan.short_write(nth, count_bytes, path_contains=path_contains)

    def misdirect_write(
        self, nth: int, to_offset_bytes: int, *, to_path: str = "", times: int | None = 1, path_contains: str = ""
    ) -> None:
        """Let the nth `pwrite` from now on, and those after it up to `times` (None: all), land in other sectors.

        It says that it worked. The sectors that it touches go to the sector of `to_offset_bytes`, of
        the same file or of `to_path`, and no further than that file's end;
        the place that was meant stays as it was. Readers see what was meant
        until they read past the cache (`open_direct`) or after a power cut.
        """
        with self._state.guard:
            place = Place(to_path, to_offset_bytes)
            self._state.plan.misdirect("pwrite", nth, place, times=times, path_contains=path_contains)

    def misdirect_read(
        self, nth: int, from_offset_bytes: int, *, from_path: str = "", times: int | None = 1, path_contains: str = ""
    ) -> None:
        """Let the nth `pread` from now on, and those after it up to `times` (None: all), return other sectors' bytes.

        They come from the sector of `from_offset_bytes` on, of the same file
        or of `from_path`; as many as there should have been, zeros behind the end.
        """
        with self._state.guard:
            place = Place(from_path, from_offset_bytes)
            self._state.plan.misdirect("pread", nth, place, times=times, path_contains=path_contains)

    def remount_read_only(self, *, nth: int = 1) -> None:
        """Refuse with EROFS the nth mutating operation from now on and all after it: what kernels do after an error.

        Files that are open stay so and reading goes on; opening for writing
        and locking are refused too. A refused sync loses what it should have
        made durable.
        """
        with self._state.guard:
            self._state.plan.remount(read_only_from=nth)

    def remount_writable(self) -> None:
        """Take writes again."""
        with self._state.guard:
            self._state.plan.remount(read_only_from=None)

    def mend(self) -> None:
        """Let nothing go wrong from now on that was asked for earlier; what a failed sync lost stays lost."""
        with self._state.guard:
            self._state.plan.mend()

    def stop_after(self, count: int) -> None:
        """Cut the power when the count-th mutating operation from now on begins.

        It and everything later, reads too, raise `PowerCut`; only closing is
        quiet. To try every place, count the operations of a whole run with
        `operation_count`, then stop after 1, 2, ... of them and `crash`.
        """
        with self._state.guard:
            self._state.plan.stop_after(count)

    @property
    def operation_count(self) -> int:
        """How many mutating operations there were, failed ones included."""
        return self._state.plan.operation_count

    @property
    def fault_count(self) -> int:
        """How many operations went wrong because a test asked for it."""
        return self._state.plan.fault_count

    @property
    def capacity_bytes(self) -> int | None:
        """How many bytes all files together may have; None for any number."""
        return self._state.capacity_bytes

    @capacity_bytes.setter
    def capacity_bytes(self, capacity_bytes: int | None) -> None:
        with self._state.guard:
            self._state.capacity_bytes = capacity_bytes

    def history(self) -> Sequence[str]:
        """Return a line for each mutating operation: number, name, path, range, and what went wrong.

        A read has one, without a number, only if it went wrong.
        """
        with self._state.guard:
            return tuple(self._state.plan.lines)

    def story(self, *, last: int = 20) -> str:
        """Return the end of the history as lines of text, to be printed where a test fails.

        On a disk that a crash left it begins with what came right before, and
        with the crash: `SimulatedDisk` repeats it from the seed that stands there.
        """
        with self._state.guard:
            lines = self._state.plan.lines
            left_out = len(lines) - last
            shown = [f"... {left_out} lines before", *lines[left_out:]] if left_out > 0 else lines
            return "\n".join([*self._state.before, *shown])

    # -- damage, and a look behind the file system: no operations, never refused -----------------

    def read_bytes(self, path: str) -> bytes:
        """Return a file's bytes as programs see them."""
        with self._state.guard:
            return bytes(self._state.tree.file(path).content)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Make a file be exactly these bytes, durably; the names of its directory become durable too."""
        state = self._state
        with state.guard:
            if state.tree.status(path) is None:
                self._add_file(path)
            node = state.tree.file(path)
            medium = state.file_medium(node)
            medium.operations.clear()
            medium.durable[:] = node.content[:] = data
            state.sync_directory(state.tree.parent(path)[0])

    def flip_bit(self, path: str, bit_offset: int) -> None:
        """Turn one bit of a file over, on the medium and for readers, as rot does."""
        with self._state.guard:
            at, mask = bit_offset // 8, 1 << bit_offset % 8
            for content in self._contents(path, at, 1):
                content[at] ^= mask

    def zero(self, path: str, offset_bytes: int, count_bytes: int) -> None:
        """Put zeros over part of a file, on the medium and for readers, as a lost block does."""
        with self._state.guard:
            for content in self._contents(path, offset_bytes, count_bytes):
                end = min(offset_bytes + count_bytes, len(content))
                content[offset_bytes:end] = bytes(end - offset_bytes)

    def misdirect(self, path: str, offset_bytes: int, to_offset_bytes: int, *, to_path: str = "") -> None:
        """Put one sector's bytes over another's, of the same file or of `to_path`, on the medium and for readers.

        As a write that went astray long ago: right bytes in the wrong place.
        Offsets are rounded down to sectors.
        """
        with self._state.guard:
            first = offset_bytes // SECTOR_BYTES * SECTOR_BYTES
            sector = self._state.tree.file(path).read(SECTOR_BYTES, first)
            at = to_offset_bytes // SECTOR_BYTES * SECTOR_BYTES
            for content in self._contents(to_path or path, at, 1):
                content[at : at + SECTOR_BYTES] = sector[: len(content) - at]

    # -- within ---------------------------------------------------------------------------------

    def _contents(self, path: str, offset_bytes: int, count_bytes: int) -> Sequence[bytearray]:
        """Return the copies of a file that reach up to a place: what is seen, and what is durable."""
        node = self._state.tree.file(path)
        if not 0 <= offset_bytes <= offset_bytes + count_bytes <= len(node.content):
            raise ValueError(f"{path} has {len(node.content)} bytes, none at {offset_bytes}+{count_bytes}")
        durable = self._state.file_medium(node).durable
        return [content for content in (node.content, durable) if offset_bytes < len(content)]

    def _open(self, operation: str, path: str) -> SimulatedFile:
        with self._state.guard:
            self._state.plan.step(operation, path)
            return SimulatedFile(
                self._state,
                self._state.tree.file(path),
                path,
                is_writable=operation == "open_write",
                is_direct=operation == "open_direct",
            )

    def _add_file(self, path: str) -> FileNode:
        state = self._state
        node = state.tree.new_file()
        state.tree.add(path, node)
        parent, name = state.tree.parent(path)
        state.directory_medium(parent).operations.append(Link(name, node))
        return node

    def _note_unlink(self, path: str) -> None:
        parent, name = self._state.tree.parent(path)
        self._state.directory_medium(parent).operations.append(Unlink(name))

    def _with(self, state: DiskState, event: str) -> SimulatedDisk:
        told = f"-- {event}, after {self.operation_count} operations --"
        state.before = (*self._state.plan.lines[-_LINES_BEFORE:], told)
        disk = SimulatedDisk(filesystem_type=self.reported_filesystem_type)
        disk._state = state
        return disk
