"""`driftline explain ENTITY KEY`: one key's history on every side, and why the verdict."""

from __future__ import annotations

from typing import Any, Final

import click

from app.cli.deployment import MOMENT, Deployment
from app.cli.exit_codes import ExitCode
from app.cli.explain_aggregate import explain_aggregate
from app.cli.invocation import Invocation
from app.cli.key_history import UNKNOWN, KeyHistory, canonical_key, change_document, key_values, read_history
from app.cli.output import Output, json_line, print_records, safe_text
from app.cli.row_keys import contract_about
from app.core.contract import EntityContract
from app.core.errors import ContractViolation
from app.core.finding import DriftKind
from app.topics import DRIFTS

_OPEN: Final = frozenset({"confirmed", "overtaken"})
_COLUMNS: Final = ("at", "store", "what", "digest", "where", "transaction", "why")


def _key_of_finding(deployment: Deployment, contract: EntityContract, finding_id: str) -> bytes:
    """Return the key of the row that a finding is about; `ContractViolation` if there is no such finding."""
    from app.adapters.seal import KeySeals

    seals = KeySeals.from_folder(deployment.settings.keys_dir)
    for _, published in deployment.records(DRIFTS, deployment.codec.read_finding):
        finding = published.finding
        if finding.finding_id.hex().startswith(finding_id.lower()) and finding.entity == contract.entity:
            if finding.kind is DriftKind.AGGREGATE:
                (name,) = finding.differing_columns
                hint = f"driftline explain {contract.entity} --aggregate {name}"
                raise ContractViolation(f"the finding {finding_id} is about a group of rows", hint=hint)
            return seals.open_key(contract.entity, published.sealed_key)
    raise ContractViolation(
        f"{contract.entity} has no finding {finding_id}", hint="`driftline drifts` lists findings with their ids"
    )


def newest_digests(contract: EntityContract, history: KeyHistory) -> dict[str, bytes | None]:
    """Return what each store shows by its newest change; None where the topics have none of this key."""
    newest: dict[str, bytes | None] = dict.fromkeys(table.store for table in contract.stores)
    for change in history.changes:
        newest[change.store] = change.digest
    return newest


def why(contract: EntityContract, history: KeyHistory) -> list[str]:
    """Say in sentences why the verdict is what it is, for each replica."""
    newest = newest_digests(contract, history)
    return [line for replica in contract.replicas for line in _why_replica(contract, history, newest, replica.store)]


def _why_replica(
    contract: EntityContract, history: KeyHistory, newest: dict[str, bytes | None], replica: str
) -> list[str]:
    findings = [f for f in history.findings if f["replica"] == replica]
    if findings:
        return _why_drift(findings, contract.authority, replica)
    truth, shown = newest[contract.authority], newest[replica]
    if truth is None and shown is None:
        return [f"{replica}: the topics have no change of this key in either store; it may be absent in both."]
    silent = [store for store in (contract.authority, replica) if newest[store] == UNKNOWN]
    if silent:
        return [
            (
                f"{replica}: not proven from here. The newest change in {' and in '.join(silent)} does not tell the"
                " row: it cannot be read, does not fit the contract, or leaves a value out; see `status`."
            )
        ]
    if truth == shown or (not truth and not shown):
        return [f"{replica}: agree. Its newest change leads to the same state as the newest of {contract.authority}."]
    if truth is None or shown is None:
        none = contract.authority if truth is None else replica
        return [f"{replica}: not proven from here. The topics have no change of this key in {none}; see `status`."]
    return [
        (
            f"{replica}: it differs from {contract.authority} and there is no finding: its window may still run, or a"
            " store is stalled or not covered; see `status`."
        )
    ]


def _why_drift(findings: list[dict[str, Any]], authority: str, replica: str) -> list[str]:
    newest = findings[-1]
    first = next((f for f in findings if f["finding_id"] == newest["finding_id"]), newest)
    evidence = first["evidence"]
    known_ms = min(evidence["authority_watermark_ms"], evidence["replica_watermark_ms"])
    shown, truth = evidence["replica_stays"], evidence["authority_stays"]
    lines = [
        f"{replica}: {first['kind']}, now {newest['stage']}.",
        f"  {authority} was last in a state that {replica} shows at {evidence['vouched_until_ms']} ms (beacon time).",
        (
            f"  The window of {evidence['window_ms']} ms ran out at {evidence['judged_at_ms']} ms;"
            f" both logs were known up to {known_ms} ms."
        ),
    ]
    if shown and truth:
        lines.append(f"  {replica} showed {_state(shown[-1])}; {authority} had {_state(truth[-1])}.")
    if first["columns"]:
        lines.append(f"  They differ in {', '.join(first['columns'])}.")
    if newest["stage"] == "verified":
        lines.append(f"  The repair {newest['command_id']} was seen again through {replica}'s own log.")
    return lines


