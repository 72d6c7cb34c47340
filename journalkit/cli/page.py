"""A page: fields and grids, aligned. With colour and rules on a terminal, plain text elsewhere.

Commands say what is to be seen; how it looks is decided here. A cell is a str,
or a `Toned` one whose tone says whether it is good news.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from journalkit.cli.terminal import is_terminal, say, visible

if TYPE_CHECKING:
    from rich.text import Text

Tone: TypeAlias = Literal["good", "warn", "bad", "quiet"]

_STYLES: Final[dict[Tone, str]] = {"good": "green", "warn": "yellow", "bad": "bold red", "quiet": "dim"}


@dataclass(frozen=True, slots=True)
class Toned:
    """A cell with a tone, which only a terminal shows."""

    text: str
    tone: Tone


Cell: TypeAlias = "str | Toned"


@dataclass(frozen=True, slots=True)
class Fields:
    """Labels and what belongs to them, one line each."""

    title: str
    rows: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows under column heads. Columns named in `right` hold numbers."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Remarks:
    """Lines by themselves: what it all comes to."""

    rows: Sequence[Cell]
    title: str = ""


Part: TypeAlias = "Fields | Grid | Remarks"


def show(parts: Sequence[Part]) -> None:
    """Write a page to standard output. Parts without rows are left out."""
    shown = [part for part in parts if part.rows]
    if is_terminal(sys.stdout):
        _show_rich(shown)
    else:
        for line in plain(shown):
            say(line)


def plain(parts: Sequence[Part]) -> list[str]:
    """Return the lines of a page as text, columns aligned by spaces alone."""
    lines: list[str] = []
    for part in parts:
        if lines:
            lines.append("")
        if part.title:
            lines.append(part.title)
        if isinstance(part, Fields):
            lines += _aligned([(label, _text(cell)) for label, cell in part.rows], ())
        elif isinstance(part, Grid):
            right = [index for index, head in enumerate(part.heads) if head in part.right]
            lines += _aligned([part.heads, *([_text(cell) for cell in row] for row in part.rows)], right)
        else:
            lines += [_text(cell) for cell in part.rows]
    return lines


def _text(cell: Cell) -> str:
    return visible(cell.text if isinstance(cell, Toned) else cell)


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if index in right else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _rich_text(cell: Cell) -> Text:
    from rich.text import Text

    # Never from markup: a key may hold brackets.
    return Text(_text(cell), style=_STYLES[cell.tone] if isinstance(cell, Toned) else "")


def _show_rich(parts: Sequence[Part]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for index, part in enumerate(parts):
        if index:
            console.print()
        if part.title:
            console.print(Text(part.title, style="bold"))
        if isinstance(part, Remarks):
            for cell in part.rows:
                console.print(_rich_text(cell))
            continue
        if isinstance(part, Fields):
            table = Table.grid(padding=(0, 2))
            table.add_column(style="dim")
            table.add_column(overflow="fold")
            for label, cell in part.rows:
                table.add_row(Text(label), _rich_text(cell))
        else:
            table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
            for head in part.heads:
                # A file's name is looked for, and copied: the other columns give way.
                justify: Literal["left", "right"] = "right" if head in part.right else "left"
                table.add_column(head, justify=justify, overflow="fold", no_wrap=head == "file")
            for row in part.rows:
                table.add_row(*map(_rich_text, row))
        console.print(Padding(table, (0, 0, 0, 2)))
