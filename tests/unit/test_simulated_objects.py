"""The simulated bucket does wrong what it is asked to, tells so, and does it again from the same seed."""

from __future__ import annotations

import pytest

from journalkit.errors import ArchiveUnavailableError, StorageError, StoreFullError, UnknownOutcomeError, UsageError
from journalkit.objects.probe import probe, require_several_writers
from journalkit.testing import SimulatedBucket, SimulatedClock


@pytest.mark.parametrize(
    ("fault", "is_there"), [("lost-reply", True), ("lost-request", False), ("conflict", False), ("late", False)]
)
def test_a_create_whose_outcome_is_lost_is_told_as_unknown(fault: str, is_there: bool) -> None:
    """Two of these happened and two didn't, and nothing tells them apart but reading back."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    bucket.fail("create", 1, fault)  # type: ignore[arg-type]
    with pytest.raises(UnknownOutcomeError):
        objects.create("a", b"x")
    assert ("a" in bucket.contents()) == is_there
    assert objects.create("a", b"x")


def test_a_late_create_arrives_after_other_operations() -> None:
    """A request that was given up is still on its way: what was read meanwhile proves nothing."""
    bucket = SimulatedBucket(seed=3)
    objects = bucket.handle()
    bucket.fail("create", 1, "late")
    with pytest.raises(UnknownOutcomeError):
        objects.create("a", b"x")
    seen = [objects.get("a") for _ in range(50)]
    assert (seen[0], seen[-1]) == (None, b"x")
    assert any(line.startswith("- late create a -> created") for line in bucket.history())
    bucket.fail("create", 1, "late")
    with pytest.raises(UnknownOutcomeError):
        objects.create("a", b"y")
    bucket.mend()
    assert bucket.contents() == {"a": b"x"}


def test_a_create_that_was_tried_again_has_won() -> None:
    """A back end reads back what refuses it."""
    bucket = SimulatedBucket()
    bucket.fail("create", 1, "retried")
    assert bucket.handle().create("a", b"x")
    assert "exists" not in bucket.history()[-1]


@pytest.mark.parametrize(
    ("fault", "error"),
    [("unavailable", ArchiveUnavailableError), ("refused", StorageError), ("full", StoreFullError)],
)
def test_what_is_refused_did_not_happen(fault: str, error: type[Exception]) -> None:
    """The caller is told what to do next."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    for operation, use in (("put", lambda: objects.put("a", (b"x",))), ("create", lambda: objects.create("a", b"x"))):
        bucket.fail(operation, 1, fault)  # type: ignore[arg-type]
        with pytest.raises(error):
            use()
    assert bucket.contents() == {}
    with pytest.raises(ValueError, match="can't go wrong"):
        bucket.fail("get", 1, "late")


def test_a_put_that_breaks_off_leaves_no_object() -> None:
    """Its parts lie somewhere, and cost."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    bucket.fail("put", 1, "partial")
    bucket.fail("put", 2, "lost-reply")
    for _ in range(2):
        with pytest.raises(ArchiveUnavailableError):
            objects.put("a", (b"x", b"y"))
    assert (bucket.incomplete_uploads, bucket.contents()) == (1, {"a": b"xy"})


@pytest.mark.parametrize("fault", ["lost-reply", "lost-request"])
def test_a_delete_whose_reply_was_lost_is_safe_again(fault: str) -> None:
    """Some of them may be gone."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    objects.put("a", (b"x",))
    bucket.fail("delete", 1, fault)  # type: ignore[arg-type]
    with pytest.raises(ArchiveUnavailableError):
        objects.delete("a")
    objects.delete("a")
    assert bucket.contents() == {}


def test_a_seed_means_one_story() -> None:
    """A test that fails once in a thousand runs is repeated from its seed."""

    def live(seed: int) -> str:
        bucket = SimulatedBucket(seed=seed, rates={"lost-reply": 0.2, "unavailable": 0.2, "late": 0.2})
        objects = bucket.handle("me")
        for number in range(40):
            try:
                objects.create(f"a{number}", b"x")
            except (UnknownOutcomeError, ArchiveUnavailableError):
                continue
        return bucket.story(last=60)

    assert live(5) == live(5) != live(6)
    assert "me create a0" in live(5)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"ignores_conditions": True}, "ignores If-None-Match"),
        ({"list_lag": 1}, "doesn't list at once"),
        ({"list_lag": 3}, "doesn't list at once"),
    ],
)
def test_a_probe_finds_each_broken_rule_and_leaves_nothing(wrong: dict[str, int], complaint: str) -> None:
    """Two writers on such a server would both take themselves for the only one."""
    bucket = SimulatedBucket(**wrong)  # type: ignore[arg-type]
    found = probe(bucket.handle(), SimulatedClock())
    assert not found.is_sound
    assert complaint in found.complaint
    with pytest.raises(UsageError, match=f"simulated://writer .*{complaint}"):
        require_several_writers(bucket.handle(), SimulatedClock())
    assert bucket.contents() == {}


def test_a_probe_that_can_not_be_made_says_nothing_about_the_rules() -> None:
    """An outage is no broken rule; what was made is taken away all the same."""
    bucket = SimulatedBucket()
    bucket.fail("list", 1, "unavailable")
    with pytest.raises(ArchiveUnavailableError):
        probe(bucket.handle(), SimulatedClock())
    assert bucket.contents() == {}
    assert probe(bucket.handle(), SimulatedClock()).complaint == ""
