"""The package under test as source: where it is, and every module parsed once.

What is looked at is the package that `import journalkit` finds, so that the
wheel is held to the same rules as the tree.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import journalkit


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds `tests/`; outside a clone it may have no package and no git."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def package_folder() -> Path:
    """The folder of the imported package."""
    return Path(next(iter(journalkit.__path__)))


@pytest.fixture(scope="session")
def package_trees(package_folder: Path) -> dict[str, ast.Module]:
    """Every module's syntax tree by dotted name, a package under its own name."""
    trees = {}
    for path in sorted(package_folder.rglob("*.py")):
        parts = ("journalkit", *path.relative_to(package_folder).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees
