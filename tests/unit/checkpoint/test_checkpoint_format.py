"""The bytes of a checkpoint's manifest and of a pack's head: they come back, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.errors import UsageError
from journalkit.format import checkpoint
from journalkit.format.checkpoint import (
    ALIGNMENT,
    MAGIC,
    PACK_HEADER_BYTES,
    CheckpointManifest,
    ChunkList,
    PackEntry,
    check_pack_header,
    decode_manifest,
    encode_manifest,
    encode_pack_header,
)
from journalkit.format.envelope import Envelope
from journalkit.format.malformed import MalformedError, NewerFormatError

FIXED = ChunkList(2500, 1000, (), b"d" * 96, b"c" * 12, (0, 64, 2, 1, 64, 1))
CUT = ChunkList(700, 0, (300, 400), b"e" * 64, b"c" * 8, (1, 600, 2))
PACKED = ChunkList(1500, 1000, (), b"f" * 64, b"c" * 8, (0, 3000, 2), (10, 500))
PACKS = (PackEntry(1, 2, 0, 4000), PackEntry(3, 4, 1, 5000))
MANIFEST = CheckpointManifest(
    b"j" * 16, 3, 4, 1, -5, "sha256", b"\xa0", (FIXED, CUT, PACKED), PACKS,
    {"orders": 7}, {"git": "abc", "at": datetime(2026, 1, 1, tzinfo=UTC)}, {"loss": 0.5}, "before the upgrade",
)  # fmt: skip
SEALED = Envelope("manifest", MAGIC, 1, "a checkpoint")


def test_what_is_encoded_comes_back() -> None:
    """All of it, of the same types."""
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST
    other = replace(MANIFEST, tree=2, chunked=(FIXED, CUT, PACKED), digest="blake3", metadata=None)
    assert decode_manifest(encode_manifest(other)) == other


def test_what_it_restores_is_written_only_where_it_restores_one() -> None:
    """And is the id of a checkpoint."""
    assert b"restores" not in encode_manifest(MANIFEST)
    restoring = replace(MANIFEST, restores="3.1")
    assert decode_manifest(encode_manifest(restoring)) == restoring
    with pytest.raises(MalformedError, match="restores"):
        encode_manifest(replace(MANIFEST, restores="3"))


def test_a_list_of_chunks_knows_their_lengths() -> None:
    """Of fixed ones the last is what is left."""
    assert (len(FIXED), list(FIXED.lengths())) == (3, [1000, 1000, 500])
    assert (len(CUT), list(CUT.lengths())) == (2, [300, 400])


@given(st.data())
def test_every_flipped_bit_and_every_cut_is_noticed(data: st.DataObject) -> None:
    """A manifest is believed whole or not at all."""
    whole = encode_manifest(MANIFEST)
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[at // 8] ^= 1 << at % 8
    with pytest.raises((MalformedError, NewerFormatError)):
        decode_manifest(bytes(flipped))
    with pytest.raises(MalformedError):
        decode_manifest(whole[: at // 8])


@given(st.binary(max_size=300))
def test_hostile_bytes_are_malformed_and_nothing_worse(data: bytes) -> None:
    """Whoever can write the bucket can put anything there, with right checksums."""
    with pytest.raises(MalformedError):
        decode_manifest(data)
    with pytest.raises(MalformedError):
        decode_manifest(SEALED.seal(data))


def test_too_many_bytes_are_no_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither written nor read."""
    data = encode_manifest(MANIFEST)
    monkeypatch.setattr(checkpoint, "MANIFEST_BYTES_MAX", len(data) - 1)
    with pytest.raises(MalformedError, match="too large"):
        encode_manifest(MANIFEST)
    with pytest.raises(MalformedError, match="no checkpoint's manifest"):
        decode_manifest(data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"job": b"short"}, {"job": "j" * 16}, {"epoch": -1}, {"epoch": True}, {"epoch": 10**10}, {"save": 10**10},
        {"part": 10**6}, {"time_us": 1 << 63}, {"time_us": 0.5}, {"digest": "md5"}, {"digest": None}, {"tree": 3},
        {"tree": -1}, {"tree": "x"}, {"name": "x" * 201}, {"name": 7}, {"metrics": {"a": 1}}, {"metrics": {1: 1.0}},
        {"metrics": {str(n): 0.0 for n in range(65)}}, {"packs": (PACKS[0], PACKS[0])},
        {"packs": (PACKS[0], replace(PACKS[1], epoch=4))}, {"packs": (PACKS[0], replace(PACKS[1], part=-1))},
        {"packs": ()}, {"packs": (replace(PACKS[0], pack_bytes=2000), PACKS[1])},
    ],
)  # fmt: skip
def test_a_manifest_that_contradicts_itself_is_not_written(wrong: dict[str, Any]) -> None:
    """Right checksums say that somebody meant it, and no more."""
    with pytest.raises(MalformedError):
        encode_manifest(replace(MANIFEST, **wrong))


