"""A finding: what a checker says about one key, or about a table. The only kind of record on the topic of drifts.

The life of a drift is the table `NEXT_STAGES`; a step that it does not allow is an error of ours.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What may be said of a key in one replica; what was not proven is `unknown`, never green."""

    AGREE = "agree"
    WAIT = "wait"
    DRIFT = "drift"
    UNKNOWN = "unknown"


class UnknownReason(Enum):
    """Why nothing is proven. A closed list."""

    STALLED = "stalled"  # a store's watermark has stood still for `stall_after`
    LAG = "lag"  # our own backlog exceeds the window, or a beacon waits behind a huge transaction
    UNCOVERED = "uncovered"  # no complete snapshot of the entity has been seen in this epoch of the store's log
    SCHEMA = "schema"  # a value does not fit the contract's type
    PARTIAL = "partial"  # the log left a value out and the state does not know it
    KEY_COLLISION = "key_collision"  # two raw keys under one canonical key
    QUARANTINED = "quarantined"  # a record of this key could not be read
    HOT = "hot"  # more states in the window than are kept
    DISK = "disk"  # the worker's disk is nearly full
    DIGEST_MISMATCH = "digest_mismatch"  # the applier read another row than the log tells: a fault of ours


class DriftKind(Enum):
    """What the replica shows, in this order of precedence."""

    MISSING = "missing"  # the replica has no row, the authority has one
    EXTRA = "extra"  # the replica has a row, the authority has none
    STALE = "stale"  # the replica shows one of the authority's last states
    DIFFERENT = "different"
    AGGREGATE = "aggregate"  # the figure of a group of rows is none that rows which follow in time can come to
    CAPTURE_GAP = "capture_gap"  # a read of the table and the store's own log do not agree: the log left something out


class Stage(Enum):
    """Where a drift stands in its life."""

    CONFIRMED = "confirmed"  # past its window
    OVERTAKEN = "overtaken"  # and the pipeline will not bring the change any more: it may be repaired
    DISPUTED = "disputed"  # the applier found another row than the log tells, and the log knows of no change
    RESOLVED = "resolved"  # the stores agree again
    VERIFIED = "verified"  # they agree through a repair of ours, seen again through CDC
    REFUTED = "refuted"  # late evidence disproves it; counted as ours
    NOTED = "noted"  # a capture gap: told once, for the state becomes what was read; a drift that it makes is another


NEXT_STAGES: dict[Stage, frozenset[Stage]] = {
    Stage.CONFIRMED: frozenset({Stage.OVERTAKEN, Stage.RESOLVED, Stage.VERIFIED, Stage.REFUTED}),
    # Overtaken again: the row moved on while it drifted, and what was planned no longer fits.
    Stage.OVERTAKEN: frozenset({Stage.OVERTAKEN, Stage.DISPUTED, Stage.RESOLVED, Stage.VERIFIED, Stage.REFUTED}),
    Stage.DISPUTED: frozenset({Stage.OVERTAKEN, Stage.RESOLVED, Stage.REFUTED}),
    Stage.RESOLVED: frozenset({Stage.VERIFIED}),
    Stage.VERIFIED: frozenset(),
    Stage.REFUTED: frozenset(),
    Stage.NOTED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One state of a row in one store, as its log told it.

    `digest` is empty for an absent row. `since_ms` and `until_ms` bracket the moment of the change on the beacons'
    clock; None where that end is not known. Topic, partition and offset are Kafka's (offset -1: none).
    """

    digest: bytes
    position: bytes
    since_ms: int | None
    until_ms: int | None
    topic: str
    partition: int
    offset: int
    transaction: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict was judged on: anybody can judge it again from this, after the topics are gone."""

    authority_stays: tuple[Shown, ...]
    replica_stays: tuple[Shown, ...]
    authority_watermark_ms: int
    replica_watermark_ms: int
    vouched_until_ms: int
    judged_at_ms: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One record of the drifts topic: a step in the life of one drift, or the incident that many share."""

    finding_id: bytes  # the drift's id, the same through its life
    stage: Stage
    verdict: Verdict
    kind: DriftKind | None
    checker: str
    contract_version: int
    entity: str
    authority: str
    replica: str
    canonical_key: bytes  # sealed before it leaves the worker
    shard: int
    observations_partition: int
    evidence: Evidence
    expected_digest: bytes  # what the replica shows now; empty: no row
    intended_digest: bytes  # what the authority shows now; empty: no row
    authority_position: bytes
    replica_position: bytes
    transaction: int  # the replica's transaction that made the state, 0 where unknown
    incident_id: bytes  # shared by drifts that one event made (a truncate); empty if alone
    incident_rows: int  # for the incident's own record: rows in this shard; else 0
    command_id: bytes  # for `verified`: the repair that did it; for `disputed`: the one that was refused; else empty
    trace_id: bytes
    differing_columns: tuple[str, ...] = ()  # filled by the shell from the CDC topics
    reason: UnknownReason | None = None  # why the verdict is `unknown`; else None


def drift_id(
    contract_version: int,
    entity: str,
    canonical_key: bytes,
    replica: str,
    epoch: int,
    vouched_until_ms: int,
    position: bytes,
) -> bytes:
    """Name a drift (16 bytes): the same evidence gives the same name, after any crash."""
    h = hashlib.blake2b(digest_size=16, person=b"driftline-drift")
    for part in (
        str(contract_version).encode(),
        entity.encode(),
        canonical_key,
        replica.encode(),
        str(epoch).encode(),
        str(vouched_until_ms).encode(),
        position,
    ):
        h.update(len(part).to_bytes(4, "big"))
        h.update(part)
    return h.digest()
