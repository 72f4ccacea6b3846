"""Notice stores whose watermark stands still. It rests on our own clock, so it is reported and never judged on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from app.core.finding import UnknownReason
from app.core.status import StatusReport

Mark = tuple[str, str, int]
"""Entity, store, partition."""


@dataclass(slots=True)
class StallWatch:
    """Remembers since when each watermark has stood where it stands. Times are milliseconds of one monotonic clock."""

    stall_after_ms: int
    _seen: dict[Mark, tuple[int | None, int]] = field(default_factory=dict)
    _stalled: set[str] = field(default_factory=set)

    def note(self, reports: Sequence[StatusReport], now_ms: int) -> list[StatusReport]:
        """Return the reports, with `stalled` where a store that they need has stood still."""
        standing = set()
        for report in reports:
            mark = (report.entity, report.store, report.partition)
            held = self._seen.get(mark)
            if held is None or held[0] != report.watermark_ms:
                held = self._seen[mark] = (report.watermark_ms, now_ms)
            if now_ms - held[1] > self.stall_after_ms:
                standing.add(mark)
        self._stalled = {store for _, store, _ in standing}
        authorities = {(r.entity, r.partition) for r in reports if r.is_authority and _mark(r) in standing}
        return [
            _with_stall(report)
            if not report.is_authority
            and (_mark(report) in standing or (report.entity, report.partition) in authorities)
            else report
            for report in reports
        ]

    def is_stalled(self, store: str) -> bool:
        """Whether any entity's watermark in this store stands still."""
        return store in self._stalled

    def forget(self, kept: Iterable[Mark]) -> None:
        """Keep only these: partitions that went to another worker are not ours to watch."""
        wanted = set(kept)
        self._seen = {mark: since for mark, since in self._seen.items() if mark in wanted}


def _mark(report: StatusReport) -> Mark:
    return report.entity, report.store, report.partition


def _with_stall(report: StatusReport) -> StatusReport:
    # Nothing can be said of any key, and how many there are is not counted: at least those that wait.
    count = max(1, report.waiting_keys)
    return replace(report, unknown_keys={**report.unknown_keys, UnknownReason.STALLED: count})
