"""Bytes that no encoder of ours wrote: each is malformed, costs nothing and does nothing."""

from __future__ import annotations

import decimal
import tracemalloc
from decimal import Decimal
from uuid import UUID

import cbor2
import pytest

from journalkit.format import cbor_tags
from journalkit.format.codec import CborCodec
from journalkit.format.malformed import MalformedError
from journalkit.format.values import VALUE_DEPTH_MAX, same

CBOR = CborCodec()

MALFORMED: dict[str, str] = {
    "nothing": "",
    "a byte behind an integer": "0100",
    "a byte behind a constant": "f6f6",
    "a byte behind short bytes": "416161",
    "a byte behind a medium string": "7818" + "61" * 24 + "00",
    "a byte behind long bytes": "590100" + "61" * 256 + "00",
    "a byte behind a map": "a000",
    "the end mark behind an array": "80" + (b"\x50journalkit.ends!" * 2).hex(),
    "a head without its size": "58",
    "a head with half its size": "5901",
    "a string cut short": "6261",
    "bytes cut short, which the end mark would fill": "5061",
    "an array cut short": "8201",
    "an array that the end mark would fill": "81",
    "a map without its value": "a101",
    "a tag without its content": "c0",
    "no UTF-8": "61ff",
    "no UTF-8 in a medium string": "7818" + "ff" * 24,
    "a surrogate": "63eda080",
    "an integer of an unknown width": "1c",
    "a break": "ff",
    "a break in an array": "81ff",
    "a reserved simple value": "fc",
    "an indefinite array": "9f01ff",
    "an indefinite map": "bf0101ff",
    "indefinite bytes": "5f4161ff",
    "an indefinite string": "7f6161ff",
    "a key twice": "a201010102",
    "a key twice in another width": "a20101180102",
    "a key twice, as a float": "a20101f93c0002",
    "an element twice": "d90102820101",
    "undefined": "f7",
    "undefined in an array": "81f7",
    "a simple value": "e3",
    "a long simple value": "f8ff",
    "a simple value as a key": "a1e301",
    "a map as a key": "a1a001",
    "an epoch datetime": "c11a65000000",
    "a decimal fraction, quadratic to read": "c48221190113",
    "a decimal fraction with a huge exponent": "c4821b7fffffffffffffff01",
    "a bigfloat": "c5820101",
    "a string reference": "d81900",
    "a string namespace": "d9010080",
    "a shared value": "d81c80",
    "a shared value that holds itself": "d81c81d81d00",
    "a shared reference": "d81d00",
    "a regular expression": "d8236128",
    "a MIME message": "d8246161",
    "an IPv4 address": "d8344401020304",
    "an IPv6 address": "d83650" + "00" * 16,
    "an epoch date": "d8640a",
    "a deprecated IP address": "d901044401020304",
    "a network": "d90105a14401020304181c",
    "a complex number": "d9a7f8820102",
    "self-described CBOR": "d9d9f701",
    "an unknown tag": "da4a4b000401",
    "an unknown tag of eight bytes": "dbffffffffffffffff01",
    "a bignum of an array": "c28101",
    "a bignum of an integer": "c301",
    "a datetime that is no text": "c001",
    "a naive datetime": "c073323032302d30312d30325430333a30343a3035",
    "a datetime in the thirteenth month": "c074323032302d31332d30325430333a30343a30355a",
    "a datetime a day off": "c07819323032302d30312d30325430333a30343a30352b39393a3030",
    "a date that is none": "d903ec6a323032302d30322d3330",
    "a date of ten other characters": "d903ec6a323032302d5730312d31",
    "a date that is no text": "d903ec01",
    "a fraction over zero": "d81e820100",
    "a fraction over a negative": "d81e820120",
    "a fraction of three": "d81e83010203",
    "a fraction of a bool": "d81e8201f5",
    "a fraction of a float": "d81ef93c00",
    "a fraction beyond the bound": "d81e8201c2592001" + "ff" * 8193,
    "a UUID of fifteen bytes": "d8254f" + "00" * 15,
    "a UUID of sixteen numbers": "d82590" + "00" * 16,
    "a set of a string": "d901026161",
    "a set of a map": "d90102a0",
    "a set of a map in a set": "d9010281a0",
    "a tuple of a number": "da4a4b000101",
    "a tuple of a string": "da4a4b00016161",
    "a frozenset of an array": "da4a4b000280",
    "a frozenset in a key that is an array": "a1da4a4b00028001",
    "a decimal that is no number": "da4a4b0003616e",
    "a decimal with an underscore": "da4a4b000363315f30",
    "a decimal with a long exponent": "da4a4b00036931453939393939393939",
    "a decimal beyond the exponent": "da4a4b00036931452b31303030303030",
    "a decimal that is a float": "da4a4b0003fb3ff8000000000000",
    "nested beyond the library's bound": "81" * 500 + "01",
    "nested beyond ours": "81" * (VALUE_DEPTH_MAX + 1) + "01",
    "tags beyond the bound": "da4a4b0001" * 500 + "80",
    "an array of 2^64 elements": "9bffffffffffffffff",
    "a map of 2^64 entries": "bbffffffffffffffff",
    "bytes of 2^64": "5bffffffffffffffff",
    "a string of 2^63": "7b7fffffffffffffff",
    "bytes of 2^31 in an array": "815a7fffffff",
    "a set of 2^32 elements": "d901029b00000000ffffffff",
    "a bignum of 2^40 bytes": "c25b0000010000000000",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_hostile_bytes_are_malformed_and_cost_nothing(data: str) -> None:
    """No other error gets out, nothing is allocated for what is only announced, no code runs."""
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError) as caught:
            CBOR.decode(bytes.fromhex(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert len(caught.value.reason) <= 200


def test_a_decimal_is_checked_whatever_the_context() -> None:
    """Without traps, Python reads any text as a quiet NaN."""
    with decimal.localcontext(decimal.Context(traps=[], capitals=0)):
        assert same(CBOR.decode(CBOR.encode(Decimal("1E+50"))), Decimal("1E+50"))
        with pytest.raises(MalformedError):
            CBOR.decode(bytes.fromhex("da4a4b0003616e"))


def test_the_end_of_a_value_that_holds_the_end_mark_is_still_found() -> None:
    """The quick way to find the end steps back where it could be deceived."""
    data = CBOR.encode([b"journalkit.ends!"])
    assert CBOR.decode(data) == [b"journalkit.ends!"]
    with pytest.raises(MalformedError) as caught:
        CBOR.decode(data + b"\x50journalkit.ends!")
    assert caught.value.offset_bytes == len(data)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RecursionError])
def test_an_interrupt_while_decoding_is_no_verdict_on_the_bytes(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library wraps whatever its callbacks raise; a Ctrl-C taken for corruption would send someone to salvage."""

    def interrupted(item: object, immutable: bool) -> None:
        raise error

    monkeypatch.setitem(cbor_tags.DECODERS, cbor_tags.TAG_UUID, interrupted)
    with pytest.raises(error):
        CBOR.decode(cbor2.dumps(UUID(int=0)))
