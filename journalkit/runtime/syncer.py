"""The syncer: keeps `sync="interval"` by syncing the log every so often."""

from __future__ import annotations

import logging

from journalkit.errors import ClosedError, JournalError
from journalkit.log.log import Log

_log = logging.getLogger("journalkit.syncer")


class Syncer:
    """Syncs one log when it has records that aren't durable."""

    def __init__(self, log: Log, interval_s: float) -> None:
        self._journal = log
        self._interval_s = interval_s

    def step(self) -> float:
        """Sync if need be; return when to look again. A failure is the next writer's to hear of."""
        if self._journal.durable_lsn < self._journal.last_lsn and self._journal.failure is None:
            try:
                self._journal.sync()
            except ClosedError:
                return self._interval_s
            except JournalError as error:
                _log.warning("the log could not be synced: %s", error)
        return self._interval_s
