"""Findings from a row's state: the record that says what was judged, and on what."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from app.core.finding import DriftKind, Evidence, Finding, Shown, Stage, UnknownReason, Verdict, drift_id
from app.core.judging import kind_named
from app.core.keystate import KeyState, OpenDrift, Side
from app.core.limits import STAYS_TOLD_MAX
from app.core.position import epoch_of
from app.core.progress import EntityProgress
from app.core.reread import Gap
from app.core.verdict import EVER, OPEN, Stay

_AS_PLANNED: Final = frozenset({Stage.OVERTAKEN, Stage.DISPUTED})


def finding_of(
    partition: int, entity: EntityProgress, canonical_key: bytes, state: KeyState, i: int, stage: Stage
) -> Finding:
    """Return the record of one step in the life of a replica's drift; `ValueError` if the replica has none."""
    contract = entity.contract
    terms = contract.replicas[i]
    replica, truth, shown = state.replicas[i], state.sides[0], state.sides[i + 1]
    drift = replica.drift
    if drift is None:
        raise ValueError(f"a finding without a drift, stage {stage.value}")
    # A step that is told again after a restart was taken when both logs were known at least so far.
    taken_ms = max(drift.ended_at_ms or drift.confirmed_at_ms + 1, *_planned_from_ms(drift, stage, truth, shown))
    my_ms, their_ms = max(entity.watermark_ms[0] or 0, taken_ms), max(entity.watermark_ms[i + 1] or 0, taken_ms)
    # A confirmation is judged at its deadline, an end where the row agreed, every other step at the common time.
    before_ms = min(my_ms, their_ms)
    if stage is Stage.CONFIRMED:
        before_ms = drift.confirmed_at_ms + 1
    elif stage is Stage.RESOLVED:
        before_ms = min(before_ms, replica.vouched_until_ms + 1)
    evidence = Evidence(
        tuple(_shown(s, contract.stores[0].topic) for s in cited(truth.stays, before_ms)),
        tuple(_shown(s, contract.stores[i + 1].topic) for s in cited(shown.stays, before_ms)),
        my_ms,
        their_ms,
        replica.vouched_until_ms,
        drift.confirmed_at_ms,
        terms.window_ms,
    )
    over = stage in {Stage.RESOLVED, Stage.VERIFIED, Stage.REFUTED}
    disputed = stage is Stage.DISPUTED
    return Finding(
        finding_id=drift.drift_id,
        stage=stage,
        verdict=Verdict.AGREE if over else Verdict.UNKNOWN if disputed else Verdict.DRIFT,
        kind=kind_named(drift),
        checker="key/1",
        contract_version=contract.version,
        entity=contract.entity,
        authority=contract.authority,
        replica=terms.store,
        canonical_key=canonical_key,
        shard=partition,
        observations_partition=partition,
        evidence=evidence,
        expected_digest=drift.expected_digest if stage in _AS_PLANNED else shown.stays[-1].digest,
        intended_digest=drift.intended_digest if stage in _AS_PLANNED else truth.stays[-1].digest,
        authority_position=truth.stays[-1].position,
        replica_position=shown.stays[-1].position,
        transaction=shown.stays[-1].transaction,
        incident_id=drift.incident_id,
        incident_rows=0,
        command_id=drift.command_id if stage in {Stage.VERIFIED, Stage.DISPUTED} else b"",
        trace_id=hashlib.blake2b(drift.drift_id, digest_size=16, person=b"driftline-trace").digest(),
        reason=UnknownReason.DIGEST_MISMATCH if disputed else None,
    )


def _planned_from_ms(drift: OpenDrift, stage: Stage, truth: Side, shown: Side) -> tuple[int, int]:
    """Return since when the two states are known that a repair was planned on."""
    if stage not in _AS_PLANNED:
        return EVER, EVER
    expected_ms = next((s.latest_ms for s in reversed(shown.stays) if s.position == drift.expected_position), EVER)
    least_ms = max(drift.confirmed_at_ms + 1, expected_ms)
    # The authority may have come to that state again: the first time counts that may have been the plan's.
    intended = (
        s.latest_ms
        for s, following in zip(truth.stays, [*truth.stays[1:], None], strict=True)
        if s.digest == drift.intended_digest
        and s.latest_ms != OPEN
        and (following is None or following.latest_ms > least_ms)
    )
    return least_ms, next(intended, EVER)


def gap_finding_of(partition: int, entity: EntityProgress, canonical_key: bytes, gap: Gap) -> Finding:
    """Return the record of a capture gap: what the log had told of a row, and what was read in its place."""
    contract, table = entity.contract, entity.contract.stores[gap.store]
    at = gap.read.position
    finding_id = drift_id(contract.version, contract.entity, canonical_key, table.store, epoch_of(at), 0, at)
    watermark_ms = entity.watermark_ms[gap.store] or 0
    return Finding(
        finding_id=finding_id,
        stage=Stage.NOTED,
        verdict=Verdict.DRIFT,
        kind=DriftKind.CAPTURE_GAP,
        checker="deep/1",
        contract_version=contract.version,
        entity=contract.entity,
        authority=contract.authority,
        replica=table.store,
        canonical_key=canonical_key,
        shard=partition,
        observations_partition=partition,
        evidence=Evidence(
            (),
            (_shown(gap.told, table.topic), _shown(gap.read, table.topic)),
            entity.watermark_ms[0] or 0,
            watermark_ms,
            0,
            watermark_ms,
            0,
        ),
        expected_digest=gap.read.digest,
        intended_digest=gap.told.digest,
        authority_position=b"",
        replica_position=at,
        transaction=0,
        incident_id=b"",
        incident_rows=0,
        command_id=b"",
        trace_id=hashlib.blake2b(finding_id, digest_size=16, person=b"driftline-trace").digest(),
    )


def cited(stays: Sequence[Stay], before_ms: int) -> Sequence[Stay]:
    """Return the states that a record cites: all, or of a hot row the newest and those around the last one judged.

    What was judged began before `before_ms`.
    """
    if len(stays) <= STAYS_TOLD_MAX:
        return stays
    judged = sum(1 for stay in stays if stay.earliest_ms < before_ms)
    begin = max(0, min(judged - STAYS_TOLD_MAX // 2, len(stays) - STAYS_TOLD_MAX))
    around = stays[begin : begin + STAYS_TOLD_MAX - 1]
    return [*around, stays[-1]]


def incidents_of(findings: Iterable[Finding]) -> list[Finding]:
    """Return one record for each event that made many of these drifts, with the count of this partition's rows."""
    rows: dict[bytes, list[Finding]] = {}
    for finding in findings:
        if finding.stage is Stage.CONFIRMED and finding.incident_id:
            rows.setdefault(finding.incident_id, []).append(finding)
    return [
        replace(drifts[0], finding_id=incident_id, canonical_key=b"", incident_rows=len(drifts))
        for incident_id, drifts in rows.items()
    ]


def _shown(stay: Stay, topic: str) -> Shown:
    return Shown(
        stay.digest,
        stay.position,
        None if stay.earliest_ms == EVER else stay.earliest_ms,
        None if stay.latest_ms == OPEN else stay.latest_ms,
        topic,
        stay.partition,
        stay.offset,
        stay.transaction,
    )
