"""What a device was asked to write and to flush, and the images that a power cut may leave of it.

Everything before the last flush is there. Of the writes behind it each is
kept, lost or torn; what is kept is applied in order, which is all that a
device may do with writes over one another: any may be lost, and any be last.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from block_device import BLOCK_BYTES, SECTOR_BYTES, Operation, recorded
from fault_writer import Story
from fuse_daemon import Daemon

LOST, KEPT, TORN = "lost", "kept", "torn"


@dataclass(frozen=True, slots=True)
class Recording:
    """What a device was asked for while a store lived on it, and what the store promised meanwhile."""

    operations: Sequence[Operation]
    story: Story
    begin: int
    end: int

    def flushed(self, count: int) -> int:
        """Return how many of the first operations the last flush among them covers, itself included."""
        while count and self.operations[count - 1].data is not None:
            count -= 1
        return count


def recording_of(daemon: Daemon, path: str, story: Story, begin: int, end: int) -> Recording:
    """Return what the daemon recorded, by way of a file; the story was between two of its operations."""
    daemon.ask("save", path=path)
    operations = recorded(path)
    os.unlink(path)
    return Recording(operations, story, begin, end)


@dataclass(frozen=True, slots=True)
class Cut:
    """A power cut behind the first `count` operations: what became of each write since the last flush.

    Which sectors of a torn one are there is `seed`'s to say.
    """

    count: int
    fates: tuple[str, ...]
    seed: int
    unit_bytes: int = BLOCK_BYTES

    @property
    def is_reordered(self) -> bool:
        """Whether something of a later write is there while an earlier one isn't, or not all of it."""
        first = next((at for at, fate in enumerate(self.fates) if fate != KEPT), len(self.fates))
        return any(fate != LOST for fate in self.fates[first + 1 :])

    def of_whole_blocks(self) -> Cut:
        """Return the same cut, tearing between blocks only."""
        return Cut(self.count, self.fates, self.seed, BLOCK_BYTES)

    def build(self, recording: Recording, base: str, path: str) -> None:
        """Make the device's image."""
        flushed = recording.flushed(self.count)
        copy_image(base, path)
        descriptor = os.open(path, os.O_RDWR)
        try:
            for operation in recording.operations[:flushed]:
                if operation.data is not None:
                    os.pwrite(descriptor, operation.data, operation.offset_bytes)
            pending = recording.operations[flushed : self.count]
            for number, (operation, fate) in enumerate(zip(pending, self.fates, strict=True)):
                for offset_bytes, data in self._survive(number, operation, fate):
                    os.pwrite(descriptor, data, offset_bytes)
        finally:
            os.close(descriptor)

    def _survive(self, number: int, operation: Operation, fate: str) -> Iterator[tuple[int, bytes]]:
        """Yield what of a write is on the device."""
        assert operation.data is not None
        if fate == KEPT:
            yield operation.offset_bytes, operation.data
        elif fate == TORN:
            chance = random.Random(f"{self.seed} {number}")
            start, end = operation.offset_bytes, operation.offset_bytes + len(operation.data)
            while start < end:
                stop = min(end, start - start % self.unit_bytes + self.unit_bytes)
                if chance.random() < 0.5:
                    at = start - operation.offset_bytes
                    yield start, operation.data[at : at + stop - start]
                start = stop

    def tell(self, recording: Recording) -> str:
        """Say where it was and what became of which sectors."""
        pending = recording.operations[recording.flushed(self.count) : self.count]
        told = [
            f"{fate} {operation.offset_bytes // SECTOR_BYTES}+{len(operation.data or b'') // SECTOR_BYTES}"
            for operation, fate in zip(pending, self.fates, strict=True)
        ]
        return f"power cut behind operation {self.count} of the device ({', '.join(told)}; in sectors)"


def chosen(
    recording: Recording, trials: int, chance: random.Random, units_bytes: Sequence[int] = (BLOCK_BYTES,)
) -> Iterator[Cut]:
    """Yield different cuts, each with something that wasn't flushed; writes are torn between one of these units."""
    places = [
        count
        for count in range(recording.begin + 1, recording.end + 1)
        if recording.operations[count - 1].data is not None
    ]
    # Where more hangs in the air there is more to choose.
    weights = [(count - recording.flushed(count)) ** 2 for count in places]
    seen: set[tuple[int, tuple[str, ...]]] = set()
    for _ in range(20 * trials):
        if len(seen) == trials or not places:
            return
        count = chance.choices(places, weights)[0]
        pending = count - recording.flushed(count)
        # Fair dice alone would hardly ever keep nearly everything of many writes, or nearly nothing.
        favourite, bias = chance.choice((LOST, KEPT)), chance.choice((0.0, 0.5, 0.9)) if pending > 3 else 0.0
        fates = tuple(
            favourite if chance.random() < bias else chance.choice((LOST, KEPT, TORN)) for _ in range(pending)
        )
        if set(fates) != {KEPT} and (count, fates) not in seen:
            seen.add((count, fates))
            yield Cut(count, fates, chance.getrandbits(30), chance.choice(units_bytes))


def copy_image(source: str, target: str) -> None:
    """Copy an image, its holes as holes."""
    subprocess.run(["cp", "--sparse=auto", source, target], check=True)
