"""The table of verdicts: what people review, and what the code does."""

from __future__ import annotations

import itertools
import re

import pytest

from journalkit.recovery import plan as plan_module
from journalkit.recovery.plan import Verdict, judge


def table_rows() -> list[list[str]]:
    """Return the rows of the table in the docstring of `plan`, without its heading."""
    rows = re.findall(r"^\| (.+?) \|$", str(plan_module.__doc__), re.MULTILINE)
    return [row.split(" | ") for row in rows if not row.startswith("next")]


@pytest.mark.parametrize(
    ("continuous", "whole", "promised"), list(itertools.product((False, True), (False, True), (False, True)))
)
def test_the_table_in_prose_and_the_code_give_every_case_one_same_verdict(
    continuous: bool, whole: bool, promised: bool
) -> None:
    """The table is what people review; a case in no row or in two would be decided by accident."""
    case = ["yes" if value else "no" for value in (continuous, whole, promised)]
    matching = [
        row[3] for row in table_rows() if all(cell in ("-", mine) for cell, mine in zip(row, case, strict=False))
    ]
    assert matching == [judge(continuous=continuous, whole=whole, promised=promised).value]


def test_every_verdict_has_its_row() -> None:
    """A verdict that no row gives would be dead, and a row without one unjudged."""
    assert sorted(row[3] for row in table_rows()) == sorted(verdict.value for verdict in Verdict)
