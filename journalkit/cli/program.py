"""From arguments to an exit code.

No traceback reaches a user: wrong usage, what the library refuses and
what the operating system fails at are each told in one line. A defect of ours is told in one line too, with how
to see more: Python's own development mode, `-X dev`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from journalkit._version import __version__
from journalkit.cli import codes
from journalkit.cli.arguments import Parser, WrongUsageError
from journalkit.cli.commands import COMMANDS
from journalkit.cli.terminal import tell
from journalkit.errors import JournalError


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="journalkit",
        description="Durable state for Python programs: look at it, check it, change it, repair it.",
        epilog="`journalkit COMMAND --help` tells more. Exit codes: 0 done, 2 an error, 64 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"journalkit {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True, parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Never raises for what a user did or a disk is."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the process's life
    return _delivered(_run(argv))


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else codes.WRONG_USAGE
    name = f"journalkit {args.command}"
    try:
        code: int = args.run(args)
    except WrongUsageError as error:
        tell(f"{name}: {error}")
        tell(f"see `{name} --help`")
        return codes.WRONG_USAGE
    except JournalError as error:
        return _failed(name, str(error))
    except BrokenPipeError:
        return codes.BROKEN_PIPE
    except KeyboardInterrupt:
        return codes.INTERRUPTED
    except OSError as error:
        return _failed(name, _reason(error))
    except MemoryError:
        return _failed(name, "not enough memory for what stands there; nothing was changed by looking")
    except Exception as error:  # the last resort: a defect of ours
        if sys.flags.dev_mode:
            raise
        return _failed(
            name,
            f"a defect in journalkit, {type(error).__name__}: {error}; please report it with what "
            f"`python -X dev -m {name} ...` prints",
        )
    return code


def _delivered(code: int) -> int:
    """Hand what stands in the output's buffer over; return the code, or what went wrong."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _forget_output()
        if isinstance(error, BrokenPipeError):
            return codes.BROKEN_PIPE
        return code or _failed("journalkit", f"standard output can't be written: {error.strerror}")
    return code


def _failed(name: str, reason: str) -> int:
    tell(f"{name}: {reason}")
    return codes.ERROR


def _reason(error: OSError) -> str:
    where = f"{os.fspath(error.filename)}: " if isinstance(error.filename, str | os.PathLike) else ""
    return f"{where}{error.strerror or error}"


def _forget_output() -> None:
    """Let Python's own flush at exit go nowhere: what stood in its buffer can't be delivered."""
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # not a file: a test's capture
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
