"""Imports only go down. This file is the rule that DESIGN's layers describe.

Every import counts: inside functions and under TYPE_CHECKING too, because a
name that a layer mentions is a name it depends on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

LAYERS: dict[str, float] = {
    "_version": 0, "_speed": 0, "compiled": 0, "errors": 0, "types": 0, "clock": 0, "options": 0,
    "format": 1, "fs": 1,
    "objects": 1.5,
    "log": 2, "snapshot": 2, "manifest": 2,
    "recovery": 3,
    "runtime": 3.5,
    "store": 4, "machine": 4, "journal": 4,
    "archive": 5, "checkpoint": 5, "dataflow": 5,
    "cli": 6, "ui": 6, "integrations": 6, "bench": 6,
}  # fmt: skip

# `journalkit` itself is the public names: above the engine, below the faces that use it as anybody would.
PUBLIC_NAMES = 5.5
# Beside the stack: may use all of the engine, and nothing in the package may use it.
TESTING = "testing"

# (importer, imported): why siblings may. A prefix covers what is below it. The shorter, the better.
ALLOWED: dict[tuple[str, str], str] = {
    ("journalkit.compiled", "journalkit._speed"): "what decides whether the extension is used",
    ("journalkit.options", "journalkit.errors"): "a wrong option is a UsageError",
    ("journalkit.options", "journalkit.types"): "options are spelled in the words",
    ("journalkit.fs.atomic", "journalkit.format.names"): "names have one home, that of a temporary file too",
    ("journalkit.log", "journalkit.manifest"): "a segment takes appends only once a durable manifest names it",
    ("journalkit.cli.bench", "journalkit.bench"): "the command that runs the bench",
    ("journalkit.cli.bench_page", "journalkit.bench"): "how it shows the result",
}

# Where each dependency lives: exchanging one touches one place.
HOMES: dict[str, tuple[str, ...]] = {
    "cbor2": ("journalkit.format.codec", "journalkit.format.cbor_tags", "journalkit.format.tree"),
    # frame calls it without the layer between: twice a record, the hottest path there is; block and filters once a
    # lookup.
    "crc32c": (
        "journalkit.format.checksum", "journalkit.format.frame", "journalkit.format.run", "journalkit.format.block",
        "journalkit.format.filters",
    ),
    "backports": ("journalkit.format.compression",),
    "msgspec": ("journalkit.format.msgpack", "journalkit.bench"),
    "sortedcontainers": ("journalkit.store",),
    "watchdog": ("journalkit.store",),
    "obstore": ("journalkit.objects.remote",),
    "nats": ("journalkit.checkpoint.board_nats",),
    "rich": ("journalkit.cli", "journalkit.ui", "journalkit.bench"),
}

# `format/` is a function of its input: none of what reaches the world outside. (`io.BytesIO` is memory; what opens
# files from `io` is banned in test_banned_calls.)
IMPURE = {
    "asyncio", "fcntl", "logging", "mmap", "multiprocessing", "os", "pathlib", "random", "secrets", "select",
    "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip


def imports(name: str, tree: ast.Module, known: set[str]) -> Iterator[tuple[str, int]]:
    """Yield each imported module's dotted name and the line; `from package import module` is that module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: relative import"
            module = str(node.module)
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                yield (whole if whole in known else module), node.lineno


def within(name: str, prefix: str) -> bool:
    """Whether a dotted name is the prefix or below it."""
    return name == prefix or name.startswith(prefix + ".")


def part(name: str) -> str:
    """Return what a module belongs to: the first name below `journalkit`, "" for the package itself."""
    return [*name.split("."), ""][1]


def height(name: str) -> float:
    """Return the layer of a module."""
    if part(name) in ("", "__main__"):
        return PUBLIC_NAMES if name == "journalkit" else 7
    return 7 if part(name) == TESTING else LAYERS[part(name)]


