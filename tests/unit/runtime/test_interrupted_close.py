"""A close that is interrupted can be called again; `tests/proof/interrupts.py` found that it could not."""

from __future__ import annotations

from typing import Any

import pytest

import journalkit
from journalkit.errors import ClosedError, StorageError
from journalkit.log.log import Log
from journalkit.log.writer import LogWriter
from journalkit.runtime import lifecycle
from journalkit.testing import SimulatedDisk


def opened(disk: SimulatedDisk, **options: Any) -> journalkit.Store:
    """Open the store on a disk."""
    return journalkit.open("/store", fs=disk, **({"compaction": "manual"} | options))


def interrupted_at(monkeypatch: pytest.MonkeyPatch, store: journalkit.Store, owner: Any, name: str) -> None:
    """Close a store, with Ctrl-C at the first of certain calls inside."""
    real, interrupts = getattr(owner, name), [KeyboardInterrupt]

    def interrupt(*arguments: object, **options: object) -> object:
        if interrupts:
            raise interrupts.pop()
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.close()
    assert store.closed


@pytest.mark.parametrize("place", [(lifecycle, "unregister"), (Log, "close")], ids=["release", "seal"])
def test_an_interrupted_close_gave_the_lock_back_only_with_the_process(
    monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    """The handle called itself closed, so nobody could close it, and nobody else open the store."""
    disk = SimulatedDisk()
    store = opened(disk)
    store["a"] = 1
    interrupted_at(monkeypatch, store, *place)
    store.close()
    with pytest.raises(ClosedError):
        store["b"] = 2
    with opened(disk) as again:
        assert again == {"a": 1}
    store.close()


def test_an_interrupted_close_in_a_with_block_is_ended_when_the_handle_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody calls close again there; and it was closed, so that there is nothing to warn of."""
    disk = SimulatedDisk()
    store = opened(disk)
    store["a"] = 1
    interrupted_at(monkeypatch, store, lifecycle, "unregister")
    del store
    with opened(disk) as again:
        assert again == {"a": 1}


def test_a_second_close_does_not_say_durable_when_the_first_never_came_to_the_seal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under "never" the close is what makes records durable: one that could not has to say so."""
    disk = SimulatedDisk()
    store = opened(disk, sync="never")
    store["a"] = 1
    interrupted_at(monkeypatch, store, LogWriter, "seal")
    with pytest.raises(StorageError, match="interrupted before the last records were durable"):
        store.close()
    store.close()
    with opened(disk) as again:
        assert again == {"a": 1}
