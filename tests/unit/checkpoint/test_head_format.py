"""The bytes of heads and pages: they come back, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.format.codec import CborCodec
from journalkit.format.envelope import HEADER, HEADER_BYTES, Envelope
from journalkit.format.head import (
    ANCESTORS_MAX,
    BYTES_MAX,
    HEAD_MAGIC,
    PAGED_MAX,
    VERSION,
    CheckpointEntry,
    Head,
    Page,
    PageEntry,
    TrashEntry,
    decode_head,
    decode_page,
    encode_head,
    encode_page,
)
from journalkit.format.malformed import MalformedError, NewerFormatError

ENTRY = CheckpointEntry(1, 2, -3, 4, b"d" * 32, "before the upgrade", {"loss": 0.5})
PAGE_ENTRY = PageEntry(0, 1, b"p" * 16, 100, 1, 1, 1, 100, 5000, b"e" * 32)
HEAD = Head(
    b"j" * 16, 70, 3, b"n" * 16, 7, "several", 2, tuple(bytes([n]) * 16 for n in range(ANCESTORS_MAX)),
    (ENTRY, replace(ENTRY, save=9, name="")), (PAGE_ENTRY,), (TrashEntry(replace(ENTRY, save=1), 8),),
)  # fmt: skip
PAGE = Page(b"j" * 16, 0, b"p" * 16, checkpoints=(ENTRY,))


def sealed(plain: Any) -> bytes:
    """Return a head of sound bytes with this body."""
    return Envelope("head", HEAD_MAGIC, VERSION, "checkpoints").seal_plain(plain)


def test_what_is_encoded_comes_back() -> None:
    """All of it, of the same types."""
    assert decode_head(encode_head(HEAD)) == HEAD
    assert decode_page(encode_page(PAGE)) == PAGE
    above = Page(b"j" * 16, 1, b"q" * 16, pages=(PAGE_ENTRY,))
    assert decode_page(encode_page(above)) == above


def test_what_a_checkpoint_restores_is_written_only_where_it_restores_one() -> None:
    """So that a place without such checkpoints is what it was before there were any."""
    assert b"restores" not in encode_head(HEAD) + encode_page(PAGE)
    restoring = replace(ENTRY, save=10, restores="1.2")
    head = replace(HEAD, checkpoints=(restoring,), trash=(TrashEntry(replace(restoring, save=1), 8),))
    assert decode_head(encode_head(head)) == head
    page = replace(PAGE, checkpoints=(restoring,))
    assert decode_page(encode_page(page)) == page


@pytest.mark.parametrize("restores", ["0.1", "1", "1.2.3", "latest", "1.99999999999", 5, None])
def test_what_restores_no_checkpoint_is_no_head(restores: Any) -> None:
    """An id, or it isn't there."""
    plain = CborCodec().decode(encode_head(HEAD)[HEADER_BYTES:])
    plain["checkpoints"][0]["restores"] = restores
    with pytest.raises(MalformedError, match="restores"):
        decode_head(sealed(plain))


def test_ancestors_are_known_by_number() -> None:
    """The latest first; what is forgotten, or still to come, is None."""
    assert [HEAD.nonce_of(number) for number in (70, 69, 6, 5, 71)] == [
        b"n" * 16, b"\0" * 16, bytes([ANCESTORS_MAX - 1]) * 16, None, None,
    ]  # fmt: skip


