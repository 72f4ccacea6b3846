"""What the product published, told as one story per drift; which row it speaks of is looked up, not believed.

A drift's key is sealed on the public topic. The judge does not unseal it: it goes to the change record that the drift
cites as evidence and reads the key there, so a drift that cites wrongly is a drift about the wrong row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from judge_parts.topics import ChangeTopics, Record


@dataclass
class Story:
    """One drift from its confirmation to its end. Times are seconds that Kafka gave to the records."""

    finding_id: bytes
    entity: str
    kind: str
    key: int | None
    is_incident: bool
    incident_id: bytes
    rows: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    window_s: float = 0.0
    topics: frozenset[str] = frozenset()
    outcomes: list[tuple[float, str, str]] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)

    @property
    def confirmed_at(self) -> float | None:
        """When the drift was first reported."""
        return self.stages.get("confirmed")

    @property
    def applied_at(self) -> float | None:
        """When the repair's outcome was published."""
        return next((at for at, outcome, _ in self.outcomes if outcome == "applied"), None)

    @property
    def refusal(self) -> str:
        """The reason of a final refusal, or nothing."""
        return next((reason for _, outcome, reason in self.outcomes if outcome == "refused"), "")

    @property
    def waiting_command(self) -> bytes | None:
        """The command that waits for a person's word, or None."""
        if not self.outcomes or not self.commands:
            return None
        _, outcome, reason = self.outcomes[-1]
        return self.commands[-1] if (outcome, reason) == ("held", "not_approved") else None

    @property
    def resolved_by_itself(self) -> bool:
        """Whether it was reported as gone, and no repair was applied; that the row is right is for SQL to say."""
        return "resolved" in self.stages and self.applied_at is None

    @property
    def closed_at(self) -> float | None:
        """When the drift was reported as gone, by us or by itself."""
        return next((self.stages[s] for s in ("verified", "resolved", "refuted") if s in self.stages), None)


class Stories:
    """Joins drifts and outcomes; keeps the keys that it has found."""

    def __init__(self, changes: ChangeTopics) -> None:
        self._changes = changes
        self._keys: dict[bytes, int] = {}

    def tell(self, drifts: Iterable[Record], outcomes: Iterable[Record] = ()) -> list[Story]:
        """Return one story per drift, in the order in which they were first reported."""
        stories: dict[bytes, Story] = {}
        for record in drifts:
            value = record.value
            number = bytes(value["finding_id"])
            story = stories.get(number)
            if story is None:
                story = stories[number] = self._begun(number, record)
            # A record sent twice says nothing new: its first time counts.
            story.stages.setdefault(value["stage"], record.at)
            story.rows = max(story.rows, int(value["incident_rows"]))
            story.columns = story.columns or tuple(value["differing_columns"])
        for record in outcomes:
            story = stories.get(bytes(record.value["finding_id"]))
            if story is not None:
                story.outcomes.append((record.at, record.value["outcome"], record.value["reason"] or ""))
                story.commands.append(bytes(record.value["command_id"]))
        return list(stories.values())

    def _begun(self, number: bytes, record: Record) -> Story:
        value = record.value
        is_incident = value["incident_rows"] > 0
        stays = [*reversed(value["evidence"]["replica_stays"]), *reversed(value["evidence"]["authority_stays"])]
        key = self._keys.get(number)
        if key is None and not is_incident:
            # What it cites may not have come to the judge yet: it is looked up again, until it is there.
            key = self._key_of(stays)
            if key is not None:
                self._keys[number] = key
        return Story(
            finding_id=number,
            entity=value["entity"],
            kind=value["kind"] or "",
            key=key,
            is_incident=is_incident,
            incident_id=bytes(value["incident_id"]),
            window_s=value["evidence"]["window_ms"] / 1000,
            topics=frozenset(stay["topic"] for stay in stays if stay["topic"]),
        )

    def _key_of(self, stays: list[dict[str, object]]) -> int | None:
        for stay in stays:
            topic, partition, offset = str(stay["topic"]), int(str(stay["partition"])), int(str(stay["offset"]))
            if topic and offset >= 0:
                key = self._changes.key_at(topic, partition, offset)
                if key and "id" in key:
                    return int(key["id"])
        return None
