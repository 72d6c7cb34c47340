"""The modules of this folder import each other by their plain names, as they do when it is run as a program.

Their tests are never measured for coverage: harnesses trace, fork and
interrupt themselves, and a second tracer would only be in their way.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Pause the tracer for this folder, where there is one."""
    if not config.pluginmanager.hasplugin("pytest_cov"):
        return
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker("no_cover")
