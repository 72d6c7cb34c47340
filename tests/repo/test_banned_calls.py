"""Each thing that reaches the world has one home; here is who may call what.

Lint bans most of these with a message. This test is finer: it knows which home
each has, so that `fs/` can't ask for the time and only `fs/posix.py` renames.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# What talks to a person and to files that are not a store's.
FACES = ("journalkit.cli", "journalkit.ui", "journalkit.bench", "journalkit.testing", "journalkit.integrations")


@dataclass(frozen=True)
class Rule:
    """Names (a prefix covers what is below it), the modules that may use them, and what to use instead."""

    names: tuple[str, ...]
    homes: tuple[str, ...]
    instead: str


OS_CALLS = [
    "access", "chmod", "chown", "close", "copy_file_range", "dup", "dup2", "fchmod", "fdatasync", "fdopen", "fstat",
    "fsync", "ftruncate", "lchown", "link", "listdir", "lockf", "lseek", "lstat", "makedirs", "mkdir", "mkfifo",
    "open", "path.exists", "path.getmtime", "path.getsize", "path.isdir", "path.isfile", "path.islink",
    "path.ismount", "path.realpath", "path.samefile", "posix_fadvise", "posix_fallocate", "pread", "preadv", "pwrite",
    "pwritev", "read", "readlink", "readv", "remove", "removedirs", "rmdir", "scandir", "sendfile", "stat", "statvfs",
    "symlink", "sync", "truncate", "unlink", "utime", "walk", "write", "writev",
]  # fmt: skip

RULES = [
    Rule(("os.rename", "os.replace", "os.renames"), ("journalkit.fs.posix",), "journalkit.fs.atomic"),
    Rule(tuple(f"os.{call}" for call in OS_CALLS), ("journalkit.fs", *FACES), "journalkit.fs.interface"),
    Rule(("open", "io.open", "io.FileIO", "io.open_code"), ("journalkit.fs", *FACES), "journalkit.fs.interface"),
    Rule(("fcntl", "mmap"), ("journalkit.fs", "journalkit.testing"), "journalkit.fs.interface, journalkit.fs.lock"),
    Rule(("pathlib", "shutil", "tempfile", "glob"), ("journalkit.fs", *FACES), "journalkit.fs.interface"),
    Rule(
        ("time", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
        ("journalkit.clock", *FACES),
        "journalkit.clock.Clock",
    ),
    Rule(
        ("random", "secrets", "os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4"),
        ("journalkit.clock", *FACES),
        "journalkit.clock.Clock.random_bytes",
    ),
    Rule(("pickle", "marshal", "shelve", "dill", "cloudpickle"), (), "a codec; no code runs from data"),
    Rule(("eval", "exec", "compile", "__import__"), (), "a table of functions; no code runs from data"),
    Rule(("print",), ("journalkit.cli", "journalkit.ui", "journalkit.bench"), "an attribute, an error, or a warning"),
    Rule(
        ("os._exit", "os.fork"),
        ("journalkit.cli", "journalkit.testing", "journalkit.fs.child"),
        "the caller's own end",
    ),
    Rule(("subprocess", "multiprocessing"), ("journalkit.fs.child", *FACES), "journalkit.fs.interface.ChildStarter"),
]

MARKS = ("pragma: no cover", "pragma: no branch", "pragma: nocover")


def within(name: str, prefix: str) -> bool:
    """Whether a dotted name is the prefix or below it."""
    return name == prefix or name.startswith(prefix + ".")


def uses(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield every dotted name that a module imports or refers to, spelled in full, with its line."""
    spelled: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                spelled[alias.asname or first] = alias.name if alias.asname else first
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                spelled[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}", node.lineno
    local = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in spelled:
                yield spelled[node.id], node.lineno
            elif node.id not in local:
                yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
            inner = node.value
            while isinstance(inner, ast.Attribute):
                names.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in spelled:
                yield ".".join([spelled[inner.id], *reversed(names)]), node.lineno


def complaints(name: str, tree: ast.Module) -> list[str]:
    """Return what a module uses that isn't its to use."""
    return sorted(
        {
            f"{name}:{line} uses {used}; use {rule.instead}"
            for used, line in uses(tree)
            for rule in RULES
            if any(within(used, banned) for banned in rule.names)
            and not any(within(name, home) for home in rule.homes)
        }
    )


def test_what_reaches_the_world_is_called_in_its_home_only(package_trees: dict[str, ast.Module]) -> None:
    """A call outside its home escapes the simulated disk, the test's clock and every fault we inject."""
    wrong = [line for name, tree in package_trees.items() for line in complaints(name, tree)]
    assert not wrong, "\n".join(wrong)


def test_no_check_vanishes_under_optimisation(package_trees: dict[str, ast.Module]) -> None:
    """`python -O` drops asserts: a check that stands between bytes and belief has to be a raise."""
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in package_trees.items()
        if not within(name, "journalkit.testing")
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert not wrong, f"assert in {wrong}"


def test_no_line_hides_from_coverage(package_folder: Path) -> None:
    """A hundred percent with exclusion marks is not a hundred percent."""
    wrong = [
        f"{path.relative_to(package_folder)}:{number}"
        for path in sorted(package_folder.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if any(mark in line.lower() for mark in MARKS)
    ]
    assert not wrong, f"exclusion marks at {wrong}"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("journalkit.log.writer", "import os\nos.fsync(3)"),
        ("journalkit.log.writer", "from os import pwrite as p\np(3, b'', 0)"),
        ("journalkit.log.writer", "import os as system\nsystem.path.exists('x')"),
        ("journalkit.fs.lock", "import os\nos.replace('a', 'b')"),
        ("journalkit.fs.lock", "import time\ntime.time()"),
        ("journalkit.store.store", "with open('x') as f: pass"),
        ("journalkit.store.store", "import datetime\ndatetime.datetime.now()"),
        ("journalkit.store.store", "from datetime import datetime\ndatetime.now()"),
        ("journalkit.format.codec", "def f():\n    import pickle"),
        ("journalkit.cli.get", "eval('1')"),
        ("journalkit.recovery.scan", "print('here')"),
    ],
)
def test_the_rules_catch_what_they_should(name: str, source: str) -> None:
    """A rule that never fires looks the same as a rule that holds."""
    assert complaints(name, ast.parse(source))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("journalkit.fs.posix", "import os\nos.replace('a', 'b')\nos.open('x', 0)"),
        ("journalkit.clock", "import os, time\ntime.time_ns()\nos.urandom(8)"),
        ("journalkit.store.store", "import os\nos.getpid()\nos.fspath('x')\nstore.open('x')\nself.time.time()"),
        ("journalkit.store.store", "def open(path): ...\nopen('x')"),
        ("journalkit.format.names", "import re\nre.compile('x')"),
    ],
)
def test_the_rules_leave_the_rest_alone(name: str, source: str) -> None:
    """A rule that fires at what is right is switched off by the next person."""
    assert complaints(name, ast.parse(source)) == []
