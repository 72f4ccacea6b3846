"""`driftline explain ENTITY --aggregate NAME`: which groups are or were wrong, and what their figures had to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click

from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import Output, json_line, print_records, safe_text
from app.core.contract import EntityContract
from app.core.errors import ContractViolation
from app.core.finding import DriftKind
from app.core.published import PublishedFinding
from app.topics import DRIFTS

_COLUMNS: Final = ("at", "replica", "group", "stage", "shown", "lowest", "highest", "judged_at_ms", "finding_id")


def check_declared(contract: EntityContract, name: str) -> None:
    """Raise `ContractViolation` if a contract has no such aggregate."""
    names = [aggregate.name for aggregate in contract.aggregates]
    if name not in names:
        hint = f"there are: {', '.join(names)}" if names else "its contract declares none"
        raise ContractViolation(f"{contract.entity} has no aggregate {name!r}", hint=hint)


def group_document(published: PublishedFinding, figures: dict[str, Any], at_wall_ms: int) -> dict[str, Any]:
    """Return one step in the life of a group's drift, with its figures."""
    from app.codec.aggregates import group_text
    from app.codec.rendering import position_text, wall_text

    finding = published.finding
    return {
        "at": wall_text(at_wall_ms),
        "replica": finding.replica,
        "group": group_text(figures),
        "stage": finding.stage.value,
        "shown": figures["shown"],
        "lowest": figures["lowest"],
        "highest": figures["highest"],
        "judged_at_ms": finding.evidence.judged_at_ms,
        "window_ms": finding.evidence.window_ms,
        "authority_position": position_text(finding.authority_position),
        "replica_position": position_text(finding.replica_position),
        "finding_id": finding.finding_id.hex(),
    }


def why(documents: Iterable[dict[str, Any]], authority: str) -> list[str]:
    """Say in sentences why groups are wrong that are wrong now."""
    newest = {document["finding_id"]: document for document in documents}
    return [
        (
            f"{d['replica']}: {d['group']} showed {d['shown']} at {d['judged_at_ms']} ms (beacon time)."
            f" Rows that follow {authority} within {d['window_ms']} ms come to {_between(d)}."
        )
        for d in newest.values()
        if d["stage"] == "confirmed"
    ]


def _between(document: dict[str, Any]) -> str:
    low, high = document["lowest"], document["highest"]
    return f"{low}" if low == high else f"between {low} and {high}"


def explain_aggregate(
    invocation: Invocation, deployment: Deployment, contract: EntityContract, name: str, since: int | None
) -> int:
    """Print the drifts of an aggregate's groups; drift if one is open."""
    from app.adapters.seal import KeySeals
    from app.codec.aggregates import read_figures

    check_declared(contract, name)
    seals = KeySeals.from_folder(deployment.settings.keys_dir)
    documents = []
    for record, published in deployment.records(DRIFTS, deployment.codec.read_finding, since):
        finding = published.finding
        if finding.kind is DriftKind.AGGREGATE and finding.entity == contract.entity:
            figures = read_figures(seals.open_key(contract.entity, published.sealed_key))
            if figures["aggregate"] == name:
                documents.append(group_document(published, figures, record.at_wall_ms))
    reasons = why(documents, contract.authority)
    if invocation.output is Output.TABLE:
        print_records(documents, Output.TABLE, _COLUMNS)
        for line in reasons:
            click.echo(safe_text(line, 2_000))
    else:
        click.echo(json_line({"entity": contract.entity, "aggregate": name, "findings": documents, "why": reasons}))
    return ExitCode.DRIFT if reasons else ExitCode.AGREE
