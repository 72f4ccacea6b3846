"""Whether the system says of itself that it can know what happens to the canary's table.

It says so by its workers' reports. A partition that nobody reports on any more is one of which nothing is known,
as `driftline status` has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from app.core.finding import UnknownReason
from app.core.status import OLD_REPORT_MS, Coverage, StatusReport


class Doubt(Enum):
    """Why a planting may prove nothing, besides what makes rows unknown. A closed list."""

    SILENT = "silent"  # no worker reports on some partition
    UNWRITTEN = "unwritten"  # a store did not take the canary's own writes, or took them too late


Why = UnknownReason | Doubt


class Proof:
    """What workers say of one entity, by store and partition of `observations`. Times are of one monotonic clock."""

    def __init__(self, stores: Iterable[str], partitions: int) -> None:
        self._heard: dict[tuple[str, int], tuple[int, Why | None]] = {}
        self._expected = frozenset((store, partition) for store in stores for partition in range(partitions))

    def reported(self, report: StatusReport, now_ms: int) -> None:
        """Take in a report on the entity; one on a store or partition that it does not have says nothing."""
        mark = report.store, report.partition
        if mark in self._expected:
            self._heard[mark] = now_ms, _doubt_of(report)

    def doubt(self, now_ms: int) -> Why | None:
        """Return why nothing can be known now, None where everything can."""
        known = [why for _, why in self._heard.values() if why is not None]
        if known:
            return known[0]
        fresh = {mark for mark, (at_ms, _) in self._heard.items() if now_ms - at_ms <= OLD_REPORT_MS}
        return None if fresh == self._expected else Doubt.SILENT


def _doubt_of(report: StatusReport) -> Why | None:
    unknown = next((reason for reason, count in report.unknown_keys.items() if count), None)
    if unknown is not None:
        return unknown
    is_judged = report.is_authority or report.verified_through_ms is not None
    return None if report.coverage is Coverage.COVERED and is_judged else UnknownReason.UNCOVERED
