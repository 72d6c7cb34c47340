"""Which board a lease is said on, by its URL. What it takes is imported when it is asked for: few jobs do."""

from __future__ import annotations

from typing import Final

from journalkit.checkpoint import board_url
from journalkit.checkpoint.board import Board
from journalkit.errors import KeyValueError

_ASKS_A_TERM: Final = 10
_TIMEOUT_MIN_S: Final = 0.5
_TIMEOUT_MAX_S: Final = 5.0


def open_board(url: str, term_s: float) -> Board:
    """Open what a lease of that many seconds is said on; a server has a tenth of them to answer, about.

    Raises:
        UsageError: It is no URL of a board, or takes a package that isn't installed.
        ArchiveUnavailableError: It can't be reached.
    """
    found = board_url.parse(url)
    timeout_s = min(_TIMEOUT_MAX_S, max(_TIMEOUT_MIN_S, term_s / _ASKS_A_TERM))
    if found.scheme.startswith("etcd"):
        if found.options:
            raise KeyValueError(f"{found.shown}: nothing stands behind the ? of etcd's")
        from journalkit.checkpoint.board_etcd import EtcdBoard

        return EtcdBoard(found, timeout_s)
    from journalkit.checkpoint.board_nats import NatsBoard

    return NatsBoard(found, timeout_s)
