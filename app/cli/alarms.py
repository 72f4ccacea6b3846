"""Which open drifts raise an alarm, and which their contracts tolerate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from app.cli.deployment import Deployment
from app.cli.row_keys import contracts_of
from app.core.conducting import Done
from app.core.finding import DriftKind, Stage
from app.core.status import StoreStatus
from app.core.tolerance import Alarm, alarm_of
from app.declared.fault import Refused
from app.topics import DRIFTS

_HOUR_MS: Final = 3_600_000

Alarms = Mapping[tuple[str, str], Alarm]
"""Why drift raises an alarm, by entity and replica; where nothing stands, none does."""


def alarms_of(
    deployment: Deployment, statuses: Iterable[StoreStatus], done: Iterable[Done], now_wall_ms: int
) -> Alarms:
    """Return the alarms of a deployment. Without its contracts nothing is tolerated."""
    open_rows = {(s.entity, s.store): sum(s.open_drifts.values()) for s in statuses if s.open_drifts}
    if not open_rows:
        return {}
    try:
        tolerated = {entity: contract.tolerated for entity, contract in contracts_of(deployment).items()}
    except Refused:
        tolerated = {}
    is_counted = any(t is not None and t.opened_per_hour is not None for t in tolerated.values())
    opened = _opened(deployment, now_wall_ms - _HOUR_MS) if is_counted else {}
    rows = {each.entity: each.whole_rows for each in done if each.whole_wall_ms}
    found = {
        (entity, store): alarm_of(tolerated.get(entity), count, opened.get((entity, store), 0), rows.get(entity))
        for (entity, store), count in open_rows.items()
    }
    return {at: alarm for at, alarm in found.items() if alarm is not None}


def _opened(deployment: Deployment, since_wall_ms: int) -> dict[tuple[str, str], int]:
    """Return how many drifts of rows were found since a moment."""
    ids = defaultdict(set)
    for _, published in deployment.records(DRIFTS, deployment.codec.read_finding, since_wall_ms):
        finding = published.finding
        is_row = finding.kind is not DriftKind.AGGREGATE and not finding.incident_rows
        if finding.stage is Stage.CONFIRMED and is_row:
            ids[finding.entity, finding.replica].add(finding.finding_id)
    return {at: len(found) for at, found in ids.items()}
