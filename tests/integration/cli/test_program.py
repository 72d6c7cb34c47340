"""The program as a whole: usage, exit codes, streams, terminals. No traceback ever reaches a user."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.cli import build_parser, codes, main
from journalkit.cli.commands import COMMANDS
from journalkit.errors import JournalError
from journalkit.fs.posix import PosixFileSystem

Run = Callable[..., Any]

NAMES = [command.__name__.rsplit(".", 1)[-1] for command in COMMANDS]
PROGRAM = [sys.executable, "-m", "journalkit"]


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which a child finds the journalkit under test."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), **more}


def called(*args: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own."""
    command = [*PROGRAM, *map(str, args)]
    options = {"capture_output": True, "env": environment(), "timeout": 60, **options}
    return subprocess.run(command, check=False, **options)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example_that_parses(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help is the manual that is at hand, and an example that fails is worse than none."""
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    examples = [line.strip() for line in out.partition("example:\n")[2].splitlines()]
    assert examples
    assert "--json" in out
    for example in examples:
        import shlex

        for piece in example.split(" | "):
            words = shlex.split(piece)[1:]
            words = words[: next((i for i, word in enumerate(words) if word[0] in "<>"), len(words))]
            build_parser().parse_args(words)


@pytest.mark.parametrize(
    "words", [[], ["frobnicate"], ["get"], ["get", "p"], ["info", "--no"], ["info", "a", "b"], ["log", "--limit", "x"]]
)
def test_wrong_usage_is_64_with_a_hint(run: Run, words: list[str]) -> None:
    """Sysexits' EX_USAGE, so that a script tells its own mistake from a store's."""
    ran = run(*words)
    assert (ran.code, ran.out) == (64, "")
    assert "--help`" in ran.err
    assert "Traceback" not in ran.err


def test_version_and_help_are_zero(run: Run) -> None:
    """Asked for, so no error."""
    assert run("--version").out == f"journalkit {journalkit.__version__}\n"
    ran = run("--help")
    assert ran.code == 0
    assert all(name in ran.out for name in NAMES)


def test_abbreviated_options_are_refused(run: Run, place: Any) -> None:
    """An abbreviation that works today is ambiguous tomorrow."""
    assert run("log", place, "--lim", 1).code == 64


@pytest.mark.parametrize("command", [["info"], ["verify"], ["log"], ["dump"], ["get", "k"], ["scan"], ["du"]])
def test_where_there_is_no_store_one_sentence_says_so(run: Run, tmp_path: Path, command: list[str]) -> None:
    """A path that isn't there, a file, a directory of something else: nothing is made or changed."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    name, *rest = command
    for target in ("nowhere", "file", "other"):
        ran = run(name, tmp_path / target, *rest)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "other", "x"]


def test_a_message_is_one_line_whatever_is_in_it(run: Run, tmp_path: Path) -> None:
    """A path with a line end would forge a second message."""
    ran = run("info", tmp_path / "a\nb\x1b[31m")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "a\\nb\\x1b[31m" in ran.err


def test_a_newer_format_is_refused_untouched(run: Run, place: Any) -> None:
    """Upgrade, then look again."""
    from journalkit.format.checksum import checksum

    path = place.path / "MANIFEST"
    data = bytearray(path.read_bytes())
    data[8] = 9
    data[20:24] = checksum(bytes(data[:20])).to_bytes(4, "little")
    path.write_bytes(data)
    before = place.fingerprint()
    for command in (["info"], ["verify"], ["get", "k"], ["put", "k", "1"], ["recover"]):
        name, *rest = command
        ran = run(name, place, *rest)
        assert (ran.code, "upgrade" in ran.err) == (2, True), command
    assert place.fingerprint() == before


