"""Trying mutants: each in a process forked from one that has imported and collected everything already.

Most mutants change the body of a function. Those take the place of its code
in the forked process, wherever it was imported to, so that a trial costs a
fork and the tests up to the first that fails. The others - constants, tables,
defaults - are there before anything is imported, from a process that has
imported nothing of the package yet.

Which tests are asked is learnt before, by `asked_tests`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.machinery
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Final

import pytest
from asked_tests import forked, session
from mutating import Mutant, code_of, mutated

_STILL_S: Final = 100
"""A trial that tells nothing for so long is one that stands still; pytest's own limit comes first as a rule."""
_CPU_S: Final = 10
"""A test may run for so long; those that are asked take a third of it at most."""
_DATA_BYTES_MAX: Final = 3 << 30
_LATE: Final = "from pytest-timeout"


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a mutant: "killed", "timed out" or "survived", by which test; how many were to be asked."""

    outcome: str
    by: str
    tests: int
    seconds: float


def package_folder() -> Path:
    """Return the package under test, without importing it: whoever forks from here decides how it looks."""
    spec = importlib.machinery.PathFinder.find_spec("journalkit")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("mutations: no journalkit to mutate")
    return Path(next(iter(spec.submodule_search_locations)))


Choose = Callable[[Mutant], Sequence[str]]
Tell = Callable[[Mutant, Trial], bool]
"""Keeps what became of a mutant; returns whether there is time for another."""


def try_bodies(mutants: Sequence[Mutant], tests: Sequence[str], package: Path, choose: Choose, tell: Tell) -> None:
    """Try all mutants of function bodies; what turns out to be outside of one is left for `try_module`."""
    forked(lambda: session(tests, _Trying(mutants, package, choose, tell)))


def try_module(mutant: Mutant, package: Path, chosen: Sequence[str], files: Sequence[str]) -> Trial:
    """Try one mutant in a process that imports the package with it; the chosen tests are in these files."""

    def run(say: Callable[[str], None]) -> None:
        sys.meta_path.insert(0, _Planted(package, mutant))
        status = session(files, _Asking(chosen, say))
        if status != 0:
            say("K the package or its tests can't be imported")

    return _tried(run, len(chosen))


# --- one trial ---------------------------------------------------------------------------------


def _tried(run: Callable[[Callable[[str], None]], None], tests: int) -> Trial:
    """Run something in a process of its own; it says "." when a test begins, "K NAME" or "T NAME" when one fails."""
    began = time.monotonic()
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (_DATA_BYTES_MAX, _DATA_BYTES_MAX))
        _be_quiet()

        def say(text: str) -> None:
            os.write(theirs, text.encode() + b"\n")
            if text[0] in "KT":
                os._exit(0)

        try:
            run(say)
            say("S")
        except BaseException as error:  # noqa: BLE001 - whatever a mutant does to pytest, it is noticed
            say(f"K {type(error).__name__} outside of any test")
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        said = _listen(ours)
    finally:
        os.close(ours)
        # The group, for what a test may have started and not have ended.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    last = said[-1] if said else ""
    seconds = round(time.monotonic() - began, 2)
    if last[:2] in {"K ", "T "}:
        return Trial("killed" if last[0] == "K" else "timed out", last[2:], tests, seconds)
    if last[:2] == "E ":
        raise RuntimeError(last[2:])
    if last == "S":
        return Trial("survived", "", tests, seconds)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGXCPU, signal.SIGKILL}:
        return Trial("timed out", "", tests, seconds)
    return Trial("killed", "the process ended", tests, seconds)


def _listen(fd: int) -> list[str]:
    told = b""
    while select.select([fd], [], [], _STILL_S)[0]:
        piece = os.read(fd, 1 << 16)
        told += piece
        # Others may have been started and hold the pipe open: what ends a trial is the line that says so.
        if not piece or (told.endswith(b"\n") and told.splitlines()[-1] != b"."):
            break
    return told.decode(errors="replace").splitlines()


def _be_quiet() -> None:
    with open(os.devnull, "r+b") as nowhere:
        for fd in (0, 1, 2):
            os.dup2(nowhere.fileno(), fd)


# --- pytest's side -----------------------------------------------------------------------------


class _Telling:
    """Says when a test begins and when it fails, and keeps each from running on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit_s = int(used.ru_utime + used.ru_stime + _CPU_S)
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.RLIM_INFINITY))
        self._say(".")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            late = _LATE in str(report.longrepr)
            self._say(f"{'T' if late else 'K'} {report.nodeid}")


class _Trying:
    """Takes the place of pytest's loop: a fork for each mutant, which runs the tests that are asked."""

    def __init__(self, mutants: Sequence[Mutant], package: Path, choose: Choose, tell: Tell) -> None:
        self._mutants, self._package, self._choose, self._tell = mutants, package, choose, tell
        self._functions: dict[tuple[str, str, int], list[FunctionType]] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        self._functions = _functions(self._package)
        # Forks share what the collector doesn't touch.
        gc.collect()
        gc.freeze()
        for mutant in self._mutants:
            # The change is made in the fork, but seen here whether it is one of a function's body.
            change = self._change(mutant)
            if change is None:
                continue
            function, code = change
            chosen = [items[name] for name in self._choose(mutant)]

            def run(
                say: Callable[[str], None],
                function: FunctionType = function,
                code: CodeType = code,
                chosen: Sequence[pytest.Item] = chosen,
            ) -> None:
                function.__code__ = code
                session.config.pluginmanager.register(_Telling(say))
                for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

            if not self._tell(mutant, _tried(run, len(chosen))):
                break
        return True

    def _change(self, mutant: Mutant) -> tuple[FunctionType, CodeType] | None:
        path = self._package / mutant.file
        before = code_of(path.read_text(), mutant.function)
        after = code_of(mutated(self._package, mutant), mutant.function)
        for old, new in zip(before, after, strict=True):
            # Lines count too, so a mutant that takes lines away changes what follows it; the first is the one.
            if old != new and len(old.co_freevars) == len(new.co_freevars):
                found = self._functions.get((str(path), mutant.function, old.co_firstlineno), [])
                return (found[0], new) if len(found) == 1 else None
        return None


class _Asking(_Telling):
    """Keeps of what was collected only the tests that are asked, in their order."""

    def __init__(self, chosen: Sequence[str], say: Callable[[str], None]) -> None:
        super().__init__(say)
        self._chosen = chosen

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[name] for name in self._chosen if name in found]
        if not items:
            self._say("E nobody is there to be asked")
            os._exit(0)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._say(f"K {report.nodeid}")


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with a mutant in it."""

    def __init__(self, package: Path, mutant: Mutant) -> None:
        self._package, self._mutant = package, mutant
        self._name = f"journalkit.{mutant.file.removesuffix('.py').replace(os.sep, '.')}"

    def find_spec(
        self, fullname: str, _path: object = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=str(self._package / self._mutant.file))

    def create_module(self, _spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        path = str(self._package / self._mutant.file)
        module.__file__ = path
        exec(compile(mutated(self._package, self._mutant), path, "exec"), module.__dict__)


def _functions(package: Path) -> dict[tuple[str, str, int], list[FunctionType]]:
    """Return all functions of the package, by file, name and first line."""
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename.startswith(str(package)):
            code = thing.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(thing)
    return found