def verdict(importer: str, imported: str) -> str:
    """Return what is wrong with an import, "" if nothing, or the ALLOWED entry's reason behind "!"."""
    if within(imported, f"journalkit.{TESTING}"):
        return "" if part(importer) == TESTING else "nothing in the package imports journalkit.testing"
    if part(importer) == part(imported) != "":
        return ""
    if height(imported) < height(importer):
        return ""
    for (above, below), reason in ALLOWED.items():
        if within(importer, above) and within(imported, below):
            return "!" + reason
    return f"layer {height(importer):g} imports layer {height(imported):g}"


def test_every_module_has_a_layer(package_trees: dict[str, ast.Module]) -> None:
    """A module that no rule knows would be held by none."""
    unknown = {part(name) for name in package_trees} - set(LAYERS) - {"", "__main__", TESTING}
    assert not unknown, f"place them in LAYERS: {sorted(unknown)}"


def test_imports_only_go_down(package_trees: dict[str, ast.Module]) -> None:
    """A layer that knows the one above it can't be tested, exchanged or understood without it."""
    known = set(package_trees)
    wrong = []
    for name, tree in package_trees.items():
        for imported, line in imports(name, tree, known):
            said = verdict(name, imported) if within(imported, "journalkit") else ""
            if said and not said.startswith("!"):
                wrong.append(f"{name}:{line} imports {imported}: {said}")
    assert not wrong, "\n".join(wrong)


def test_every_exception_is_used(package_trees: dict[str, ast.Module]) -> None:
    """An exception that nothing needs any more invites the next one."""
    known = set(package_trees)
    used = {
        (above, below)
        for name, tree in package_trees.items()
        for imported, _ in imports(name, tree, known)
        for above, below in ALLOWED
        if within(name, above) and within(imported, below)
    }
    unused = [pair for pair in ALLOWED if pair not in used and pair[0] in known]
    assert not unused, f"take them out of ALLOWED: {unused}"


def test_each_dependency_has_one_home(package_trees: dict[str, ast.Module]) -> None:
    """Traps of a dependency are answered where it is called, and only once."""
    wrong = [
        f"{name}:{line} imports {imported}; its home is {', '.join(homes)}"
        for name, tree in package_trees.items()
        for imported, line in imports(name, tree, set())
        for dependency, homes in HOMES.items()
        if within(imported, dependency) and not any(within(name, home) for home in (*homes, "journalkit.bench"))
    ]
    assert not wrong, "\n".join(wrong)


def test_format_is_pure(package_trees: dict[str, ast.Module]) -> None:
    """What turns bytes into values can be fuzzed and replayed only if it is a function of its input."""
    wrong = [
        f"{name}:{line} imports {imported}"
        for name, tree in package_trees.items()
        if within(name, "journalkit.format")
        for imported, line in imports(name, tree, set())
        if imported.split(".")[0] in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("importer", "source", "complaint"),
    [
        ("journalkit.log.writer", "from journalkit.store import store", "layer 2 imports layer 4"),
        ("journalkit.log.writer", "import journalkit.snapshot.reader", "layer 2 imports layer 2"),
        ("journalkit.store.view", "def f():\n    from journalkit import Store", "layer 4 imports layer 5.5"),
        ("journalkit.fs.posix", "if TYPE_CHECKING:\n    from journalkit.log import log", "layer 1 imports layer 2"),
        ("journalkit.cli.demo", "from journalkit.testing import disk", "nothing in the package imports"),
        ("journalkit.cli.get", "import journalkit", ""),
        ("journalkit.log.writer", "from journalkit.fs import interface", ""),
        ("journalkit.testing.disk", "from journalkit.fs import interface", ""),
    ],
)
def test_the_rule_catches_what_it_should(importer: str, source: str, complaint: str) -> None:
    """A rule that never fires looks the same as a rule that holds."""
    [(imported, _)] = imports(importer, ast.parse(source), {"journalkit.store", "journalkit.fs.interface"})
    said = verdict(importer, imported)
    assert (complaint in said) if complaint else said == ""
