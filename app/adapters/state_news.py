"""Tells people and metrics what becomes of the state."""

from __future__ import annotations

from dataclasses import dataclass, field

from app import observe
from app.adapters.logs import log
from app.adapters.recovery_bar import RecoveryBar
from app.observe import Meter
from app.ports import Rebuild


@dataclass(slots=True)
class ToldStateNews:
    """What becomes of the state, as log lines and metrics, and as a bar where a person looks on."""

    meter: Meter
    bar: RecoveryBar = field(default_factory=RecoveryBar)

    def rebuilding(self, partition: int, why: Rebuild, what: str) -> None:
        """Warn that a folder was deleted and the partition is read again from its changelog."""
        self.meter.add(observe.STATE_REBUILDS, reason=why.value)
        log().warning(
            "the state of a partition is read again from its changelog",
            partition=partition,
            reason=why.value,
            what=what,
        )

    def recovering(self, done: int, total: int, left_s: float | None) -> None:
        """Tell how far the reading of the changelog is, and how long it will take at this pace."""
        self.meter.set(observe.STATE_RECOVERY_LEFT, total - done)
        if self.bar.show(done, total):
            return
        estimate = {} if left_s is None else {"left_ms": int(left_s * 1_000)}
        log().info("the state is read from its changelog", count=done, total=total, **estimate)

    def recovered(self, records: int, elapsed_s: float) -> None:
        """Tell that the work goes on."""
        self.bar.close()
        self.meter.set(observe.STATE_RECOVERY_LEFT, 0)
        self.meter.observe(observe.STATE_RECOVERY, elapsed_s)
        log().info("the state was read from its changelog", count=records, elapsed_ms=int(elapsed_s * 1_000))
