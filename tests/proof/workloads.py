"""Small deterministic workloads on the public interface, for whoever crashes, fails, kills or schedules them.

Each runs on any file system, rotates, prunes and, on a store, folds (it says so
if it didn't), and tells its `History` what it submitted and what it was
promised, whatever exception ends it. Twelve of them, `is_ci`, stand for all.

    history = History()
    workload.run(fs, history)            # a PowerCut, an OSError... may come out
    complaints = judge(what_is_left, history.path, history)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import workloads_lives  # noqa: F401 - registers its own
import workloads_state  # noqa: F401 - registers its own
from workload import ALL, Workload

__all__ = ["BY_NAME", "CI_WORKLOADS", "WORKLOADS", "Workload"]

WORKLOADS: Final[Sequence[Workload]] = tuple(ALL)
BY_NAME: Final = {workload.name: workload for workload in WORKLOADS}
CI_WORKLOADS: Final = tuple(workload for workload in WORKLOADS if workload.is_ci)
