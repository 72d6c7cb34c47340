"""One contract for every engine that is installed, journalkit among them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journalkit.bench import data
from journalkit.bench.engine import Database, Durability, Engine, MissingError, Terms
from journalkit.bench.engines import PEERS
from journalkit.bench.engines.own import own

# Peers' own code warns of what it will have to change.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def contenders() -> Iterator[Any]:
    """Yield every engine as a parameter; one that is missing is skipped, with its reason."""
    yield pytest.param(own(), id="journalkit")
    for engine in PEERS:
        try:
            engine.require()
        except MissingError as error:
            yield pytest.param(engine, id=engine.name, marks=pytest.mark.skip(reason=str(error)))
        else:
            yield pytest.param(engine, id=engine.name)


@pytest.fixture(params=contenders())
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    found: Engine = request.param
    return found


@pytest.fixture(params=["bytes", "objects"])
def terms(request: pytest.FixtureRequest) -> Terms:
    """Both kinds of values."""
    return Terms("process crash", objects=request.param == "objects")


@pytest.fixture
def database(engine: Engine, terms: Terms, tmp_path: Path) -> Iterator[Database]:
    """An open database, closed at the end."""
    opened = engine.open(str(tmp_path), terms)
    yield opened
    opened.close()


def values(terms: Terms, count: int, shift: int = 0) -> list[tuple[bytes, Any]]:
    """Return keys and values of the kind that the terms ask for."""
    return data.items(0, count, objects=terms.objects, shift=shift)


def absent(database: Database, key: bytes) -> bool:
    """Whether a key isn't there: None or KeyError, as the engine does."""
    try:
        return database.get(key) is None
    except KeyError:
        return True


def test_what_is_put_is_there(database: Database, terms: Terms) -> None:
    """Every row rests on it."""
    for key, value in values(terms, 20):
        assert absent(database, key)
        database.put(key, value)
        assert database.get(key) == value


def test_a_later_put_wins(database: Database, terms: Terms) -> None:
    """Updates of the mixed workloads are puts under keys that are there."""
    for shift in (0, 7):
        for key, value in values(terms, 20, shift):
            database.put(key, value)
    assert all(database.get(key) == value for key, value in values(terms, 20, 7))


def test_a_commit_of_many_is_there_and_overwrites(database: Database, terms: Terms) -> None:
    """Loading and the batch rows."""
    database.write(values(terms, 100))
    database.write(values(terms, 50, 3))
    assert all(database.get(key) == value for key, value in values(terms, 100)[50:])
    assert all(database.get(key) == value for key, value in values(terms, 50, 3))


def test_many_keys_can_be_had_at_once(database: Database, terms: Terms) -> None:
    """Each with its value, whatever way the engine has for it."""
    database.write(values(terms, 100))
    wanted = dict(values(terms, 100)[20:60])
    assert dict(database.get_many(list(wanted))) == wanted


def test_a_scan_is_in_key_order_from_a_key_on(database: Database, terms: Terms) -> None:
    """As many as asked for, with their values; an engine that can't says so."""
    ordered = sorted(values(terms, 100))
    database.write(ordered[::-1])
    try:
        found = list(database.scan(ordered[40][0], 25))
    except MissingError:
        pytest.skip("it has no ordered scan")
    assert found == ordered[40:65]


def test_it_all_survives_a_close(engine: Engine, terms: Terms, tmp_path: Path) -> None:
    """Rows that open again rely on it, settled or not."""
    database = engine.open(str(tmp_path), terms)
    database.write(values(terms, 100))
    database.settle()
    for key, value in values(terms, 10, 5):
        database.put(key, value)
    database.close()
    again = engine.open(str(tmp_path), terms)
    assert all(again.get(key) == value for key, value in values(terms, 10, 5))
    assert all(again.get(key) == value for key, value in values(terms, 100)[10:])
    again.close()


def test_a_reader_sees_what_other_threads_put(database: Database, terms: Terms) -> None:
    """Each thread puts through a worker of its own; afterwards all of it is read."""
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            with database.worker() as put:
                for key, value in values(terms, 40)[start::4]:
                    put(key, value)
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with database.reader() as get:
        assert all(get(key) == value for key, value in values(terms, 40))


@pytest.mark.parametrize("durability", ["power cut", "process crash"])
def test_settings_say_which_durability_was_asked_for(engine: Engine, durability: Durability, tmp_path: Path) -> None:
    """Figures of different promises look alike; who can't be asked for less says so."""
    said = {one: engine.settings(Terms(one)) for one in ("power cut", "process crash")}  # type: ignore[arg-type]
    assert said["power cut"] != said["process crash"]
    database = engine.open(str(tmp_path), Terms(durability))
    database.put(data.key(1), data.value(1))
    assert database.get(data.key(1)) == data.value(1)
    database.close()


def test_a_missing_engine_says_how_to_get_it() -> None:
    """A peer that isn't installed is a line in the result, not a traceback."""
    engine = Engine("none", ("no_such_module_anywhere",), "none", own().open, own().settings)
    with pytest.raises(MissingError, match=r"journalkit\[bench\]"):
        engine.require()