def _state(shown: dict[str, Any]) -> str:
    where = f"{shown['topic']}[{shown['partition']}]@{shown['offset']}" if shown["offset"] >= 0 else "no record"
    return f"{shown['digest'][:12]} ({where})"


def timeline(history: KeyHistory) -> list[dict[str, Any]]:
    """Return changes, findings and acts in the order of their records' wall-clock times, for reading."""
    rows = [
        {
            "at": document["at"],
            "store": document["store"],
            "what": document["operation"],
            "digest": document["digest"][:12],
            "where": f"{document['topic']}[{document['partition']}]@{document['offset']}",
            "transaction": document["transaction"],
            "why": "",
        }
        for document in map(change_document, history.changes)
    ]
    rows += [
        {
            "at": f["at"],
            "store": f["replica"],
            "what": f"drift {f['stage']}",
            "digest": f["expected_digest"][:12],
            "where": "",
            "transaction": f["source_transaction"],
            "why": " ".join([f["kind"] or "", *f["columns"]]),
        }
        for f in history.findings
    ]
    rows += [
        {**a, "digest": "", "where": a["command_id"][:12], "transaction": "", "what": a["what"]} for a in history.acts
    ]
    return sorted(rows, key=lambda row: str(row["at"]))


def exit_code_of(contract: EntityContract, history: KeyHistory) -> ExitCode:
    """Return drift for an open finding, unknown where the stores differ without one or a state is, else agreement."""
    newest_stage = {f["replica"]: f["stage"] for f in history.findings}
    if any(stage in _OPEN for stage in newest_stage.values()):
        return ExitCode.DRIFT
    newest = newest_digests(contract, history)
    truth = newest[contract.authority]
    if UNKNOWN in newest.values():
        return ExitCode.UNKNOWN
    if any((newest[r.store] or b"") != (truth or b"") for r in contract.replicas):
        return ExitCode.UNKNOWN
    return ExitCode.AGREE


@click.command()
@click.argument("entity")
@click.argument("key", required=False)
@click.option("--finding", help="Instead of KEY: the first digits of a finding's id.")
@click.option("--aggregate", help="Instead of KEY: an aggregate, whose groups are shown with their figures.")
@click.option("--since", type=MOMENT, help="Only from here on: a time ago (2h) or RFC 3339.")
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    entity: str,
    key: str | None,
    finding: str | None,
    aggregate: str | None,
    since: int | None,
) -> int:
    """Show one key's history in every store, what was said and done about it, and why the verdict.

    KEY is the key's value; for a key of several parts a JSON object such as '{"region": "eu", "id": 7}'.
    Values of rows are not shown; the figures of an aggregate are, to whom has the deployment's keys.
    """
    from app.adapters.seal import read_key

    if sum(named is not None for named in (key, finding, aggregate)) != 1:
        raise click.UsageError("name the row by its KEY, or by --finding, or an --aggregate")
    deployment = Deployment.of(invocation, "explain")
    contract = contract_about(deployment, entity)
    if aggregate is not None:
        return explain_aggregate(invocation, deployment, contract, aggregate, since)
    digest_key = read_key(deployment.settings.keys_dir / "digest.key")
    if key is None:
        wanted = _key_of_finding(deployment, contract, finding or "")
    else:
        kind = deployment.settings.stores[contract.authority].kind
        wanted = canonical_key(contract, key_values(contract, key), kind, digest_key)
    history = read_history(deployment, contract, wanted, digest_key, since)
    reasons = why(contract, history)
    if invocation.output is Output.TABLE:
        print_records(timeline(history), Output.TABLE, _COLUMNS)
        click.echo()
        for line in reasons:
            click.echo(safe_text(line, 2_000))
    else:
        document = {
            "entity": entity,
            "key_hash": history.key_hash.hex(),
            "changes": [change_document(change) for change in history.changes],
            "findings": history.findings,
            "acts": history.acts,
            "why": reasons,
        }
        click.echo(json_line(document))
    return exit_code_of(contract, history)
