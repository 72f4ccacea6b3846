"""How far the contracts' pipelines have come, as far as it may be believed yet.

A place that a pipeline was seen at counts once both logs are known beyond the moment of seeing: what it had brought by
then has been read from the replica's, and where it was is a place that the authority's has passed. One that is ahead of
the authority's log even so is of a log that was: a place has no epoch of its own, and a log that begins anew may begin
below it.
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

    def heed(self, entity: int, replica: int, known_ms: int, known_place: bytes) -> bytes | None:
        """Believe what was seen before a moment beyond which both logs are known, the authority's up to a place.

        Return how far the pipeline has come, None: no word.
        """
        at = (entity, replica)
        while (seen := self._seen.get(at)) and seen[0][0] < known_ms:
            place = seen.pop(0)[1]
            if place <= known_place:
                self._reached[at] = max(self._reached.get(at, b""), place)
        return self._reached.get(at)

    def forget(self, entity: int) -> None:
        """Forget what was seen of an entity's pipelines: the authority's log was lost, or has begun anew."""
        for places in (self._reached, self._seen):
            for at in [at for at in places if at[0] == entity]:
                del places[at]

    def place(self, entity: int, replica: int) -> bytes:
        """Return how far a pipeline has come, empty where nothing is known of it."""
        return self._reached.get((entity, replica), b"")
