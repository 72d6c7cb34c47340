"""Which tests to ask about a mutant: learnt from one traced run of all of them, in a process of its own.

A test is asked about the functions that it calls; narrow and quick ones are
asked first, and of a test with a hundred parameters only a few before the next
has its turn. How long a mutant has to stand up to them is the caller's say.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import hypothesis
import pytest
from mutating import Mutant

TOP: Final = Path(__file__).parents[2]
_TEST_TIMEOUT_S: Final = 40
_OVERHEAD_S: Final = 0.003
"""What pytest and the fixtures take for any test."""
_SLOW_S: Final = 3.0
"""Tests that take longer are left out."""

# The first counterexample will do: a mutant is killed by it, and nobody reads it.
hypothesis.settings.register_profile(
    "mutations",
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


@dataclass(slots=True)
class Costs:
    """What each test takes, and which functions it calls: `FILE:FUNCTION`, the file relative to the package."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    calls: dict[str, frozenset[str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    imports: frozenset[str] = frozenset()
    """What is called while the package is imported: to change it later comes too late."""

    def tests_for(self, mutant: Mutant, budget_s: float) -> list[str]:
        """Return who to ask about a mutant: those that call its function, or for want of one, anything of its file."""
        asked = [name for name in self.cpu_s if f"{mutant.file}:{mutant.function}" in self.calls[name]]
        if not asked:
            start = f"{mutant.file}:"
            asked = [name for name, calls in self.calls.items() if any(call.startswith(start) for call in calls)]
        asked = asked or list(self.cpu_s)
        weights: dict[str, float] = {}
        rounds: Counter[str] = Counter()
        for name in sorted(asked, key=lambda name: self.cpu_s[name]):
            # A test of a hundred parameters is asked with a few of them before the rest has its turn.
            function = name.partition("[")[0]
            rounds[function] += 1
            weights[name] = (self.cpu_s[name] + _OVERHEAD_S) * (20 + len(self.calls[name])) * rounds[function]
        left = budget_s
        chosen = []
        for name in sorted(asked, key=weights.__getitem__):
            cost_s = self.cpu_s[name] + _OVERHEAD_S
            if cost_s <= min(left, _SLOW_S):
                chosen.append(name)
                left -= cost_s
        return chosen


def learn(tests: Sequence[str], package: Path, kept: Path) -> Costs:
    """Run all tests once, traced, in a process of its own; what was learnt is kept for the same tests and package."""
    digest = hashlib.sha256()
    folders = (package, *(TOP / name for name in tests))
    for path in sorted(path for given in folders for path in (given, *given.rglob("*.py")) if path.is_file()):
        digest.update(path.read_bytes())
    digest.update(json.dumps(list(tests)).encode())
    stamp = digest.hexdigest()
    told: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    if told.get("stamp") != stamp:
        status = forked(lambda: session(tests, _Learning(package, kept, stamp)))
        told = json.loads(kept.read_text()) if kept.exists() else {}
        if told.get("stamp") != stamp:
            raise SystemExit(f"mutations: the traced run of the tests broke off, exit {status}")
    functions = told["functions"]
    costs = Costs(imports=frozenset(told["imports"]))
    for name, (cpu_s, calls, file) in told["tests"].items():
        costs.cpu_s[name] = cpu_s
        costs.files[name] = file
        costs.calls[name] = frozenset(functions[call] for call in calls)
    return costs


def forked(run: Callable[[], int]) -> int:
    """Run something in a process of its own and return its exit code."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = run()
        except BaseException:  # noqa: BLE001 - a fork must not go on with its parent's work
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def session(tests: Sequence[str], plugin: object) -> int:
    """Run pytest here, with a plugin, and return its exit code."""
    os.environ["HYPOTHESIS_PROFILE"] = "mutations"
    os.environ["JOURNALKIT_PURE"] = "1"  # what is changed is Python
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.chdir(TOP)
    # The working directory isn't where the package comes from.
    sys.path[:] = [entry for entry in sys.path if entry not in {"", "."}]
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        without = [word for name in ("cacheprovider", "xdist") for word in ("-p", f"no:{name}")]
        limits = [f"--timeout={_TEST_TIMEOUT_S}", f"--basetemp={folder}/tests"]
        # This module has imported hypothesis before pytest could, on purpose: one import for all forks.
        shown = [
            "-q",
            "--no-header",
            "--tb=line",
            "-W",
            "ignore:Module already imported:pytest.PytestAssertRewriteWarning",
        ]
        return int(pytest.main([*without, *limits, *shown, *tests], plugins=[plugin]))


class _Learning:
    """Runs every test and notes what it calls. What a file's fixtures call counts for all of its tests."""

    def __init__(self, package: Path, kept: Path, stamp: str) -> None:
        self._package, self._kept, self._stamp = package, kept, stamp
        self._calls: set[CodeType] = set()
        self._tests: dict[str, tuple[float, set[CodeType], str]] = {}
        self._fixtures: dict[str, set[CodeType]] = {}
        self._failed: set[str] = set()
        # From here on to the first test, modules are imported.
        self._imports = self._calls
        sys.settrace(self._trace)

    def _trace(self, frame: FrameType, _event: str, _argument: object) -> None:
        self._calls.add(frame.f_code)

    def pytest_collection_finish(self) -> None:
        sys.settrace(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        with self._noted(item) as called:
            yield
        self._fixtures.setdefault(item.nodeid.partition("::")[0], set()).update(called)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        began = time.process_time()
        with self._noted(item) as called:
            yield
        self._tests[item.nodeid] = (time.process_time() - began, called, str(item.path))

    @contextlib.contextmanager
    def _noted(self, _item: pytest.Item) -> Iterator[set[CodeType]]:
        self._calls = called = set[CodeType]()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            yield called
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A test that fails without a mutant, or is skipped, can't tell anything.
        if not report.passed:
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        numbers: dict[str, int] = {}
        tests = {}
        for name, (cpu_s, called, file) in self._tests.items():
            if name in self._failed:
                continue
            codes = called | self._fixtures[name.partition("::")[0]]
            functions = {self._name(code) for code in codes} - {""}
            calls = [numbers.setdefault(function, len(numbers)) for function in functions]
            tests[name] = (round(cpu_s, 4), calls, file)
        told = {"stamp": self._stamp, "functions": list(numbers), "tests": tests, "left_out": sorted(self._failed)}
        told["imports"] = sorted({self._name(code) for code in self._imports} - {""})
        self._kept.write_text(json.dumps(told))

    def _name(self, code: CodeType) -> str:
        file = code.co_filename.removeprefix(f"{self._package}{os.sep}")
        return f"{file}:{code.co_qualname.partition('.<locals>')[0]}" if file != code.co_filename else ""
