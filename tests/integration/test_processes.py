"""What happens to a store when its process forks, ends, or dies, on a real disk."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import journalkit

ENVIRONMENT = [entry for entry in sys.path if entry]


def run(program: str, *arguments: object, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program with the same journalkit as this one; a failure shows what it said."""
    source = f"import sys; sys.path[:] = {ENVIRONMENT!r}\n" + textwrap.dedent(program)
    ran = subprocess.run(
        [sys.executable, *flags, "-c", source, *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


FORK = """
    import errno, os, sys, warnings
    import journalkit
    from journalkit.errors import ForkedError

    warnings.simplefilter("error")
    store = journalkit.open(sys.argv[1], compaction=sys.argv[2], sync=sys.argv[3], cache_bytes=0, max_age=0.01)
    journal = journalkit.open_journal(sys.argv[1] + ".journal")
    store.update({str(number): "v" * 100 for number in range(1000)})
    store.compact()
    store["tail"] = 1
    journal.append(1)
    view, scan, records = store.view(), store.scan(), journal.read()
    transaction = store.transaction()
    transaction.__enter__()
    transaction.get("500")
    before = {name: os.stat(sys.argv[1] + "/" + name).st_mtime_ns for name in os.listdir(sys.argv[1])}

    child = os.fork()
    if child == 0:
        attempts = [
            lambda: store["tail"], lambda: store.get("500"), lambda: list(store), lambda: store.put("a", 1),
            lambda: store.delete("a"), lambda: store.transaction(), lambda: store.compact(), lambda: store.sync(),
            lambda: store.view(), lambda: store.check(), lambda: store.__enter__(), lambda: store.pop("tail"),
            lambda: store.offsets,
            lambda: view["500"], lambda: list(view), lambda: list(scan), lambda: transaction["700"],
            lambda: transaction.__exit__(None, None, None) or transaction.__enter__(),
            lambda: journal.append(2), lambda: journal.read(), lambda: next(records), lambda: journal.prune(1),
        ]
        for index, attempt in enumerate(attempts):
            try:
                attempt()
            except ForkedError as error:
                assert "parent" in str(error)
            else:
                os._exit(100 + index)
        store.close()
        journal.close()
        del store, journal, view, scan, transaction, attempts
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7, os.waitstatus_to_exitcode(status)
    if sys.argv[2] == "manual":
        after = {name: os.stat(sys.argv[1] + "/" + name).st_mtime_ns for name in os.listdir(sys.argv[1])}
        assert after == before
    try:
        journalkit.open(sys.argv[1])
    except journalkit.errors.LockedError:
        pass
    else:
        sys.exit("the child let go of the lock")
    transaction.__exit__(None, None, None)
    store["after"] = 2
    journal.append(2)
    assert view["500"] == "v" * 100
    assert [record.value for record in records] == [1]
    store.close()
    journal.close()
"""


@pytest.mark.parametrize(("compaction", "sync"), [("manual", "always"), ("thread", "interval")])
def test_a_child_cannot_use_its_parents_handle_nor_harm_it(tmp_path: Path, compaction: str, sync: str) -> None:
    """Each use is a ForkedError before any system call on the files; its exit seals and unlocks nothing."""
    run(FORK, tmp_path / "store", compaction, sync)
    with journalkit.open(tmp_path / "store") as store:
        assert (len(store), store["tail"], store["after"]) == (1002, 1, 2)
        assert store.recovery_report.bytes_cut == 0


def test_a_child_opens_the_store_for_itself(tmp_path: Path) -> None:
    """For reading beside its parent, and for writing when the parent is done."""
    run(
        """
        import os, sys
        import journalkit

        store = journalkit.open(sys.argv[1])
        store["a"] = 1
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            with journalkit.open(sys.argv[1], mode="r") as reader:
                assert reader == {"a": 1}
            os.read(reading, 1)
            with journalkit.open(sys.argv[1]) as mine:
                mine["b"] = 2
                mine.compact()
                assert mine == {"a": 1, "b": 2}
            sys.exit(0)
        store.close()
        os.write(writing, b"x")
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        tmp_path / "store",
    )
    with journalkit.open(tmp_path / "store", mode="r") as reader:
        assert reader == {"a": 1, "b": 2}


def test_a_store_that_is_open_at_exit_is_closed_there(tmp_path: Path) -> None:
    """Nothing has to be replayed, and nothing is printed."""
    ran = run(
        """
        import sys
        import journalkit

        store = journalkit.open(sys.argv[1], sync="interval", sync_interval_ms=60_000)
        store["a"] = 1
        store["b"] = 2
        """,
        tmp_path / "store",
        flags=("-W", "error"),
    )
    assert (ran.stdout, ran.stderr) == ("", "")
    with journalkit.open(tmp_path / "store") as store:
        assert store == {"a": 1, "b": 2}
        assert store.recovery_report.bytes_cut == 0
        assert store.durable_lsn == 2


def test_a_process_that_is_killed_leaves_its_store_to_the_next(tmp_path: Path) -> None:
    """Its lock ends with it, in the middle of whatever it did; every acknowledged record is there."""
    for number in range(3):
        run(
            """
            import os, sys, threading
            import journalkit

            store = journalkit.open(sys.argv[1], fold_bytes_min=1000, fold_ratio=0.5, segment_bytes_max=4096)
            assert store.get("count", 0) == int(sys.argv[2]), store.get("count", 0)

            def work(name):
                for step in range(50):
                    store[name, step] = b"x" * 200
                    store.modify("count", lambda count: count + 1, default=0)

            threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            store.compact()
            os._exit(0)
            """,
            tmp_path / "store",
            number * 100,
        )
    with journalkit.open(tmp_path / "store") as store:
        assert store["count"] == 300
        assert len(store) == 101
