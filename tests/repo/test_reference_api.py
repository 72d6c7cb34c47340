"""Every public name is in the API reference, with what can be called on it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import journalkit
from journalkit import errors
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.options import MIB

API = Path(__file__).parents[2] / "docs" / "reference" / "api.md"

CLASSES = (
    journalkit.Store,
    journalkit.Journal,
    journalkit.Transaction,
    journalkit.View,
    journalkit.AsyncStore,
    journalkit.AsyncTransaction,
    journalkit.AsyncView,
    journalkit.Batch,
    journalkit.JournalRecord,
    journalkit.RecoveryReport,
    journalkit.Checkpoints,
    journalkit.Checkpoint,
    journalkit.Keep,
    journalkit.FilesSink,
    journalkit.SqlSink,
    SavedStore,
)

# Called by journalkit's own layers; a user has no reason to.
INTERNAL = {
    "Store": {"begin", "end", "freeze", "commit_read", "forbid", "moment"},
    "View": {"moment"},
    "AsyncStore": {"moment"},
    "AsyncView": {"moment"},
    "Journal": {"forbid"},
    "Checkpoints": {"forbid"},
    "Checkpoint": {"manifest"},
    "SavedStore": {"captured"},
    "SqlSink": {"connection", "let_go"},
}


def section(text: str, heading: str) -> str:
    """Return the text under `## heading`, up to the next one of its level."""
    found = re.search(rf"^## `?{re.escape(heading)}`?$\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/reference/api.md has no section {heading!r}"
    return found[1]


def public_members(made: type) -> set[str]:
    """Return the public methods and properties of a class, its bases' included, but not `object`'s."""
    return {name for name in dir(made) if not name.startswith("_")} - INTERNAL.get(made.__name__, set())


@pytest.fixture(scope="module")
def text() -> str:
    """The reference."""
    return API.read_text(encoding="utf-8")


def test_every_public_name_is_in_the_reference(text: str) -> None:
    """A name that isn't explained gets used by guess."""
    missing = [name for name in journalkit.__all__ if not re.search(rf"(?:`|`journalkit\.|\n## ){name}\b", text)]
    assert not missing


@pytest.mark.parametrize("made", CLASSES, ids=lambda made: made.__name__)
def test_every_member_is_in_its_class_section(made: type, text: str) -> None:
    """A method that no document names is found by nobody."""
    part = section(text, made.__name__)
    missing = {name for name in public_members(made) if not re.search(rf"`(?:\w+\.)?{name}\b", part)}
    assert not missing


def test_every_error_is_in_the_reference(text: str) -> None:
    """An error class is what the caller does next, so a caller has to find it."""
    part = section(text, "Errors")
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert not {name for name in classes if f"`{name}`" not in part}


@pytest.mark.parametrize("name", ["open", "open_journal", "open_checkpoints"])
def test_signatures_name_every_argument_with_its_default(name: str, text: str) -> None:
    """An option that was renamed or got another default lives on in documents."""
    part = section(text, f"journalkit.{name}")
    for argument in inspect.signature(getattr(journalkit, name)).parameters:
        assert re.search(rf"\| `{argument}` \|", part), f"{argument} of {name} has no row"


def test_every_number_among_the_options_is_the_codes_own(text: str) -> None:
    """A default in a document that isn't the code's sends people looking in the wrong place."""
    part = section(text, "journalkit.open")
    for argument, parameter in inspect.signature(journalkit.open).parameters.items():
        default = parameter.default
        if isinstance(default, int | float) and not isinstance(default, bool):
            row = re.search(rf"^\| `{argument}` \| ([^|]*) \|", part, re.MULTILINE)
            assert row, argument
            number, _, unit = row[1].strip().strip("`").partition(" * ")
            assert float(number) * (MIB if unit else 1) == default, f"{argument} is {default} in the code"
