"""What one life of the canary has measured, counted by replica and kind of drift."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.core.canary import Ended, Ending, FalseAlarm, Judged, News, Result
from app.core.finding import DriftKind


@dataclass(slots=True)
class Count:
    """What came of one kind of drift in one replica."""

    results: dict[Result, int] = field(default_factory=lambda: dict.fromkeys(Result, 0))
    endings: dict[Ending, int] = field(default_factory=lambda: dict.fromkeys(Ending, 0))
    false_alarms: int = 0
    latency_ms_max: int | None = None


@dataclass(slots=True)
class Tally:
    """All that was counted, by replica and kind."""

    counts: dict[tuple[str, DriftKind], Count] = field(default_factory=dict)

    def take(self, news: News) -> None:
        """Count one piece of news."""
        count = self.counts.setdefault((news.store, news.kind), Count())
        match news:
            case Judged(result=result, latency_ms=latency_ms):
                count.results[result] += 1
                if latency_ms is not None:
                    count.latency_ms_max = max(latency_ms, count.latency_ms_max or 0)
            case Ended(ending=ending):
                count.endings[ending] += 1
            case FalseAlarm():
                count.false_alarms += 1

    @property
    def plantings(self) -> int:
        """How many plantings are over: not told, or told and ended."""
        untold = self._all(Result.MISSED, Result.INCONCLUSIVE)
        return untold + sum(sum(count.endings.values()) for count in self.counts.values())

    @property
    def is_wrong(self) -> bool:
        """Whether anything came out as it should not."""
        return bool(
            self._all(Result.MISSED, Result.MISNAMED)
            + sum(count.false_alarms + count.endings[Ending.UNRESOLVED] for count in self.counts.values())
        )

    @property
    def is_inconclusive(self) -> bool:
        """Whether anything proved nothing."""
        endings = sum(count.endings[Ending.INCONCLUSIVE] for count in self.counts.values())
        return bool(self._all(Result.INCONCLUSIVE) + endings)

    def _all(self, *results: Result) -> int:
        return sum(count.results[result] for count in self.counts.values() for result in results)
