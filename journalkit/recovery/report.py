"""What recovery did, in one value that prints as one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """How a store came to be open.

    Attributes:
        outcome: "created", "clean" (closed properly, nothing to replay),
            "replayed", "cut" (a torn tail was given up) or "point-in-time"
            (damage was, on request).
        snapshot_lsn: LSN of the snapshot that was loaded, 0 for none.
        fell_back: Whether a newer snapshot was damaged and passed over.
        last_lsn: The last record of the recovered state.
        records_replayed: Records read from the log on top of the snapshot.
        bytes_cut: Bytes of torn tail, or of damage, that were given up.
        quarantine: Where they are kept, "" if nothing was cut.
        seconds: How long it took.
    """

    outcome: str
    snapshot_lsn: int
    fell_back: bool
    last_lsn: int
    records_replayed: int
    bytes_cut: int
    quarantine: str
    seconds: float

    def __str__(self) -> str:
        parts = [f"{self.outcome}: LSN {self.last_lsn}"]
        if self.snapshot_lsn:
            older = "an older snapshot (a newer one is damaged)" if self.fell_back else "snapshot"
            parts.append(f"{older} {self.snapshot_lsn}")
        elif self.fell_back:
            parts.append("the whole log (the snapshot is damaged)")
        parts.append(f"{self.records_replayed} record{'s' * (self.records_replayed != 1)} replayed")
        if self.bytes_cut:
            parts.append(f"{self.bytes_cut} bytes cut, kept in {self.quarantine}")
        return ", ".join(parts) + f" in {self.seconds:.3f} s"
