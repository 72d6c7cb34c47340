"""What is said with a save: of the moment of the call, and refused there if it can't be written down."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.errors import UsageError
from tests.unit.checkpoint.conftest import Place


def test_what_is_said_is_of_the_same_moment_as_the_state_to_the_bottom(place: Place) -> None:
    """The job counts on in the same dictionaries while a thread saves: inputs would be lost that the state hasn't."""
    job = place.open()
    offsets: dict[str, Any] = {"topic": {0: 5, 1: [7]}}
    metadata: dict[str, Any] = {"stages": ["read"]}
    counted_on = False

    def count_on(_who: str, operation: str, _key: str) -> None:
        nonlocal counted_on
        if operation == "put" and not counted_on:
            counted_on = True
            offsets["topic"][0] = 6
            offsets["topic"][1].append(8)
            metadata["stages"].append("write")

    job.save({"model": bytes(100_000)})
    place.bucket.before = count_on
    saved = job.save_async({"step": 5, "model": bytearray(100_000)}, offsets=offsets, metadata=metadata).wait()
    assert counted_on
    assert saved is not None
    assert (dict(saved.offsets), saved.metadata) == ({"topic": {0: 5, 1: [7]}}, {"stages": ["read"]})
    again = place.open("reader", mode="r").get(saved.id)
    assert (again.offsets["topic"], again.metadata) == ({0: 5, 1: [7]}, {"stages": ["read"]})


def test_what_a_progress_callback_raises_is_what_the_caller_gets(place: Place) -> None:
    """Nothing was published or left behind, and the next save works."""
    job = place.open()

    def fail(_done: int, _total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        job.save({"model": bytes(100_000)}, progress=fail)
    assert place.data() == set()
    assert job.save({"model": bytes(100_000)}).id == "1.2"


@pytest.mark.parametrize("wrong", [
    {"metrics": {"loss": 10**400}}, {"metrics": {"l" * 201: 1}}, {"metrics": {"\ud800": 1}}, {"name": "\ud800"},
    {"name": "n" * 201}, {"metadata": object()}, {"offsets": {"in": object()}}, {"metadata": "\ud800"},
])  # fmt: skip
def test_what_cant_be_written_down_is_refused_at_the_call(place: Place, wrong: dict[str, Any]) -> None:
    """By an error that says which argument; a thread would have nobody to tell."""
    job = place.open()
    for save in (job.save, job.save_async):
        with pytest.raises(UsageError):
            save({"step": 1}, **wrong)
    assert place.data() == set()
