"""How far the contracts' pipelines have come, as far as it may be believed yet.

A place that a pipeline was seen at counts once the replica's log is known beyond the moment of seeing: by then what it
had brought has been read too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from app.core.limits import PIPELINE_REPORTS_KEPT
from app.core.observation import PipelineReached


@dataclass(slots=True)
class PipelineReach:
    """Places of the authority's log, by entity and replica."""

    _reached: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _seen: dict[tuple[int, int], list[tuple[int, bytes]]] = field(default_factory=dict)  # moment and place

    def see(self, report: PipelineReached) -> None:
        """Take in where a pipeline was seen."""
        seen = self._seen.setdefault((report.entity, report.replica), [])
        seen.append((report.seen_at_ms, report.place))
        del seen[:-PIPELINE_REPORTS_KEPT]

    def heed(self, entity: int, replica: int, watermark_ms: int | None) -> bytes | None:
        """Believe what was seen before the replica's watermark; return how far its pipeline has come, None: no word."""
        at = (entity, replica)
        while (seen := self._seen.get(at)) and watermark_ms is not None and seen[0][0] < watermark_ms:
            self._reached[at] = max(self._reached.get(at, b""), seen.pop(0)[1])
        return self._reached.get(at)

    def place(self, entity: int, replica: int) -> bytes:
        """Return how far a pipeline has come, empty where nothing is known of it."""
        return self._reached.get((entity, replica), b"")
