"""What the product says of itself, held against the beacons that the judge reads from the databases by SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from demo_parts.sides import SERVER_GONE, Side

from judge_parts.topics import Record


@dataclass
class EntityHealth:
    """One entity in its replica, over all partitions."""

    entity: str
    store: str
    covered: bool
    verified_through_ms: int | None
    unknown: dict[str, int] = field(default_factory=dict)
    open_drifts: int = 0
    waiting: int = 0
    oldest_report_at: float = float("inf")

    def behind_s(self, now_ms: int) -> float | None:
        """Seconds between the newest beacon in a database and what is proven; None: nothing is."""
        return None if self.verified_through_ms is None else (now_ms - self.verified_through_ms) / 1000


def healths(statuses: Iterable[Record]) -> dict[str, EntityHealth]:
    """Join the newest report of each partition; the earliest `verified_through` counts, an absent one most of all."""
    newest: dict[tuple[str, str, int], Record] = {}
    for record in statuses:
        value = record.value
        newest[value["entity"], value["store"], value["partition"]] = record
    joined: dict[str, EntityHealth] = {}
    for (entity, store, _), record in newest.items():
        value = record.value
        if value["is_authority"]:
            continue
        proven = value["verified_through_ms"]
        health = joined.get(entity)
        if health is None:
            health = joined[entity] = EntityHealth(entity, store, covered=True, verified_through_ms=proven)
        elif proven is None or health.verified_through_ms is None:
            health.verified_through_ms = None
        else:
            health.verified_through_ms = min(health.verified_through_ms, proven)
        health.covered = health.covered and value["coverage"] == "covered"
        health.waiting += value["waiting_keys"]
        health.oldest_report_at = min(health.oldest_report_at, record.at)
        health.open_drifts += sum(value["open_drifts"].values())
        for reason, keys in value["unknown_keys"].items():
            if keys:
                health.unknown[reason] = health.unknown.get(reason, 0) + keys
    return joined


def newest_beacon_ms(sides: Iterable[Side]) -> int:
    """Return the newest beacon that stands in any of the databases, on the beacons' own clock; 0: none."""
    newest = 0
    for side in sides:
        try:
            row = side.one("SELECT MAX(issued_at_ms) FROM driftline.driftline_beacon")
        except SERVER_GONE:
            continue
        newest = max(newest, int(row[0]) if row and row[0] is not None else 0)
    return newest
