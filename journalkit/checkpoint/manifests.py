"""The manifests of a job's checkpoints, and which packs each needs: read once, since they never change."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable

from journalkit.checkpoint.loading import Manifest, read_manifest
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.format.head import CheckpointEntry
from journalkit.objects.interface import ReadableObjects


class Manifests:
    """Reads manifests of one place. Threads may share it."""

    def __init__(self, objects: ReadableObjects) -> None:
        self._objects = objects
        self._needs: dict[tuple[int, int], frozenset[str]] = {}
        self._damaged: set[tuple[int, int]] = set()
        self._guard = threading.Lock()

    def read(self, entry: CheckpointEntry) -> Manifest:
        """Return a checkpoint's manifest, checked against what the head says of it.

        Raises:
            CorruptionError: It is missing, damaged, or another checkpoint's.
            UnsupportedFormatError: A later journalkit wrote it.
            ArchiveUnavailableError, StorageError: It can't be read.
        """
        key = names.checkpoint_key(*entry.place)
        manifest = read_manifest(self._objects, key, entry.manifest_digest)
        if (manifest.said.epoch, manifest.said.save) != entry.place:
            path = f"{self._objects.where}/{key}"
            raise CorruptionError("it is another checkpoint's manifest", path=path, next_step="load an older one")
        self.learn(entry, manifest)
        return manifest

    def check_packs(self, manifest: Manifest) -> None:
        """Raise CorruptionError unless the packs that it needs are there, in their length: one request for each."""
        for key, use in manifest.packs().items():
            status = self._objects.status(key)
            if status is None or status.size_bytes != use.pack.pack_bytes:
                reason = "a pack is missing" if status is None else f"a pack has {status.size_bytes} bytes"
                raise CorruptionError(
                    f"{reason}, where there were {use.pack.pack_bytes}",
                    path=f"{self._objects.where}/{key}",
                    next_step="load an older checkpoint, which may not need it",
                )

    def note_damage(self, entry: CheckpointEntry) -> None:
        """Note that a checkpoint is damaged, somewhere."""
        self._damaged.add(entry.place)

    def is_damaged(self, entry: CheckpointEntry) -> bool:
        """Whether somebody who asked by this handle saw that it is."""
        return entry.place in self._damaged

    def learn(self, entry: CheckpointEntry, manifest: Manifest) -> frozenset[str]:
        """Note which packs a checkpoint needs, by its manifest, and return their keys."""
        needs = frozenset(manifest.packs())
        with self._guard:
            self._needs[entry.place] = needs
        return needs

    def needs(self, entry: CheckpointEntry) -> Collection[str]:
        """Return the keys of the packs that a checkpoint needs. Raises as `read`."""
        known = self._needs.get(entry.place)
        # Not out of the dictionary: another thread may have forgotten it by now.
        return known if known is not None else self.learn(entry, self.read(entry))

    def forget(self, entries: Iterable[CheckpointEntry]) -> None:
        """Let go of what is known of checkpoints that there are no more."""
        with self._guard:
            for entry in entries:
                self._needs.pop(entry.place, None)
