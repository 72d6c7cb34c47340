"""The command line: one file per command, and what they share.

    program      main: from arguments to an exit code, and every error in one line
    commands     the table of commands; a new one is one file and one line there
    arguments    options that several commands have
    jsonform     values and keys as JSON, lossless
    terminal     text for people: lines, sizes, times, progress
    page         an aligned page, for a terminal with rich, plain elsewhere
    examination  what verify, info, du and recover know of a directory without changing it
    verdicts     each file's verdict, and its words
    remains      the same of a directory without a sound manifest
    causes       what happened, what survives and what to do next, in words and as JSON

A command module has `add_parser(commands)`, which registers its parser with
`run=`, a function from parsed arguments to an exit code. What it needs beyond
the standard library it imports when it runs: a command answers before a person
notices. Nothing here is for programs; they call `journalkit.open`.
"""

from __future__ import annotations

from journalkit.cli.program import build_parser, main

__all__ = ["build_parser", "main"]
