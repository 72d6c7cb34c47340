"""Publishing from two threads: the second makes its change from what the first has published."""

from __future__ import annotations

import threading

from journalkit.format.manifest import Manifest
from journalkit.fs.memory import MemoryFileSystem
from journalkit.manifest import ManifestKeeper


class SlowRename(MemoryFileSystem):
    """Renames only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def rename(self, source: str, target: str) -> None:
        self.begun.set()
        assert self.goes_on.wait(10)
        super().rename(source, target)


def test_a_change_waits_until_the_manifest_before_it_is_in_place() -> None:
    """Made from the one before, it would take back what the other thread has published: a segment, a snapshot."""
    fs = SlowRename()
    fs.make_directory("/store")
    first = Manifest(
        store=b"s" * 16, kind="store", codec="cbor", created_us=0, generation=0, epoch=1, writer=b"w" * 16,
        segments=(), snapshots=(), pruned_lsn=0, durable_lsn=0, next_segment=1, next_table=1,
    )  # fmt: skip
    keeper = ManifestKeeper(fs, "/store", first, release_reserve=lambda: None)
    seen: list[int] = []

    def change(manifest: Manifest) -> Manifest:
        seen.append(manifest.next_segment)
        return manifest.next_generation(next_segment=manifest.next_segment + 1)

    threads = [threading.Thread(target=keeper.publish, args=(change,)) for _ in range(2)]
    threads[0].start()
    assert fs.begun.wait(10)
    threads[1].start()
    threads[1].join(0.05)
    fs.goes_on.set()
    for thread in threads:
        thread.join(10)
    assert seen == [1, 2]
    assert keeper.current.next_segment == 3
