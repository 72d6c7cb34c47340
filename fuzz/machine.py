"""The target `machine`: the model of a store in `tests/property`, run by hypothesis for as long as there is time.

There is one model, and it is the tests'. Here it gets other seeds, and a run
that isn't bounded by a number of examples.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fuzz.loading import load
from fuzz.target import Target, nothing

MODEL = Path(__file__).parents[1] / "tests" / "property" / "test_store_machine.py"
_EXAMPLES = 10
_STEPS = 40


def examples(seed: int, note: Callable[[], None]) -> None:
    """Run some examples of this seed, calling `note` at the start of each; whatever the model finds is raised."""
    import hypothesis
    from hypothesis.stateful import run_state_machine_as_test

    model = load(MODEL)

    class Noted(model.StoreMachine):  # type: ignore[misc, name-defined]
        """The model, which says when an example begins."""

        def __init__(self) -> None:
            note()
            super().__init__()

    settings = hypothesis.settings(
        max_examples=_EXAMPLES,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(hypothesis.seed(seed)(Noted), settings=settings)  # type: ignore[no-untyped-call]


TARGETS = (
    Target("machine", "a store beside a dict", lambda _chance: (), nothing, examples=examples),
)
