"""What the documents say is run, parsed or compared; prose alone is not believed.

* A fenced `python` block runs, block after block, in one process and one empty
  folder per file. `<!-- not run: reason -->` on the line above exempts one.
* A `journalkit ...` line in a `sh` or `console` block has to parse.
* `<!-- layout: module:NAME -->` is followed by that layout's own table.
* Every command is in docs/reference/cli.md; every relative link leads somewhere.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.exists()]
RUN = [path for path in DOCUMENTS if path.parent == ROOT or {"tutorial", "how-to"} & set(path.parts)]
CLI = ROOT / "docs" / "reference" / "cli.md"
FORMAT = ROOT / "docs" / "reference" / "format.md"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts at and the line above the fence."""

    language: str
    text: str
    line: int
    above: str


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a Markdown text."""
    lines = text.splitlines()
    start: int | None = None
    for index, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = index
        else:
            above = lines[start - 1] if start else ""
            language = lines[start].strip().removeprefix("```").strip()
            yield Block(language, "\n".join(lines[start + 1 : index]), start + 2, above)
            start = None


def name_of(path: Path) -> str:
    """Name a document in a test's id."""
    return str(path.relative_to(ROOT))


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of shell blocks that call journalkit, continuation lines joined."""
    for block in blocks(text):
        if block.language not in ("sh", "console", "shell", "bash"):
            continue
        joined = block.text.replace("\\\n", " ")
        for line in joined.splitlines():
            for piece in re.split(r"\s(?:&&|\|\|?|;)\s", line.removeprefix("$ ")):
                words = piece.split()
                if words and words[0].rsplit("/", 1)[-1] == "journalkit":
                    yield block.line, piece


def parser() -> argparse.ArgumentParser:
    """Return the command line's own parser."""
    build = importlib.import_module("journalkit.cli").build_parser
    made = build()
    assert isinstance(made, argparse.ArgumentParser)
    return made


def command_names() -> set[str]:
    """Return the commands that the parser knows."""
    [subparsers] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return set(subparsers.choices)


@pytest.mark.parametrize("path", RUN, ids=name_of)
def test_the_python_in_the_documents_runs(path: Path, tmp_path: Path) -> None:
    """The first program that a reader types in has to work."""
    wanted = [
        block
        for block in blocks(path.read_text(encoding="utf-8"))
        if block.language == "python" and not block.above.startswith("<!-- not run:")
    ]
    # Each line stands at its own number, so that a traceback names the document's.
    program: list[str] = []
    for block in wanted:
        program += [""] * (block.line - 1 - len(program)) + block.text.splitlines()
    script = tmp_path / "program" / "document.py"
    script.parent.mkdir()
    script.write_text("\n".join(program), encoding="utf-8")
    folder = tmp_path / "folder"
    folder.mkdir()
    environment = dict(os.environ)
    if (ROOT / "journalkit").is_dir():
        # The same journalkit as this test's, wherever it was found.
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    ran = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(script)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ran.returncode == 0, f"{name_of(path)}:\n{ran.stderr}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_the_commands_in_the_documents_parse(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that was renamed lives on in documents, where it hurts most."""
    for line, command in commands(path.read_text(encoding="utf-8")):
        words = shlex.split(command, comments=True)
        words = words[1 : next((index for index, word in enumerate(words) if word[:1] in "<>"), len(words))]
        try:
            parser().parse_args(words)
        except SystemExit as stop:  # argparse leaves so after --help and --version too
            if stop.code:
                pytest.fail(f"{name_of(path)}:{line}: {command}\n{capsys.readouterr().err}")


def test_every_command_is_in_the_reference() -> None:
    """A command that no document names is found by nobody."""
    if not CLI.exists():
        assert not _has_cli(), "there is a command line, so docs/reference/cli.md has to be there"
        return
    text = CLI.read_text(encoding="utf-8")
    documented = set(re.findall(r"`(?:journalkit )?([a-z]+)[` ]", text))
    assert command_names() <= documented, f"not in docs/reference/cli.md: {sorted(command_names() - documented)}"


def _has_cli() -> bool:
    found = importlib.util.find_spec("journalkit.cli")
    return found is not None and found.origin is not None


def layouts() -> dict[str, str]:
    """Return each layout of the code by "module:NAME", as the table that documents it."""
    layout = importlib.import_module("journalkit.format.layout").Layout
    package = importlib.import_module("journalkit.format")
    found = {}
    for path in sorted(Path(next(iter(package.__path__))).glob("*.py")):
        module = f"journalkit.format.{path.stem}"
        for name, value in vars(importlib.import_module(module)).items():
            # Where it was made, not where it was imported to.
            made_here = re.search(rf"^{name}\b[^=\n]*= Layout\(", path.read_text("utf-8"), re.MULTILINE)
            if isinstance(value, layout) and made_here:
                found[f"{module}:{name}"] = value.markdown().strip()
    return found


def test_the_format_reference_shows_the_codes_own_tables() -> None:
    """Two descriptions of one format are two formats."""
    if not FORMAT.exists():
        assert not layouts(), "there are layouts, so docs/reference/format.md has to show them"
        return
    text = "".join(FORMAT.with_name(name).read_text(encoding="utf-8") for name in (FORMAT.name, "checkpoint-format.md"))
    shown = {
        match[1]: match[2].strip() for match in re.finditer(r"<!-- layout: (\S+) -->\n+((?:\|[^\n]*\n)+)", text + "\n")
    }
    assert shown == layouts()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    """A dead link costs a reader more than no link."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file = target.split("#")[0]
        if file and "://" not in file and not file.startswith("mailto:") and not (path.parent / file).exists():
            dead.append(target)
    assert not dead, f"{name_of(path)} links to {dead}"


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_readmes_commands_are_single_lines_that_ci_can_find(name: str) -> None:
    """What a stranger pastes first is what CI runs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(rf"<!-- command: {name} -->\n```sh\n[^\n]+\n```\n", text)) == 1


def test_decisions_are_numbered_once_and_say_where_they_stand() -> None:
    """Decisions are cited by number, for years."""
    numbers = []
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        match = re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", path.name)
        assert match, f"{path.name} is not named NNNN-title.md"
        numbers.append(match[1])
        text = path.read_text(encoding="utf-8")
        assert re.search(r"^Status: (proposed|accepted|rejected|superseded by \d{4}) ", text, re.MULTILINE), path.name
        for heading in ("## Context", "## Options", "## Choice", "## What it costs"):
            assert heading in text, f"{path.name} has no {heading!r}"
    assert len(numbers) == len(set(numbers)), "a number is taken twice"


def test_blocks_are_found_where_they_stand() -> None:
    """The extractor itself: if it finds nothing, everything above passes."""
    text = "a\n<!-- not run: why -->\n```python\nx = 1\n```\n\n```sh\n$ journalkit get p k | less\n```\n"
    assert [(block.language, block.line, block.above) for block in blocks(text)] == [
        ("python", 4, "<!-- not run: why -->"),
        ("sh", 8, ""),
    ]
    assert list(commands(text)) == [(8, "journalkit get p k")]
