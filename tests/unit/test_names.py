"""Names: made and read in one place, and nothing of anybody else's is taken for ours."""

from __future__ import annotations

import pytest

from journalkit.format import names


@pytest.mark.parametrize("number", [1, 9, 9_999_999_999_999_998])
def test_numbers_come_back_from_names(number: int) -> None:
    """Sorted names are sorted numbers, so a listing shows the log in order."""
    assert names.segment_number(names.segment_name(number)) == number
    assert names.table_number(names.table_name(number)) == number
    assert names.segment_number(names.table_name(number)) is None
    assert names.table_number(names.segment_name(number)) is None
    assert names.segment_name(number) < names.segment_name(number + 1)


def test_keys_of_objects_sort_as_their_numbers_and_come_back() -> None:
    """The newest head is the last of a list."""
    keys = [names.head_key(number) for number in (1, 9, 10, 9_999_999_999)]
    assert keys == sorted(keys)
    assert [names.head_number(key) for key in keys] == [1, 9, 10, 9_999_999_999]
    for other in ("heads/1", "heads/0000000001\n", "pages/0000000001", "heads/٠٠٠٠٠٠٠٠٠١", "xheads/0000000001"):
        assert names.head_number(other) is None
    assert names.checkpoint_key(3, 12) == "manifests/0000000003/0000000012"
    assert names.page_key(3, b"\1\2") == "pages/0000000003/0102"


def test_what_a_save_wrote_tells_which_one() -> None:
    """What is left of a killed save is found by its name alone."""
    keys = [names.pack_key(3, 12, part) for part in (0, 1, 999_999)]
    assert keys == sorted(keys)
    assert keys[0] == "packs/0000000003/0000000012-000000"
    assert {names.saved_place(key) for key in (*keys, names.checkpoint_key(3, 12))} == {(3, 12)}
    assert names.page_epoch(names.page_key(3, b"n" * 16)) == 3
    for other in ("heads/0000000001", "packs/0000000003/12-000000", "packs/0000000003/0000000012", keys[0] + "x"):
        assert names.saved_place(other) is None
        assert names.page_epoch(other) is None


@pytest.mark.parametrize(
    "name",
    [
        "log-1.jks",
        "log-0000000000000001.jks~",
        "log-0000000000000001.jks\n",
        "xlog-0000000000000001.jks",
        "log-00000000000000001.jks",
        "log-٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠١.jks",
        "table-𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟬𝟭.jkt",
        "log-000000000000-001.jks",
        "",
    ],
)
def test_other_names_are_not_ours(name: str) -> None:
    """What isn't ours is never swept, digits of another script included."""
    assert names.segment_number(name) is None
    assert names.table_number(name) is None


def test_temporaries_are_known_by_what_they_would_have_become() -> None:
    """A kill leaves them; the next open sweeps these and no other file that ends in .tmp."""
    for name in (names.MANIFEST, names.segment_name(1), names.table_name(2)):
        assert names.is_temporary(names.temporary_name(name))
        assert not names.is_temporary(name)
    assert names.is_temporary(names.RESTORING)
    assert not names.is_temporary("notes.tmp")
    assert not names.is_temporary(".tmp")


def test_a_quarantined_cut_says_where_it_was() -> None:
    """Who looks at it months later has nothing but the name."""
    assert names.quarantine_name(3, 4096, 7) == "log-0000000000000003-at-4096-epoch-7.bin"
