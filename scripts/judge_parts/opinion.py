"""The judge's opinion: which damage was found, how it was named, how it ended; and what was raised for nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from judge_parts.stories import Story


@dataclass(frozen=True, slots=True)
class Planted:
    """One damaged row, as whoever damaged it says. `at` is the second of its commit."""

    damage: str
    entity: str
    key: int
    kind: str
    at: float


@dataclass
class Found:
    """What became of one planted row."""

    planted: Planted
    story: Story | None = None

    @property
    def detected_after(self) -> float | None:
        """Seconds from the damage's commit to the drift record's time in Kafka."""
        return self._since(self.story.confirmed_at if self.story else None)

    @property
    def repaired_after(self) -> float | None:
        """Seconds to the outcome `applied`."""
        return self._since(self.story.applied_at if self.story else None)

    @property
    def verified_after(self) -> float | None:
        """Seconds to the record that says `verified`."""
        return self._since(self.story.stages.get("verified") if self.story else None)

    def _since(self, at: float | None) -> float | None:
        return None if at is None else at - self.planted.at


@dataclass
class Opinion:
    """The whole of it."""

    found: list[Found]
    false_alarms: list[Story] = field(default_factory=list)
    really_late: list[Story] = field(default_factory=list)
    refuted: list[Story] = field(default_factory=list)


def judge(planted: Sequence[Planted], stories: Sequence[Story], was_late: Callable[[Story], bool]) -> Opinion:
    """Give each planted row its story; a story without one is a false alarm unless the copy was really late.

    Two damages to one row are told apart by time: a story belongs to the newest damage before it.
    """
    found = {planting: Found(planting) for planting in planted}
    opinion = Opinion(list(found.values()))
    for story in stories:
        confirmed = story.confirmed_at
        if "refuted" in story.stages:
            opinion.refuted.append(story)
        if story.is_incident or confirmed is None:
            continue
        causes = [
            p for p in planted if p.entity == story.entity and p.key == story.key and p.at <= confirmed + _SAME_MOMENT_S
        ]
        if causes:
            result = found[max(causes, key=lambda p: p.at)]
            if result.story is None:
                result.story = story
            # A second story of the same damage is its continuation (a repair that was refused, a row that moved on).
        elif was_late(story):
            opinion.really_late.append(story)
        else:
            opinion.false_alarms.append(story)
    return opinion


# The damage's commit time is read after the commit returned.
_SAME_MOMENT_S = 0.2
