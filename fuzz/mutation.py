"""Mutation of bytes that knows nothing of what they are."""

from __future__ import annotations

from random import Random

_BYTES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x01\0\0\0", b"\xfe\xff\xff\xff")
_LONGS = tuple(number.to_bytes(8, "little") for number in (0, 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))
_TIMES = (1, 1, 1, 2, 4, 8)


def mutate(data: bytes, chance: Random) -> bytes:
    """Return `data` with a few bits, bytes, words or spans changed; sometimes noise instead."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(200))
    out = bytearray(data)
    for _ in range(chance.choice(_TIMES)):
        if not out:
            out += chance.randbytes(1)
        at = chance.randrange(len(out))
        kind = chance.randrange(9)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.choice(_BYTES)
        elif kind == 2:
            del out[at : at + chance.randrange(1, 9)]
        elif kind == 3:
            out[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 4:
            word = chance.choice(_WORDS + _LONGS)
            out[at : at + len(word)] = word
        elif kind == 5:
            start = chance.randrange(len(out))
            out[at:at] = out[start : start + chance.randrange(1, 64)]
        elif kind == 6:
            out[at] = (out[at] + chance.choice((-1, 1))) & 0xFF
        elif kind == 7:
            start = chance.randrange(len(out))
            count = chance.randrange(1, 64)
            out[at : at + count] = out[start : start + count]
        else:
            del out[at:]
    return bytes(out)
