"""The target of a table's filter pages."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from random import Random

from fuzz import reseal
from fuzz.mutation import mutate
from fuzz.target import FindingError, Target, require
from journalkit.format import block, filters
from journalkit.format.malformed import MalformedError

SALT = 0x5EED
_AT = 4096


def filter_seeds(chance: Random) -> Iterable[bytes]:
    """Filter pages, and a key to ask them for, one byte long and what it says."""
    for count in (0, 1, 2, 30):
        keys = [chance.randbytes(chance.randrange(1, 9)) for _ in range(count)]
        page = filters.encode_page(filters.part_of(block.key_crcs(keys)))
        asked = keys[-1] if keys else b""
        yield bytes((len(asked),)) + asked + page + block.block_checksum(page, salt=SALT, offset_bytes=_AT)


def mutate_filter(data: bytes, chance: Random) -> bytes:
    """Change a page, or what it is asked for, and make the checksum right."""
    changed = mutate(data, chance)
    cut = 1 + (changed[0] if changed else 0)
    return changed[:cut] + reseal.block(changed[cut:], SALT, _AT)


def run_filter(data: bytes) -> None:
    """A page says what its bytes say, of any stretch of its entries, or isn't one."""
    cut = 1 + (data[0] if data else 0)
    key, page = data[1:cut], data[cut:]
    count = max(len(page) - filters.PAGE_OVERHEAD_BYTES, 0) // filters.ENTRY_BYTES
    try:
        block.check_block(page, salt=SALT, offset_bytes=_AT)
        filters.check_page(page, count)
    except MalformedError:
        return
    require(filters.page_length(page) == len(page), "a page's length is told wrongly")
    part = page[filters.HEAD_BYTES : -block.CRC_BYTES]
    require(filters.encode_page(part) == page[: -block.CRC_BYTES], "a page changes")
    wanted = filters.part_of(block.key_crcs([key]))
    said = [bytes(pair) for pair in zip(part[:count], part[count:], strict=True)]
    for low, high in ((0, count), (0, count // 2), (count // 2, count), (count // 3, count // 3)):
        may = filters.may_hold(page, low, high, key)
        require(may == (wanted in said[low:high]), "a filter is asked for one thing and answers another")
    with suppress(MalformedError):
        filters.check_page(page, count + 1)
        raise FindingError("a page passes for one of more entries")


TARGETS = (Target("filter", "a table's filter pages", filter_seeds, run_filter, mutate_filter),)
