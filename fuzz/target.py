"""What a target is, and what it says when it found something.

A target makes valid inputs, may know how to mutate them where plain mutation
ends at the first checksum, and runs any bytes at all. Whatever it raises is a
finding: it catches what the code under test declares, and nothing else.

This module knows no store, so that the code under test is imported only once a
coverage-guided engine is ready to watch it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

Engine = Literal["atheris", "mutation", "hypothesis"]

INPUT_BYTES_MAX = 64 * 1024
"""No input is longer: what a decoder takes for it is then the decoder's own doing."""


class FindingError(Exception):
    """Something was accepted, given back or changed that should not have been."""


def require(condition: object, says: str) -> None:
    """Raise a finding unless the condition holds. Not an assert: those vanish under -O."""
    if not condition:
        raise FindingError(says)


def no_structure(data: bytes, _chance: Random) -> bytes:
    """Return the input as it is: plain mutation is all that this target needs."""
    return data


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder, or a few that take the same kind of input.

    `seeds` makes valid inputs, the same for the same chance; `run` takes any
    bytes; `mutate` changes an input such that its checksums are right again.
    `examples` is for a target that brings its own generator, which is called
    with a seed and a function that notes each example: no bytes reach `run`.
    """

    name: str
    says: str
    seeds: Callable[[Random], Iterable[bytes]]
    run: Callable[[bytes], None]
    mutate: Callable[[bytes, Random], bytes] = no_structure
    examples: Callable[[int, Callable[[], None]], None] | None = None
    bytes_max: int = 4096


def nothing(_data: Any) -> None:
    """Run no input: for a target that generates its own."""
