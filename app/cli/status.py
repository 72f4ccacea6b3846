"""`driftline status`: how far each store is proven, what is open, what is unknown and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from app.cli.aggregate_rows import aggregate_rows, aggregate_text, still_declared, verdict_of
from app.cli.alarms import Alarms, alarms_of
from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import Output, json_line, print_records, safe_text
from app.cli.row_keys import contracts_if_any, contracts_of
from app.cli.shards import quarantined, read_known, shard_rows, shard_text
from app.codec.control import decode_control
from app.core.aggregate_status import AggregateStatus
from app.core.conducting import Done
from app.core.contract import EntityContract
from app.core.finding import Verdict
from app.core.status import OLD_REPORT_MS, Coverage, StatusReport, StoreStatus, WorkerStatus, joined, owners
from app.core.switch import Control, Said, Switch

_COLUMNS: Final = (
    "entity",
    "store",
    "role",
    "coverage",
    "verified_through_ms",
    "behind_ms",
    "open_drifts",
    "unknown_keys",
    "waiting_keys",
    "reported_ago_s",
)


def exit_code_of(
    statuses: Iterable[StoreStatus],
    partitions: int,
    now_wall_ms: int,
    alarms: Alarms,
    aggregates: Iterable[AggregateStatus] = (),
) -> ExitCode:
    """Return what the statuses come to: drift that is not tolerated before unknown, unknown before agreement."""
    seen = list(statuses)
    verdicts = {verdict_of(each, now_wall_ms) for each in aggregates}
    if alarms or Verdict.DRIFT in verdicts:
        return ExitCode.DRIFT
    is_unproven = any(_is_unproven(status, partitions, now_wall_ms) for status in seen)
    if not seen or is_unproven or Verdict.UNKNOWN in verdicts:
        return ExitCode.UNKNOWN
    return ExitCode.AGREE


def _is_unproven(status: StoreStatus, partitions: int, now_wall_ms: int) -> bool:
    return (
        bool(status.unknown_keys)
        or status.coverage is not Coverage.COVERED
        or status.partitions < partitions
        or (not status.is_authority and status.verified_through_ms is None)
        or now_wall_ms - status.oldest_report_wall_ms > OLD_REPORT_MS
    )


def rows_of(
    statuses: Iterable[StoreStatus], partitions: int, now_wall_ms: int, alarms: Alarms
) -> list[Mapping[str, Any]]:
    """Return the statuses as they are printed."""
    from app.codec.rendering import status_document

    return [
        {
            **status_document(status),
            "reported_ago_s": round(max(0, now_wall_ms - status.oldest_report_wall_ms) / 1_000, 1),
            "proven": not _is_unproven(status, partitions, now_wall_ms),
            "alarm": alarm.value if (alarm := alarms.get((status.entity, status.store))) else None,
        }
        for status in statuses
    ]


def still_judged(
    contracts: Mapping[str, EntityContract] | None, reports: Iterable[StatusReport], now_wall_ms: int
) -> list[StatusReport]:
    """Return the reports but old ones on entities that no contract names: of those the topic keeps the last word.

    All without contracts.
    """
    if contracts is None:
        return list(reports)
    return [r for r in reports if r.entity in contracts or now_wall_ms - r.reported_at_wall_ms <= OLD_REPORT_MS]


def applier_document(words: Iterable[tuple[int, Control]]) -> dict[str, Any]:
    """Return whether repairs may go on, by words and their offsets, and whose word that is; before any they may not."""
    from app.codec.rendering import wall_text

    switch, told = Switch(), None
    for offset, word in words:
        if word.shard:
            continue
        switch = switch.after(word, offset)
        if switch.is_on is (word.said is Said.RESUME):
            told = word
    if told is None:
        return {"paused": True, "by": "", "at": "", "why": "nobody has said `driftline resume` yet"}
    return {"paused": not switch.is_on, "by": told.by, "at": wall_text(told.at_ms), "why": told.why}


def worker_rows(workers: Iterable[WorkerStatus], now_wall_ms: int) -> list[Mapping[str, Any]]:
    """Return who owns which partitions, as it is printed."""
    return [
        {
            "instance": worker.instance,
            "partitions": list(worker.partitions),
            "reported_ago_s": round(max(0, now_wall_ms - worker.oldest_report_wall_ms) / 1_000, 1),
        }
        for worker in workers
    ]


def reread_rows(done: Iterable[Done]) -> list[Mapping[str, Any]]:
    """Return how far tables have been read again, as it is printed: how many rows of a million may be wrong unseen."""
    from app.codec.rendering import wall_text
    from app.core.sampling import CONFIDENCE, wrong_at_most

    return [
        {
            "entity": each.entity,
            "store": each.store,
            "passes": each.finished,
            "walk": each.walk.value,
            "rows": each.rows,
            "unproven_slices": each.unproven,
            "gaps": each.gaps,
            "whole_at": wall_text(each.whole_wall_ms),
            "whole_rows": each.whole_rows,
            "whole_unproven_slices": each.whole_unproven,
            "sampled_rows": each.sampled_rows,
            "wrong_per_million_at_most": None
            if not each.sampled_rows
            else round(1e6 * wrong_at_most(each.sampled_rows, min(each.gaps, each.sampled_rows)), 3),
            "confidence": CONFIDENCE,
        }
        for each in sorted(done, key=lambda each: (each.entity, each.store))
    ]


def _reread_text(row: Mapping[str, Any]) -> str:
    whole = (
        f"whole at {row['whole_at']} ({row['whole_rows']} rows, {row['whole_unproven_slices']} slices unproven)"
        if row["whole_at"]
        else "never whole yet"
    )
    bound = row["wrong_per_million_at_most"]
    sampled = "" if bound is None else f"; by its sample at most {bound:g} keys per million were wrong unseen (95 %)"
    return (
        f"reread {row['entity']} in {row['store']}: {whole}; this pass {row['rows']} rows,"
        f" {row['unproven_slices']} slices unproven; {row['gaps']} capture gaps{sampled}"
    )


def _print(
    output: Output,
    rows: list[Mapping[str, Any]],
    workers: list[Mapping[str, Any]],
    rereads: list[Mapping[str, Any]],
    aggregates: list[Mapping[str, Any]],
    applier: dict[str, Any],
    shards: list[Mapping[str, Any]],
) -> None:
    parts: dict[str, Any] = {
        "workers": workers,
        "rereads": rereads,
        "aggregates": aggregates,
        "applier": applier,
        "quarantined": shards,
    }
    if output is Output.JSON:
        click.echo(json_line({"stores": rows, **parts}))
        return
    print_records(rows, output, _COLUMNS)
    if output is Output.JSONL:
        for name, part in parts.items():
            click.echo(json_line({name: part}))
        return
    for row in rows:
        if row["open_drifts"] and row["alarm"] is None:
            told = f"drift of {row['entity']} in {row['store']} is tolerated by its contract: no alarm"
            click.echo(safe_text(told, 400))
    for worker in workers:
        owned = ", ".join(str(partition) for partition in worker["partitions"])
        click.echo(safe_text(f"worker {worker['instance']}: partitions {owned} ({worker['reported_ago_s']} s ago)"))
    for row in rereads:
        click.echo(safe_text(_reread_text(row), 400))
    for row in aggregates:
        click.echo(safe_text(aggregate_text(row), 400))
    said = f"by {applier['by']} at {applier['at']}" if applier["by"] else applier["why"]
    click.echo(safe_text(f"repairs: {'paused' if applier['paused'] else 'go on'} ({said})"))
    for shard in shards:
        click.echo(safe_text(shard_text(shard), 400))


@click.command()
@click.option("--entity", help="Only this entity.")
@click.pass_obj
def command(invocation: Invocation, entity: str | None) -> int:
    """Show how far each store is proven, and what is open.

    Times are on the beacons' clock; `behind` is how far the proof is behind the newest beacon.
    """
    from app.adapters.system_clock import wall_ms
    from app.codec.aggregates import decode_aggregate
    from app.topics import AGGREGATES, CONTROL

    deployment = Deployment.of(invocation, "status")
    known = read_known(deployment)
    now_ms = wall_ms()
    contracts = contracts_if_any(deployment)
    judged = still_judged(contracts, known.reports.values(), now_ms)
    newest = [report for report in judged if entity in {None, report.entity}]
    statuses = joined(newest)
    partitions = deployment.settings.partitions
    held = {(e.entity, e.replica, e.aggregate): e for _, e in deployment.records(AGGREGATES, decode_aggregate)}
    aggregates = [e for e in still_declared(contracts, held.values()) if entity in {None, e.entity}]
    alarms = alarms_of(deployment, statuses, known.done.values(), now_ms)
    words = [(record.offset, word) for record, word in deployment.records(CONTROL, decode_control)]
    stops = quarantined(words)
    _print(
        invocation.output,
        rows_of(statuses, partitions, now_ms, alarms),
        worker_rows(owners(newest), now_ms),
        reread_rows(each for each in known.done.values() if entity in {None, each.entity}),
        aggregate_rows(aggregates, now_ms),
        applier_document(words),
        shard_rows(stops, contracts_of(deployment) if stops else {}, known),
    )
    if not statuses:
        click.echo("driftline: no worker has reported yet\n  hint: start one: driftline worker", err=True)
    elif any(now_ms - status.oldest_report_wall_ms > OLD_REPORT_MS for status in statuses):
        click.echo("driftline: some partitions have no worker that reports\n  hint: is every worker up?", err=True)
    return exit_code_of(statuses, partitions, now_ms, alarms, aggregates)