@given(st.data())
def test_every_flipped_bit_and_every_cut_is_noticed(data: st.DataObject) -> None:
    """A head is believed whole or not at all."""
    whole = encode_head(HEAD)
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[at // 8] ^= 1 << at % 8
    with pytest.raises((MalformedError, NewerFormatError)):
        decode_head(bytes(flipped))
    with pytest.raises(MalformedError):
        decode_head(whole[: at // 8])
    with pytest.raises(MalformedError):
        decode_head(whole + b"\0")


@given(st.binary(max_size=300))
def test_hostile_bytes_are_malformed_and_nothing_worse(data: bytes) -> None:
    """Whoever can write the bucket can put anything there, with right checksums."""
    for decode in (decode_head, decode_page):
        with pytest.raises(MalformedError):
            decode(data)
    with pytest.raises(MalformedError):
        decode_head(sealed(data))  # type: ignore[arg-type]


def test_a_page_is_no_head_and_too_many_bytes_are_neither() -> None:
    """The magic says which."""
    with pytest.raises(MalformedError, match="not a head"):
        decode_head(encode_page(PAGE))
    with pytest.raises(MalformedError, match="not a page"):
        decode_page(encode_head(HEAD))
    with pytest.raises(MalformedError, match="are no head"):
        decode_head(bytes(BYTES_MAX + 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"job": b"short"}, {"number": 0}, {"number": True}, {"number": 10**10}, {"epoch": 0}, {"epoch": -1},
        {"nonce": "n" * 16}, {"time_us": 1 << 63}, {"time_us": 1.0}, {"writers": "two"}, {"boundary_epoch": 4},
        {"ancestors": (b"short",)}, {"ancestors": ("x" * 16,)}, {"ancestors": (b"x" * 16,) * (ANCESTORS_MAX + 1)},
        {"number": 3, "ancestors": (b"x" * 16,) * 3}, {"checkpoints": (ENTRY, ENTRY)},
        {"checkpoints": (replace(ENTRY, save=3), ENTRY)}, {"checkpoints": (replace(ENTRY, name="x" * 201),)},
        {"checkpoints": (replace(ENTRY, metrics={"a": 1}),)}, {"checkpoints": (replace(ENTRY, metrics={1: 1.0}),)},
        {"checkpoints": (replace(ENTRY, metrics={str(n): 0.0 for n in range(65)}),)},
        {"checkpoints": (replace(ENTRY, metrics=[]),)}, {"checkpoints": (replace(ENTRY, manifest_digest=b""),)},
        {"pages": (replace(PAGE_ENTRY, count=0),)}, {"pages": (replace(PAGE_ENTRY, first_save=101),)},
        {"pages": (replace(PAGE_ENTRY, level=9),)}, {"pages": (PAGE_ENTRY,) * (PAGED_MAX + 1)},
        {"trash": (TrashEntry(replace(ENTRY, save=-1), 0),)}, {"trash": (TrashEntry(ENTRY, "x"),)},  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_head_that_contradicts_itself_is_neither_written_nor_read(wrong: dict[str, Any]) -> None:
    """Right checksums say that somebody meant it, and no more."""
    head = replace(HEAD, **wrong)
    with pytest.raises((MalformedError, ValueError)):
        encode_head(head)


@pytest.mark.parametrize(
    "page",
    [
        replace(PAGE, checkpoints=()), replace(PAGE, level=1), replace(PAGE, pages=(PAGE_ENTRY,)),
        Page(b"j" * 16, 2, b"q" * 16, pages=(PAGE_ENTRY,)), Page(b"j" * 16, 0, b"q" * 16, pages=(PAGE_ENTRY,)),
    ],
)  # fmt: skip
def test_a_page_that_contradicts_itself_is_neither_written_nor_read(page: Page) -> None:
    """Its level says what it holds."""
    with pytest.raises(MalformedError):
        encode_page(page)


def plain() -> dict[str, Any]:
    """Return a head's body as it is decoded."""
    found: Any = CborCodec().decode(encode_head(HEAD)[HEADER_BYTES:])
    return dict(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("trash"), lambda body: body.update(more=1), lambda body: body.update(checkpoints={}),
        lambda body: body.update(checkpoints=[1]), lambda body: body["checkpoints"][0].pop("name"),
        lambda body: body["trash"][0].update(checkpoint=None), lambda body: body.update(ancestors=[1, 2]),
        lambda body: body.update(pages="pages"), lambda body: body.update(metrics={}),
    ],
)  # fmt: skip
def test_a_body_of_another_shape_is_malformed(change: Any) -> None:
    """No field is made up, and none is passed over."""
    body = plain()
    assert decode_head(sealed(body)) == HEAD
    change(body)
    with pytest.raises(MalformedError, match=r"makes no sense|ancestor"):
        decode_head(sealed(body))


def test_a_later_version_is_told_from_damage() -> None:
    """Upgrade, and nothing was touched."""
    from journalkit.format.checksum import checksum

    data = bytearray(encode_head(HEAD))
    data[HEADER.offset_of("version")] = 2
    data[HEADER_BYTES - 4 : HEADER_BYTES] = checksum(bytes(data[: HEADER_BYTES - 4])).to_bytes(4, "little")
    with pytest.raises(NewerFormatError, match=r"format 2\.0"):
        decode_head(bytes(data))
