"""What an interrupt left behind in a store's handle; `tests/proof/interrupts.py` found each."""

from __future__ import annotations

import journalkit


def test_an_interrupt_at_the_ends_of_its_block_does_not_bar_its_thread(store: journalkit.Store) -> None:
    """Ctrl-C between `begin` and the block, or before the first line of the end: no later write was taken."""

    def begun_without_a_block() -> None:
        store.transaction().__enter__()

    def ended_but_not_noted() -> journalkit.Transaction:
        tx = store.transaction()
        tx.__enter__()
        tx._is_open = False
        return tx

    begun_without_a_block()
    store["a"] = 1
    kept = ended_but_not_noted()
    store["b"] = 2
    with store.transaction() as mine:
        mine["c"] = 3
    kept.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert store == {"a": 1, "b": 2, "c": 3}
