"""Notice stores whose watermark stands still. It rests on our own clock, so it is reported and never judged on.

A store that nothing is read of is `stalled`. One whose log is being read, while beacons of any store are, has its own
beacon behind a huge transaction or behind our backlog: `lag`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.core.finding import UnknownReason
from app.core.status import StatusReport

Mark = tuple[str, str, int]
"""Entity, store, partition."""


@dataclass(slots=True)
class _Standing:
    """A number that moves, and since when it has not."""

    value: int | None
    since_ms: int

    def stood_ms(self, value: int | None, now_ms: int) -> int:
        """Take in what it is now, and return for how long it has been that."""
        if value != self.value:
            self.value, self.since_ms = value, now_ms
        return now_ms - self.since_ms


@dataclass(slots=True)
class StallWatch:
    """Remembers since when each watermark has stood where it stands. Times are milliseconds of one monotonic clock."""

    stall_after_ms: int
    _watermarks: dict[Mark, _Standing] = field(default_factory=dict)
    _reads: dict[Mark, _Standing] = field(default_factory=dict)
    _beacon: _Standing = field(default_factory=lambda: _Standing(None, 0))
    _stalled: set[str] = field(default_factory=set)

    def note(self, reports: Sequence[StatusReport], now_ms: int) -> list[StatusReport]:
        """Return the reports, with `stalled` or `lag` where a store that they need has stood still."""
        held = {_mark(report) for report in reports}
        for gone in self._watermarks.keys() - held:
            del self._watermarks[gone], self._reads[gone]  # went to another worker, and is not ours to watch
        newest_ms = max((r.newest_beacon_ms for r in reports if r.newest_beacon_ms is not None), default=None)
        beacons_come = self._beacon.stood_ms(newest_ms, now_ms) <= self.stall_after_ms
        standing: dict[Mark, UnknownReason] = {}
        for report in reports:
            mark = _mark(report)
            marked = self._watermarks.setdefault(mark, _Standing(report.watermark_ms, now_ms))
            read = self._reads.setdefault(mark, _Standing(report.records_read, now_ms))
            # Half of it: what was read just before everything stopped is no progress.
            is_read = read.stood_ms(report.records_read, now_ms) <= self.stall_after_ms // 2
            if marked.stood_ms(report.watermark_ms, now_ms) > self.stall_after_ms:
                standing[mark] = UnknownReason.LAG if is_read and beacons_come else UnknownReason.STALLED
        self._stalled = {store for _, store, _ in standing}
        authorities = {(r.entity, r.partition): standing.get(_mark(r)) for r in reports if r.is_authority}
        return [
            report
            if report.is_authority
            else _told(report, standing.get(_mark(report)), authorities.get((report.entity, report.partition)))
            for report in reports
        ]

    def is_stalled(self, store: str) -> bool:
        """Whether any entity's watermark in this store stands still, for whatever reason."""
        return store in self._stalled


def _mark(report: StatusReport) -> Mark:
    return report.entity, report.store, report.partition


def _told(report: StatusReport, *reasons: UnknownReason | None) -> StatusReport:
    """Return a replica's report with the worse of its own and its authority's reason."""
    reason = next((r for r in (UnknownReason.STALLED, UnknownReason.LAG) if r in reasons), None)
    if reason is None:
        return report
    # Nothing can be said of any key, and how many there are is not counted: at least those that wait.
    count = max(1, report.waiting_keys)
    return replace(report, unknown_keys={**report.unknown_keys, reason: count})
