"""Damage to what was saved, and saves that fail: told with the place, and nothing half done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journalkit.checkpoint.loading import Manifest, read_manifest
from journalkit.checkpoint.saving import SaveOptions, write_checkpoint
from journalkit.checkpoint.tree import capture
from journalkit.errors import CorruptionError, StoreFullError, UnsupportedFormatError, UsageError
from journalkit.testing import SimulatedBucket


@pytest.mark.parametrize("options", [SaveOptions("sha256", threads=0), SaveOptions("blake3", "zstd", threads=0)])
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_damage_anywhere_is_found_with_its_place(saves: Any, options: SaveOptions, data: st.DataObject) -> None:
    """A flipped bit in a pack: the load refuses, and verify says which bytes of the state it is."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    state = {"w": np.arange(40_000) % 97, "b": b"0123456789" * 20_000}
    manifest = saves.opened(objects, saves.save(objects, state, options=options))
    [(key, use)] = manifest.packs().items()
    whole = bytearray(objects.get(key) or b"")
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    objects.put(key, (bytes(whole),))
    found = manifest.verify()
    if not any(start <= at < stop for start, stop in use.ranges):
        assert len(found) == (at < 64)
        assert saves.same(manifest.load(), state)
        return
    if not found:  # of a compressed chunk there are bits that say nothing
        assert options.compression == "zstd"
        assert saves.same(manifest.load(), state)
        return
    [error] = found
    assert error.path.endswith(key)
    assert error.offset_bytes is not None
    assert error.offset_bytes <= at
    assert "state['w']" in str(error) or "state['b']" in str(error)
    with pytest.raises(CorruptionError) as raised:
        manifest.load()
    assert str(raised.value) == str(error)


def test_a_pack_that_is_missing_or_cut_off_is_told(saves: Any) -> None:
    """By its name, and what is lost by its own."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    manifest = saves.opened(objects, saves.save(objects, {"w": saves.rows(300), "x": 1}))
    [key] = manifest.packs()
    whole = objects.get(key) or b""
    objects.put(key, (whole[:-1],))
    found = [str(each) for each in manifest.verify()]
    assert len(found) == 2
    assert "it has 2457663 bytes, and had 2457664" in found[0]
    assert "ends before the bytes of state['w']" in found[1]
    objects.delete(key)
    found = [str(each) for each in manifest.verify()]
    assert "a pack is missing" in found[0]
    assert "the pack that has state['w'] is missing" in found[1]
    with pytest.raises(CorruptionError, match="missing"):
        manifest.load()
    assert manifest.load(paths=[("x",)]) == {("x",): 1}


def test_a_damaged_tree_is_told_and_the_rest_is_looked_at(saves: Any) -> None:
    """Verify goes on where a load can't."""
    objects = SimulatedBucket().handle()
    written = saves.save(objects, {"w": saves.rows(30), "many": ["some text"] * 20_000})
    manifest = saves.opened(objects, written)
    [(key, use)] = manifest.packs().items()
    whole = bytearray(objects.get(key) or b"")
    whole[-1] ^= 1
    objects.put(key, (bytes(whole),))
    [error] = manifest.verify()
    assert "the tree" in str(error)
    whole[100] ^= 1
    objects.put(key, (bytes(whole),))
    assert len(manifest.verify()) == 2
    assert use.used_bytes == len(whole) - 64


def test_a_manifest_that_is_missing_or_another_is_told(saves: Any) -> None:
    """The head names it by its digest."""
    objects = SimulatedBucket().handle()
    written = saves.save(objects, {"x": 1})
    with pytest.raises(CorruptionError, match="missing"):
        read_manifest(objects, "manifests/0/0")
    with pytest.raises(CorruptionError, match="isn't the manifest"):
        read_manifest(objects, written.manifest_key, b"x" * 32)
    data = objects.get(written.manifest_key) or b""
    objects.put(written.manifest_key, (data[:-1] + b"y",))
    with pytest.raises(CorruptionError, match="damaged"):
        read_manifest(objects, written.manifest_key)


def test_what_a_save_cannot_say_is_refused_before_anything_is_written(saves: Any) -> None:
    """And what can't be written is the place's error."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    captured = capture({"x": saves.rows(20)})
    for wrong in ({"offsets": {"x": 1j}}, {"metadata": object()}, {"name": "x" * 201}, {"part": -1}):
        with pytest.raises(UsageError):
            write_checkpoint(objects, job=saves.JOB, epoch=1, save=1, captured=captured, time_us=5, **wrong)  # type: ignore[arg-type]
    for options in (SaveOptions(compression="rar"), SaveOptions(digest="md5")):
        with pytest.raises((UsageError, UnsupportedFormatError)):
            write_checkpoint(objects, job=saves.JOB, epoch=1, save=1, captured=captured, time_us=5, options=options)
    assert bucket.operation_count == 0
    bucket.fail("put", 1, "full")
    with pytest.raises(StoreFullError):
        saves.save(objects, {"x": saves.rows(20)})
    assert objects.list() == []




def test_what_a_checksum_lets_through_a_digest_does_not(saves: Any) -> None:
    """Verify and copies look at both; a load at what finds every accident."""
    objects = SimulatedBucket().handle()
    manifest = saves.opened(objects, saves.save(objects, {"b": b"0123456789" * 20_000}))
    [listed] = manifest.said.chunked
    other = Manifest(objects, "", replace(manifest.said, chunked=(replace(listed, digests=b"x" * 32),)))
    assert other.load() == manifest.load()
    [error] = other.verify()
    assert "state['b']" in str(error)
    with pytest.raises(CorruptionError):
        list(other.reader.pieces(0))
    other = Manifest(objects, "", replace(manifest.said, chunked=(replace(listed, checks=b"x" * 4),)))
    with pytest.raises(CorruptionError, match="aren't what was saved"):
        other.load()
