"""What mutmut would change in a module: each mutant as a place, a text before and a text after.

The mutants are mutmut's own, from its generator. Only one of its limits is
lifted: it leaves functions with a decorator alone because its way of planting
would run the decorator twice, and here nothing is planted that way, so
properties and class methods are mutated like any other function.

And one is added: the wording of errors and of the fields in layout tables is
left alone. Tests match it where it matters, and `tests/repo` holds the tables
to the specification; to change its case would ask about nothing else.

Nothing is run here: `trials` does that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, Final

import libcst as cst
from libcst import matchers
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

_TEXT_MAX: Final = 150


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one file. `function` is a qualified name, "" outside of functions; `number` counts in the file.

    `text` is the line of source that it begins in: several may read the same otherwise.
    """

    file: str
    number: int
    function: str
    line: int
    text: str
    was: str
    now: str
    key: str

    @property
    def row(self) -> dict[str, Any]:
        """What a results file keeps."""
        return {
            "key": self.key,
            "file": self.file,
            "function": self.function,
            "line": self.line,
            "text": self.text,
            "was": self.was,
            "now": self.now,
        }


class _Visitor(MutationVisitor):
    """Mutmut's visitor, which also enters functions that have decorators; the decorators stay as they are."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Decorator):
            return True
        if isinstance(node, cst.FunctionDef) and node.decorators:
            return False
        return super()._skip_node_and_children(node)


@dataclass(frozen=True, slots=True)
class _Parsed:
    module: cst.Module
    mutations: tuple[Mutation, ...]
    positions: Mapping[cst.CSTNode, Any]


@lru_cache(maxsize=4)
def _parsed(source: str) -> _Parsed:
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    module = wrapper.visit(visitor)
    return _Parsed(module, tuple(visitor.mutations), wrapper.resolve(PositionProvider))


def mutants_of(package: Path, file: str) -> Iterator[Mutant]:
    """Yield the mutants of `file`, in the order of its text."""
    source = (package / file).read_text()
    lines = source.splitlines()
    parsed = _parsed(source)
    names = _function_names(parsed.module)
    words = _words(parsed.module)
    for number, mutation in enumerate(parsed.mutations):
        if mutation.original_node in words:
            continue
        was, now = (
            _one_line(parsed.module.code_for_node(node)) for node in (mutation.original_node, mutation.mutated_node)
        )
        position = parsed.positions.get(mutation.original_node)
        line = position.start.line if position is not None else 0
        digest = hashlib.sha256(f"{source}\0{number}\0{was}\0{now}".encode()).hexdigest()[:16]
        yield Mutant(
            file=file,
            number=number,
            function=names.get(mutation.contained_by_top_level_function, ""),
            line=line,
            text=lines[line - 1].strip() if line else "",
            was=was,
            now=now,
            key=digest,
        )


def mutated(package: Path, mutant: Mutant) -> str:
    """Return the file's text with the mutant in it."""
    parsed = _parsed((package / mutant.file).read_text())
    mutation = parsed.mutations[mutant.number]
    changed = parsed.module.deep_replace(mutation.original_node, mutation.mutated_node)
    assert isinstance(changed, cst.Module)
    return changed.code


@lru_cache(maxsize=512)
def code_of(source: str, function: str) -> list[CodeType]:
    """Return what a function of a module compiles to; several where a name is defined twice, as properties are."""
    found = []
    waiting = [compile(source, "mutant", "exec")]
    while waiting:
        code = waiting.pop()
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        if code.co_qualname == function:
            found.append(code)
        waiting.extend(reversed(inner))
    return found


def _function_names(module: cst.Module) -> dict[cst.CSTNode | None, str]:
    names: dict[cst.CSTNode | None, str] = {}
    for statement in module.body:
        if isinstance(statement, cst.FunctionDef):
            names[statement] = statement.name.value
        elif isinstance(statement, cst.ClassDef):
            for inner in statement.body.body:
                if isinstance(inner, cst.FunctionDef):
                    names[inner] = f"{statement.name.value}.{inner.name.value}"
    return names


def _words(module: cst.Module) -> set[cst.CSTNode]:
    """Return the strings that tell a person something: of errors, and the last of a layout's field."""
    words: set[cst.CSTNode] = set()
    for call in matchers.findall(module, matchers.Call(func=matchers.Name())):
        assert isinstance(call, cst.Call)
        assert isinstance(call.func, cst.Name)
        if call.func.value.endswith("Error"):
            told = [argument.value for argument in call.args]
        elif call.func.value == "Field":
            told = [argument.value for argument in call.args[2:]]
        else:
            continue
        for value in told:
            if isinstance(value, cst.BaseString):
                words.update(matchers.findall(value, matchers.SimpleString()))
    return words


def _one_line(text: str) -> str:
    """A call over many lines reads as one; a function's whole body is cut."""
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_MAX else line[: _TEXT_MAX - 2] + " …"
