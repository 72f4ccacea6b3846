"""What the agents count, as the metrics that `app.observe` declares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from app import observe
from app.core.aggregate_judging import Told
from app.core.aggregate_status import AggregateStatus
from app.core.command import RepairCommand
from app.core.contract import EntityContract
from app.core.finding import DriftKind, Finding, Stage, UnknownReason, Verdict
from app.core.plan import Refusal
from app.core.status import StatusReport, joined
from app.observe import Meter

_REASONS = frozenset(dict(observe.EVENTS_QUARANTINED.values)[observe.Label.REASON])
_VERDICT_OF = {
    Stage.CONFIRMED: "drift",
    Stage.DISPUTED: "unknown",
    Stage.RESOLVED: "agree",
    Stage.VERIFIED: "agree",
    Stage.REFUTED: "agree",
}


class AgentCounts:
    """Counts for ingest, compare and plan."""

    def __init__(self, meter: Meter, entities: Iterable[str]) -> None:
        self._meter = meter
        self._entities = tuple(entities)
        self.dropped_links = 0
        self.redelivered_rows = 0
        self.folded_rows = 0

    def consumed(self, store: str, entity: str, records: int) -> None:
        """Count records that were read and taken further."""
        if records and entity:
            self._meter.add(observe.EVENTS_CONSUMED, records, store=store, entity=entity)

    def heard(self, store: str, at_wall_ms: int) -> None:
        """Note when beacons of a store were read."""
        self._meter.set(observe.SOURCE_HEARTBEAT, at_wall_ms / 1_000, store=store)

    def quarantined(self, store: str, reason: str) -> None:
        """Count one record that went to quarantine."""
        known = reason if reason in _REASONS else "other"
        self._meter.add(observe.EVENTS_REJECTED, store=store, reason=known)
        self._meter.add(observe.EVENTS_QUARANTINED, store=store, reason=known)

    def found(self, finding: Finding, detected_after_ms: int | None) -> None:
        """Count one step in the life of a drift."""
        verdict = _VERDICT_OF.get(finding.stage)
        if verdict is not None and not finding.incident_rows:
            self._meter.add(observe.VERDICTS, entity=finding.entity, verdict=verdict)
        if finding.stage is Stage.VERIFIED:
            self._meter.add(observe.REPAIRS, entity=finding.entity, outcome="verified")
        if finding.stage is Stage.NOTED:
            self._meter.add(observe.CAPTURE_GAPS, store=finding.replica, entity=finding.entity)
        if detected_after_ms is not None:
            self._meter.observe(observe.DETECTION_LATENCY, max(0, detected_after_ms) / 1_000, entity=finding.entity)

    def aggregate_told(self, told: Told) -> None:
        """Count one step in the life of a group's drift."""
        verdict = _VERDICT_OF[told.finding.stage]
        self._meter.add(observe.VERDICTS, entity=told.finding.entity, verdict=verdict)

    def aggregates_stand(self, statuses: Sequence[AggregateStatus]) -> None:
        """Set the gauges that say how this worker's aggregates stand."""
        for entity in {status.entity for status in statuses}:
            mine = [status for status in statuses if status.entity == entity]
            for verdict in (Verdict.AGREE, Verdict.DRIFT, Verdict.UNKNOWN):
                count = sum(status.verdict is verdict for status in mine)
                self._meter.set(observe.AGGREGATES, count, entity=entity, verdict=verdict.value)
            self._meter.set(observe.AGGREGATE_GROUPS_OPEN, sum(s.open_drifts for s in mine), entity=entity)

    def tolerated(self, contracts: Iterable[EntityContract]) -> None:
        """Set the bounds of drift that contracts tolerate, so that alarms can be written against them."""
        for contract in contracts:
            bounds = {} if contract.tolerated is None else asdict(contract.tolerated)
            for kind, bound in bounds.items():
                if bound is not None:
                    self._meter.set(observe.DRIFTS_TOLERATED, bound, entity=contract.entity, kind=kind)

    def folded(self, rows: int, redelivered: int, dropped_links: int) -> None:
        """Count rows taken in, rows seen before, and links that did not fit."""
        self.folded_rows += rows
        self.redelivered_rows += redelivered
        self.dropped_links += dropped_links

    def planned(self, command: RepairCommand) -> None:
        """Count one command that was sent."""
        self._meter.add(observe.REPAIRS, entity=command.entity, outcome="planned")

    def not_planned(self, entity: str, refusal: Refusal) -> None:
        """Refusals to plan are told by the policy, not by a metric."""

    def reported(self, reports: Sequence[StatusReport]) -> None:
        """Set the gauges that say how far this worker's partitions are proven."""
        statuses = joined(reports)
        for entity in self._entities:
            mine = [s for s in statuses if s.entity == entity]
            drifts = {kind: sum(s.open_drifts.get(kind, 0) for s in mine) for kind in DriftKind}
            unknown = {reason: sum(s.unknown_keys.get(reason, 0) for s in mine) for reason in UnknownReason}
            for kind, count in drifts.items():
                self._meter.set(observe.DRIFTS_OPEN, count, entity=entity, kind=kind.value)
            for reason, count in unknown.items():
                self._meter.set(observe.UNKNOWN_KEYS, count, entity=entity, reason=reason.value)
            states = {
                "in_flight": sum(s.waiting_keys for s in mine),
                "drifted": sum(drifts.values()),
                "unknown": sum(unknown.values()),
                "quarantined": unknown[UnknownReason.QUARANTINED],
            }
            for state, count in states.items():
                self._meter.set(observe.KEYS, count, entity=entity, state=state)
            through = [s.verified_through_ms for s in mine if not s.is_authority]
            proven = [ms for ms in through if ms is not None]
            if proven and len(proven) == len(through):
                self._meter.set(observe.VERIFIED_THROUGH, min(proven) / 1_000, entity=entity)
        for store in {s.store for s in statuses}:
            marks = [s.watermark_ms for s in statuses if s.store == store]
            known = [ms for ms in marks if ms is not None]
            if known:
                self._meter.set(observe.SOURCE_POSITION, min(known) / 1_000, store=store)
