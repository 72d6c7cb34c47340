"""The list of planted bugs: complete, up to date, and the planting itself."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import planted
import pytest
from units import Unit

import journalkit

PAGE = planted.TOP / "docs" / "explanation" / "planted-bugs.md"


def test_every_bug_can_be_planted_and_names_what_notices_it() -> None:
    """The code changes; a bug that no longer fits would be tried no more, without a word."""
    package = Path(next(iter(journalkit.__path__)))
    for mutant in planted.mutants().values():
        assert planted.edited(mutant, package), mutant.name
        assert mutant.caught_by, mutant.name


def test_every_named_check_is_there() -> None:
    """A test that was renamed would exit with an error, which must not pass for a catch."""
    for mutant in planted.mutants().values():
        file, _, test = mutant.caught_by.partition("::")
        if test:
            name = test.rpartition("::")[2].partition("[")[0]
            assert f"def {name}(" in (planted.TOP / file).read_text(), mutant.name
        else:
            assert "/" in mutant.caught_by, mutant.name


def test_every_pitfall_has_a_bug_and_the_page_explains_it() -> None:
    """At least one for each, or the list has a hole where data is lost."""
    explained = {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)}
    assert {pitfall for mutant in planted.mutants().values() for pitfall in mutant.pitfalls} == explained


def test_the_page_shows_the_list_as_it_is() -> None:
    """Who reads which test catches what reads the truth: `python tests/proof/planted.py table` prints it."""
    assert f"<!-- planted -->\n\n{planted.table()}\n<!-- end of planted -->" in PAGE.read_text()


def test_a_check_that_notices_nothing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary: a bug that is none, which every check passes over."""
    harmless = planted.Mutant(
        "harmless", (1,), (planted.Edit("types.py", "from __future__", "# \nfrom __future__"),), QUICK, ""
    )
    monkeypatch.setattr(planted, "mutants", lambda: {"harmless": harmless})
    assert "noticed nothing" in planted.prove(Unit("harmless", {"bugs": ["harmless"]})).failures[0]


def test_a_check_that_is_not_there_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of the runner must not pass for a bug that was noticed."""
    lost = planted.Mutant("lost", (1,), (planted.Edit("types.py", "from __future__", "# \nfrom __future__"),), NONE, "")
    monkeypatch.setattr(planted, "mutants", lambda: {"lost": lost})
    assert "exit 4" in planted.prove(Unit("lost", {"bugs": ["lost"]})).failures[0]


def test_a_fork_notices_what_is_planted_and_nothing_else() -> None:
    """As units run them: one bug behind another in one process, and each fork has only its own."""
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(planted.__file__).parent)!r})
        import planted
        known = planted.mutants()
        caught = known["sync-tried-again-after-an-error"]
        change = (planted.Edit("types.py", "from __future__", "# \\nfrom __future__"),)
        harmless = planted.Mutant("harmless", (1,), change, caught.caught_by, "")
        planted.mutants = lambda: {{mutant.name: mutant for mutant in (caught, harmless)}}
        for names in ([caught.name, harmless.name], [harmless.name, caught.name]):
            outcome = planted.prove(planted.Unit("both", {{"bugs": names}}))
            assert outcome.counts == {{"bugs caught": 1, "pitfalls": 1}}, outcome
            assert [text.split(":")[0] for text in outcome.failures] == ["harmless"], outcome
            assert "noticed nothing, exit 0" in outcome.failures[0], outcome
        assert "journalkit" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, cwd=planted.TOP
    )
    assert done.returncode == 0, done.stderr


def test_units_hold_every_bug_once() -> None:
    """In groups, and each by its name for who wants to see it again."""
    dealt = [name for unit in planted.units("ci", 1) for name in unit.arguments["bugs"]]
    assert sorted(dealt) == sorted(planted.mutants())
    assert planted.unit_named(dealt[0]) == Unit(dealt[0], {"bugs": [dealt[0]]})
    assert planted.unit_named("another") is None


QUICK = "tests/unit/log/test_attempt.py::test_a_sync_after_a_failed_one_fails_without_asking_the_kernel"
NONE = "tests/unit/log/test_attempt.py::test_that_nobody_wrote"