def test_a_defect_is_told_in_one_line(run: Run, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even our own mistakes; development mode shows where."""
    import importlib

    module = importlib.import_module("journalkit.cli.du")

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(module, "measure", broken)
    ran = run("du", place)
    assert (ran.code, ran.out) == (2, "")
    assert "a defect in journalkit, ZeroDivisionError: oops" in ran.err
    assert ran.err.count("\n") == 1
    flags = type("Flags", (), {"dev_mode": True})()
    monkeypatch.setattr("journalkit.cli.program.sys.flags", flags)
    with pytest.raises(ZeroDivisionError):
        main(["du", str(place)])


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (JournalError("told"), codes.ERROR, "told"),
        (PermissionError(13, "Permission denied", "/x"), codes.ERROR, "/x: Permission denied"),
        (OSError("no number"), codes.ERROR, "no number"),
        (KeyboardInterrupt(), codes.INTERRUPTED, ""),
        (BrokenPipeError(), codes.BROKEN_PIPE, ""),
    ],
)
def test_each_kind_of_failure_has_its_code(
    run: Run, place: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    """What went wrong decides the code, not where."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(PosixFileSystem, "list", fail)
    ran = run("du", place)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert ran.err.count("\n") == bool(told)


def test_a_reader_that_goes_away_is_quiet(tmp_path: Path) -> None:
    """`journalkit scan | head -1` is no error."""
    with journalkit.open(tmp_path / "s", sync="never") as store:
        for number in range(100):
            store[number] = "x" * 10_000
    for command in ("dump", "scan", "log"):
        process = subprocess.Popen(
            [*PROGRAM, command, str(tmp_path / "s"), *["--values", "--json"] * (command == "log")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(30) == codes.BROKEN_PIPE
        assert process.stderr.read() == b""
        process.stderr.close()


def test_ctrl_c_is_130_and_quiet(tmp_path: Path) -> None:
    """In the middle of a load; what was committed stays, and the store is sound."""
    process = subprocess.Popen(
        [*PROGRAM, "load", str(tmp_path / "s"), "--batch", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b'{"key": 1, "value": 1}\n' * 3)
    process.stdin.flush()
    # "created the store": it is open, and waits for the next line.
    assert b"created" in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (codes.INTERRUPTED, b"", b"")
    with journalkit.open(tmp_path / "s", mode="r") as store:
        assert dict(store) == {1: 1}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_output_that_can_not_be_written_is_told(place: Any) -> None:
    """A dump onto a full disk must not look like a dump."""
    with open("/dev/full", "wb") as full:
        ran = called("dump", place, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert ran.returncode == 2
    assert b"No space left" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_closed_standard_streams_are_no_trouble(place: Any) -> None:
    """A daemon has none."""
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *PROGRAM, "verify", str(place)], check=False, env=environment()
    )
    assert ran.returncode == 0


def test_output_that_is_no_unicode_gets_ascii(tmp_path: Path) -> None:
    """JSON stays JSON, and text readable, whatever the locale."""
    with journalkit.open(tmp_path / "s") as store:
        store["ключ"] = "Grüße"
    env = environment(PYTHONIOENCODING="ascii")
    assert called("get", tmp_path / "s", "ключ", env=env).stdout == b'"Gr\\u00fc\\u00dfe"\n'
    assert called("scan", tmp_path / "s", env=env).stdout == b'\\u043a\\u043b\\u044e\\u0447\t"Gr\\xfc\\xdfe"\n'


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_directory_without_permission_is_told(run: Run, tmp_path: Path, place: Any, mode: int) -> None:
    """Not to be read, or only to be read: each in one line, with nothing changed."""
    commands = [["put", "k", "1"], ["info"]] if mode == 0 else [["put", "k", "1"], ["compact"], ["recover"]]
    twin = tmp_path / "twin"
    journalkit.open(twin).close()
    for name, *rest in commands:  # whatever they import lazily, while we may read it
        run(name, twin, *rest)
    nobody = 65534
    chain = [path for path in place.path.parents if path.stat().st_uid == 0 and len(path.parts) > 2]
    modes = [(path, path.stat().st_mode) for path in chain]
    try:
        for path in chain:
            path.chmod(0o755)
        os.chown(place.path, nobody, nobody)
        for path in place.path.iterdir():
            os.chown(path, nobody, nobody)
            path.chmod(0o400)
        place.path.chmod(mode)
        before = place.fingerprint()
        os.seteuid(nobody)
        ran = [run(name, place, *rest) for name, *rest in commands]
    finally:
        os.seteuid(0)
        for path, earlier in modes:
            path.chmod(earlier)
    assert [(one.code, one.out) for one in ran] == [(2, "")] * len(commands)
    assert all(one.err.count("\n") == 1 and "ermission" in one.err for one in ran), ran
    assert place.fingerprint() == before


def on_terminal(*args: object, columns: int = 100) -> tuple[int, str]:
    """Run the program on a pseudo-terminal; return its exit code and all that it showed."""
    variables = environment(TERM="xterm-256color", COLUMNS=str(columns))
    for wish in ("NO_COLOR", "FORCE_COLOR"):
        variables.pop(wish, None)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *map(str, args)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=variables,
        close_fds=True,
    )
    os.close(slave)
    shown = b""
    while True:
        ready, _, _ = select.select([master], [], [], 30)
        try:
            data = os.read(master, 65536) if ready else b""
        except OSError:  # the other end is gone
            data = b""
        if not data:
            break
        shown += data
    os.close(master)
    return process.wait(30), shown.decode()


def test_a_terminal_gets_colours_and_progress(place: Any) -> None:
    """For people: good news green, bad news red, and something that moves while it takes time."""
    code, shown = on_terminal("verify", place)
    assert code == 0
    assert "verifying" in shown
    assert "\x1b[32m" in shown
    assert "sound" in shown
    place.flip(place.newest_table, 5000)
    code, shown = on_terminal("verify", place)
    assert code == 2
    assert "\x1b[1;31m" in shown
    code, shown = on_terminal("info", place)
    assert "where it stands" in shown
    code, shown = on_terminal("dump", place)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert '{"key": "user:59", "value": 59}' in plain


def test_brackets_in_a_store_are_no_markup(tmp_path: Path) -> None:
    """`[red]` is a name like any other."""
    path = tmp_path / "[red]x[/red]"
    journalkit.open(path, metadata={"[bold]": "[/]"}).close()
    code, shown = on_terminal("info", path, columns=300)
    assert code == 0
    assert "[red]x[/red]" in shown
    assert "[bold]" in shown


def test_looking_for_a_key_imports_no_rich(place: Any) -> None:
    """What isn't shown in colour doesn't pay for it."""
    program = (
        "import sys; from journalkit.cli import main\n"
        f"main(['get', {str(place)!r}, 'last']); main(['verify', {str(place)!r}])\n"
        "print(sorted({'rich', 'asyncio', 'multiprocessing', 'pickle'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment(), check=True)
    assert ran.stdout.splitlines()[-1] == b"[]"
