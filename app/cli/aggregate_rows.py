"""How aggregates stand, as `driftline status` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.core.aggregate_status import AggregateStatus
from app.core.contract import EntityContract
from app.core.finding import Verdict
from app.core.status import OLD_REPORT_MS


def still_declared(
    contracts: Mapping[str, EntityContract] | None, statuses: Iterable[AggregateStatus]
) -> list[AggregateStatus]:
    """Return those that a contract still declares: of others the topic keeps the last word. All without contracts."""
    if contracts is None:
        return list(statuses)
    declared = {(entity, a.name) for entity, contract in contracts.items() for a in contract.aggregates}
    return [status for status in statuses if (status.entity, status.aggregate) in declared]


def verdict_of(status: AggregateStatus, now_wall_ms: int) -> Verdict:
    """Return an aggregate's verdict as it may be believed now: what nobody reports any more is not known."""
    is_old = now_wall_ms - status.reported_at_wall_ms > OLD_REPORT_MS
    return Verdict.UNKNOWN if is_old and status.verdict is Verdict.AGREE else status.verdict


def aggregate_rows(statuses: Iterable[AggregateStatus], now_wall_ms: int) -> list[Mapping[str, Any]]:
    """Return aggregates as they are printed."""
    return [
        {
            "entity": each.entity,
            "replica": each.replica,
            "aggregate": each.aggregate,
            "verdict": verdict_of(each, now_wall_ms).value,
            "reason": each.reason.value if each.reason else None,
            "groups": each.groups,
            "open_drifts": each.open_drifts,
            "judged_through_ms": each.judged_through_ms,
            "behind_ms": each.behind_ms,
            "reported_ago_s": round(max(0, now_wall_ms - each.reported_at_wall_ms) / 1_000, 1),
        }
        for each in sorted(statuses, key=lambda each: (each.entity, each.replica, each.aggregate))
    ]


def aggregate_text(row: Mapping[str, Any]) -> str:
    """Return one aggregate as a line for a person."""
    reason = f" ({row['reason']})" if row["reason"] else ""
    drifts = f", {row['open_drifts']} wrong" if row["open_drifts"] else ""
    return (
        f"aggregate {row['entity']}.{row['aggregate']} in {row['replica']}: {row['verdict']}{reason},"
        f" {row['groups']} groups{drifts}"
    )
