"""What is remembered of one row: per store its state, or its last states while the stores differ; the verdict so far.

`state_forms` is how it is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from app.core.finding import Stage
from app.core.position import BEFORE_ALL
from app.core.verdict import ABSENT, EVER, OPEN, Stay


@dataclass(slots=True)
class Side:
    """One store's view of the row: stays in the order of the log, and what the newest change left."""

    stays: list[Stay]
    position: bytes = BEFORE_ALL  # of the newest change, also of one that left the compared fields as they were
    raw_keys: bytes = b""  # digests of the raw keys whose rows may be there, 8 bytes each, the newest change's last
    groups: bytes = b""  # digests of the newest image's groups, where the contract has large fields

    @classmethod
    def absent(cls) -> Side:
        """Return the view of a store that never showed the row."""
        return cls([Stay(ABSENT, BEFORE_ALL)])


@dataclass(slots=True)
class OpenDrift:
    """A drift that is not over, or whose end waits for the ledger row of the repair that brought it."""

    drift_id: bytes
    stage: Stage
    confirmed_at_ms: int  # the deadline that was judged, on the beacons' clock
    kind: str
    acknowledged: bool = False  # the broker has the record of `stage`
    expected_digest: bytes = b""  # as told in the last record: what the replica shows
    intended_digest: bytes = b""  # and what the authority shows
    expected_position: bytes = b""  # where in the log the replica began to show it
    refused_at: bytes = b""  # where the log has the refusal of the command, until what it says is settled
    told_transaction: int = 0  # the replica's transaction that ended the drift
    repaired_transaction: int = 0  # of the ledger row that was seen through CDC
    command_id: bytes = b""
    incident_id: bytes = b""
    ended_at_ms: int = 0


@dataclass(slots=True)
class ReplicaState:
    """The verdict so far on one replica's row; `vouched_until_ms` is `EVER` before coverage."""

    vouched_until_ms: int = EVER
    drift: OpenDrift | None = None
    look_ms: int = OPEN  # in memory only: the common time after which a live row is judged next


@dataclass(slots=True)
class KeyState:
    """Everything that is remembered of one row. `sides[0]` is the authority's; `replicas[i]` judges `sides[i + 1]`."""

    sides: list[Side]
    replicas: list[ReplicaState]
    past: list[bytes] = field(default_factory=list)  # the authority's last states before the kept ones, newest last
    counted: tuple[tuple[int, str], ...] = ()  # in memory only: its drifts as they stand in the counts

    @classmethod
    def new(cls, stores: int) -> KeyState:
        """Return the state of a row that no store has shown."""
        return cls([Side.absent() for _ in range(stores)], [ReplicaState() for _ in range(stores - 1)])
