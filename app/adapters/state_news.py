"""Tells people and metrics what becomes of the state."""

from __future__ import annotations

from dataclasses import dataclass

from app import observe
from app.adapters.logs import log
from app.observe import Meter
from app.ports import Rebuild


@dataclass(frozen=True, slots=True)
class ToldStateNews:
    """`StateNews` as log lines and metrics."""

    meter: Meter

    def rebuilding(self, partition: int, why: Rebuild, what: str) -> None:
        """Warn that a folder was deleted and the partition is read again from its changelog."""
        self.meter.add(observe.STATE_REBUILDS, reason=why.value)
        log().warning(
            "the state of a partition is read again from its changelog",
            partition=partition,
            reason=why.value,
            what=what,
        )
