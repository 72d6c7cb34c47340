"""What every test shares: seeds, the installed version in the header, and skips with a reason.

Nothing here touches a store. Helpers that more than one test needs live in
`journalkit.testing`, which is public, or in the folder that needs them.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

import journalkit

# The same examples every time, so that a red test is red for everybody. A nightly run looks for new ones:
# HYPOTHESIS_PROFILE=nightly pytest -m "nightly or not nightly"
settings.register_profile(
    "default", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# For who wants to know that something is found, and not what is the least of it.
settings.register_profile("unshrunk", settings.get_profile("default"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_report_header() -> str:
    """Say which journalkit is under test: the installed one, or the tree."""
    return f"journalkit: {Path(next(iter(journalkit.__path__)))}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where we are not."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_collection_finish() -> None:
    """Let no collection look again at what was imported and collected: some hundred thousand objects each time."""
    gc.collect()
    gc.freeze()
