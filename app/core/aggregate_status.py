"""How an aggregate stands in a replica, as its worker says it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.core.finding import Verdict


class AggregateReason(Enum):
    """Why nothing is proven of an aggregate. A closed list."""

    UNCOVERED = "uncovered"  # no complete snapshot of a store has been seen in this epoch since there is the aggregate
    READING = "reading"  # the figures are being made from the rows
    UNREADABLE = "unreadable"  # a row has a value that is not known or cannot be summed
    TOO_MANY = "too_many"  # more groups, or values that are told apart, than the contract lets be held
    BEHIND = "behind"  # a store's log is not known far enough


@dataclass(frozen=True, slots=True)
class AggregateStatus:
    """One aggregate of one entity in one replica.

    `judged_through_ms` is the moment on the beacons' clock up to which the replica's figures have been judged, None
    before the first time. `reported_at_wall_ms` is wall-clock time, for display only.
    """

    entity: str
    replica: str
    aggregate: str
    verdict: Verdict
    reason: AggregateReason | None
    groups: int
    open_drifts: int
    judged_through_ms: int | None
    behind_ms: int | None
    reported_at_wall_ms: int = 0


def record_key(status: AggregateStatus) -> bytes:
    """Return the key under which the topic of aggregates keeps the newest word on one."""
    return f"{status.entity}/{status.replica}/{status.aggregate}".encode()