@pytest.mark.parametrize(
    ("base", "wrong"),
    [
        (FIXED, {"length": 0}), (FIXED, {"length": 3001}), (FIXED, {"length": 2000}), (FIXED, {"length": 1 << 62}),
        (FIXED, {"chunk_bytes": (64 << 20) + 1}), (FIXED, {"chunk_bytes": 0}), (FIXED, {"sizes": (1, 2, 3)}),
        (FIXED, {"digests": b""}), (FIXED, {"checks": b"c" * 11}),
        (FIXED, {"checks": "c" * 12}), (FIXED, {"digests": b"d" * 95}), (FIXED, {"digests": "d" * 96}),
        (FIXED, {"runs": (0, 64)}), (FIXED, {"runs": (0, 64, 2)}), (FIXED, {"runs": (0, 64, 4)}),
        (FIXED, {"runs": (0, 64, 3, 1, 64, 0)}), (FIXED, {"runs": (0, 63, 3)}), (FIXED, {"runs": (2, 64, 3)}),
        (FIXED, {"runs": (0, 1501, 3)}), (FIXED, {"runs": (0, "x", 3)}), (CUT, {"runs": (1, 4301, 2)}),
        (CUT, {"sizes": (300,)}), (CUT, {"sizes": (300, 401)}), (CUT, {"sizes": (700, 0)}),
        (CUT, {"sizes": ("x", 400)}), (CUT, {"sizes": (300, (64 << 20) + 1)}), (PACKED, {"stored": (10,)}),
        (PACKED, {"stored": (10, 501)}), (PACKED, {"stored": (0, 500)}), (PACKED, {"stored": (1.0, 500)}),
        (PACKED, {"runs": (0, 3491, 2)}),
        (ChunkList(1 << 20, 1 << 20, (), b"g" * 32, b"c" * 4, (0, 64, 1), (16,)), {"stored": (15,)}),
    ],
)  # fmt: skip
def test_chunks_that_are_nowhere_or_too_long_are_not_believed(base: ChunkList, wrong: dict[str, Any]) -> None:
    """A length from a file is held against what there is before it sizes anything."""
    manifest = replace(MANIFEST, chunked=(replace(base, **wrong),))
    with pytest.raises(MalformedError):
        checkpoint.check_manifest(manifest)


def plain() -> dict[str, Any]:
    """Return a manifest as what its body says."""
    from journalkit.format.codec import CborCodec

    data = encode_manifest(MANIFEST)
    found: Any = CborCodec().decode(SEALED.open(data))
    return found


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said.pop("name"), lambda said: said.update(more=1), lambda said: said.update(chunked=7),
        lambda said: said.update(packs={}), lambda said: said["packs"].append([1, 2]),
        lambda said: said["packs"].append(7), lambda said: said["chunked"].append(7),
        lambda said: said["chunked"][0].pop("runs"), lambda said: said["chunked"][0].update(runs=7),
        lambda said: said.update(offsets=[]), lambda said: said.update(metrics=[]),
        lambda said: said.update(prepared=[]), lambda said: said.update(prepared={1: []}),
        lambda said: said.update(prepared={"files": 7}),
        lambda said: said["chunked"][0].update(runs=[[], 64, 3]), lambda said: said.update(job=[]),
    ],
)  # fmt: skip
def test_a_body_of_another_shape_is_not_read(spoil: Any) -> None:
    """Fields are there, all of them, and no others."""
    said = plain()
    spoil(said)
    with pytest.raises(MalformedError, match=r"makes no sense|doesn't say"):
        decode_manifest(SEALED.seal_plain(said))


def test_what_a_job_says_is_storable_or_refused() -> None:
    """Offsets and metadata are the application's, and values like any other."""
    with pytest.raises(UsageError, match="metadata"):
        encode_manifest(replace(MANIFEST, metadata={"x": object()}))


def test_a_packs_header_names_it() -> None:
    """A pack that was swapped with another one is noticed."""
    data = encode_pack_header(b"j" * 16, 1, 2, 0)
    assert len(data) == PACK_HEADER_BYTES == ALIGNMENT
    check_pack_header(data + b"chunks", b"j" * 16, PACKS[0])
    for job, entry in ((b"k" * 16, PACKS[0]), (b"j" * 16, PACKS[1]), (b"j" * 16, replace(PACKS[0], part=1))):
        with pytest.raises(MalformedError):
            check_pack_header(data, job, entry)
