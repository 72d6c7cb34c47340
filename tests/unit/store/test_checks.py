"""Checks: what may still happen to a commit when its place is decided."""

from __future__ import annotations

import pytest

from journalkit.errors import ConflictError
from journalkit.format.codec import CborCodec
from journalkit.format.frame import Kind
from journalkit.format.keys import Keyspace, encode_key, reserved_key
from journalkit.log.commit import Commit
from journalkit.store.checks import Check, Checks, MissingKeyError
from journalkit.store.layers import Layers
from journalkit.store.reading import Decoder
from journalkit.testing import SimulatedClock
from journalkit.types import ABSENT

A, B, C = encode_key("a"), encode_key("b"), encode_key("c")
ONE, TWO = CborCodec().encode(1), CborCodec().encode(2)


def commit(*mutations: tuple[bytes, bytes | None]) -> Commit:
    """Return a commit of these mutations."""
    return Commit(b"x", Kind.BATCH, mutations, durable=False)


@pytest.fixture
def layers() -> Layers:
    """The keys a and b, in one record."""
    layers = Layers(SimulatedClock())
    layers.apply([commit((A, ONE), (B, TWO))], 1)
    return layers


@pytest.fixture
def checks(layers: Layers) -> Checks:
    """The checks of those layers."""
    return Checks(layers, Decoder(CborCodec(), "/store"))


def passes(check: Check, *earlier: Commit, last_lsn: int = 1) -> bool:
    """Whether a check lets a commit pass behind others of its group."""
    try:
        check(last_lsn, earlier)
    except ConflictError:
        return False
    return True


def test_earlier_commits_of_the_group_count_though_nobody_sees_them_yet(checks: Checks) -> None:
    """Two compare-and-swaps in one group would both win otherwise: a lost update."""
    check = checks.unchanged("a", A, ONE)
    assert passes(check)
    assert passes(check, commit((B, ONE)))
    assert not passes(check, commit((A, TWO)))
    assert not passes(check, commit((A, None)))
    assert passes(check, commit((A, TWO), (A, ONE)))
    assert not passes(check, commit((A, ONE)), commit((A, TWO)))


def test_absent_and_deleted_are_the_same(checks: Checks) -> None:
    """Whether a tombstone is still there depends on folds, which nobody may notice."""
    assert passes(checks.unchanged("c", C, ABSENT), commit((C, None)))
    assert passes(checks.unchanged("c", C, None))
    assert not passes(checks.unchanged("c", C, None), commit((C, ONE)))


def test_expected_compares_decoded_values(checks: Checks) -> None:
    """1 and 1.0 are equal to who asks, whatever bytes they have."""
    assert passes(checks.expected("a", A, 1.0))
    assert not passes(checks.expected("a", A, 2))
    assert not passes(checks.expected("a", A, ABSENT))
    assert passes(checks.expected("c", C, ABSENT))
    assert not passes(checks.expected("c", C, 1))


def test_exists_says_so_in_an_error_of_its_own(checks: Checks) -> None:
    """`del` makes a KeyError of it and of nothing else."""
    assert passes(checks.exists(A))
    with pytest.raises(MissingKeyError):
        checks.exists(A)(1, [commit((A, None))])


def test_nothing_since_is_about_places_in_the_log(checks: Checks) -> None:
    """A record that is written and not visible yet has overtaken the reader too."""
    assert passes(checks.nothing_since(1))
    assert not passes(checks.nothing_since(1), last_lsn=2)


def test_the_last_key_is_judged_by_what_was_set_behind_it(layers: Layers, checks: Checks) -> None:
    """popitem() mustn't lose to every write of somebody else, and mustn't miss a later key."""
    check = checks.still_last(layers.freeze(), B, TWO)
    assert passes(check)
    assert passes(check, commit((A, TWO), (C, None)))
    assert not passes(check, commit((C, ONE)))
    assert not passes(check, commit((B, ONE)))
    layers.apply([commit((A, None))], 2)
    layers.freeze()
    assert passes(check)
    layers.apply([commit((C, ONE))], 3)
    assert not passes(check)


def test_keys_set_meanwhile_are_found_wherever_they_went(layers: Layers, checks: Checks) -> None:
    """clear() means every key at one moment."""
    check = checks.no_others(layers.freeze(), {A, B})
    layers.apply([commit((A, TWO), (C, None), (reserved_key(Keyspace.OFFSETS, "x"), ONE))], 2)
    assert passes(check)
    assert not passes(check, commit((C, TWO)))
    layers.apply([commit((C, TWO))], 3)
    layers.freeze()
    assert not passes(check)


def test_behind_a_fold_it_is_not_known_what_was_set(layers: Layers, checks: Checks) -> None:
    """What was written may be in a table by now: the check refuses, and its caller looks again."""
    check = checks.no_others(layers.freeze(), {A, B})
    folded = layers.begin_fold()
    layers.tables = ("another",)  # type: ignore[assignment]
    layers.abandon_fold(folded)
    assert not passes(check)


def test_a_refusal_can_be_told_for_every_key_and_value(checks: Checks) -> None:
    """A large integer is a key and has no `repr`: the ConflictError was a ValueError."""
    huge = 1 << 20_000
    with pytest.raises(ConflictError, match="key <int>"):
        checks.expected(huge, encode_key(huge), [1] * 1000)(1, ())
    with pytest.raises(ConflictError, match="key <int>"):
        checks.unchanged(huge, encode_key(huge), ONE)(1, ())
