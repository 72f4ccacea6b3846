"""`driftline batches`: the repairs that wait for a person, put together so that a person can read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import click

from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records
from app.cli.proposals import Proposals, Rehearsals, read_proposals
from app.cli.row_keys import sealed_key_opener
from app.cli.row_values import changes
from app.codec.rendering import touched_text, wall_text, would_text
from app.core.batch import Batch
from app.core.command import Action, RepairCommand
from app.core.errors import ContractViolation
from app.core.rehearsal import summed

LISTED: Final = ("batch", "effect", "why", "kinds", "columns", "sample_keys", "rehearsed", "approved_by", "expires_at")
ROWS: Final = ("command_id", "finding_id", "key", "kind", "action", "columns", "source_transaction", "would", "touches")
VALUES: Final = ("key", "kind", "action", "changes", "rows_stand", "would")
_SAMPLE: Final = 5
_SHORT: Final = 16
_PREFIX_MIN: Final = 8

KeyText = Callable[[str, bytes], str]


def batch_document(batch: Batch, proposals: Proposals, key_text: KeyText, now_wall_ms: int) -> dict[str, object]:
    """Return what a person needs to know to answer a batch."""
    first = batch.first
    contract = proposals.contracts[first.entity]
    return {
        "batch": batch.batch_id.hex()[:_SHORT],
        "batch_id": batch.batch_id.hex(),
        "entity": first.entity,
        "store": first.target,
        "table": contract.table_of(first.target).table,
        "authority": first.authority,
        "action": first.action.value,
        "rows": len(batch.commands),
        "effect": _effect(batch, contract.table_of(first.target).table),
        "why": first.reason,
        "kinds": dict(batch.kinds),
        "columns": dict(batch.columns),
        "transactions": batch.transactions,
        "incident_id": first.incident_id.hex(),
        "sample_keys": [key_text(first.entity, command.sealed_key) or "?" for command in batch.commands[:_SAMPLE]],
        "rehearsed": rehearsal_document(batch, proposals.rehearsals),
        "rehearsal": proposals.policy_of(batch).rehearsal.value,
        "persons_needed": proposals.policy_of(batch).persons,
        "approved_by": proposals.persons(batch),
        "policy_ids": sorted({command.policy_id.hex() for command in batch.commands} - {""}),
        "is_gathering": not first.incident_id and now_wall_ms < batch.gathers_until_ms,
        "expires_at": wall_text(batch.expires_at_ms),
        "commands": [command.command_id.hex() for command in batch.commands],
    }


def _write_of(command: RepairCommand) -> str:
    """Say what is done to the row: an undo leaves what the repair found, which may be no row."""
    if command.action is Action.DELETE or not command.intended_digest:
        return "delete"
    return "update" if command.expected_digest else "insert"


def _effect(batch: Batch, table: str) -> str:
    """Say what will be written, as far as it is known without trying it."""
    counts = Counter(map(_write_of, batch.commands))
    writes = ", ".join(f"{each}s {counts[each]}" for each in ("delete", "insert", "update") if counts[each])
    effect = f"{writes} of {table} in {batch.first.target}"
    if batch.first.undoes:
        return f"{effect}, as they were before a repair"
    return effect if batch.first.action is Action.DELETE else f"{effect}, as {batch.first.authority} has them"


def rehearsal_document(batch: Batch, rehearsals: Rehearsals) -> dict[str, object]:
    """Return what the rehearsals of a batch's rows say together; empty where none was tried."""
    tried = [rehearsals.last[member] for member in batch.members if member in rehearsals.last]
    if not tried:
        return {}
    refused = Counter(would_text(each) for each in tried if each.reason)
    return {
        "tried": len(tried),
        "would_write": sum(each.reason is None for each in tried),
        "would_not": dict(refused.most_common()),
        "touches": [touched_text(each) for each in summed(tried)],
        "may_touch_more": not all(each.is_complete for each in tried),
    }


def _action(command: RepairCommand) -> str:
    """Name what is asked for; a row that comes or goes is said to, whatever it is asked for by."""
    write = _write_of(command)
    return command.action.value if write == "update" else write


def row_document(command: RepairCommand, member: bytes, rehearsals: Rehearsals, key_text: KeyText) -> dict[str, object]:
    """Return one row of a batch, with what trying it has shown."""
    tried = rehearsals.last.get(member)
    return {
        "would": would_text(tried) if tried else "",
        "touches": [touched_text(each) for each in tried.touched] if tried else [],
        "command_id": command.command_id.hex(),
        "finding_id": command.finding_id.hex(),
        "key": key_text(command.entity, command.sealed_key) or "?",
        "kind": command.kind,
        "action": _action(command),
        "columns": list(command.columns),
        "source_transaction": command.source_transaction,
    }


def the_batch(batches: list[Batch], prefix: str) -> Batch:
    """Return the batch whose id begins so; `ContractViolation` if there is none any more, or more than one."""
    digits = prefix.strip().lower()
    if len(digits) < _PREFIX_MIN or set(digits) - set("0123456789abcdef"):
        raise ContractViolation(
            f"a batch is named by at least {_PREFIX_MIN} hex digits", hint="see `driftline batches`"
        )
    found = [batch for batch in batches if batch.batch_id.hex().startswith(digits)]
    if not found:
        what = "no such batch waits: it was answered, has expired, or its content has changed"
        raise ContractViolation(what, hint="see `driftline batches`; a batch of another content has another id")
    if len(found) > 1:
        raise ContractViolation("several batches begin so", hint="give more digits")
    return found[0]


@click.command()
@click.argument("batch", required=False)
@click.option("--entity", help="Only this entity's.")
@click.option("--values", is_flag=True, help="With BATCH: read both stores, and show what would change in each row.")
@click.pass_obj
def command(invocation: Invocation, *, batch: str | None, entity: str | None, values: bool) -> int:
    """List the batches that wait for a person, or the rows of one BATCH, with what a rehearsal has shown.

    Exit code 4 if any wait.
    """
    from app.adapters.seal import KeySeals
    from app.adapters.system_clock import wall_ms
    from app.cli.applier import row_stores

    if values and batch is None:
        raise ContractViolation("--values shows the rows of one batch", hint="driftline batches BATCH --values")
    deployment = Deployment.of(invocation, "batches")
    proposals = read_proposals(deployment)
    batches = [each for each in proposals.batches() if entity in {None, each.first.entity}]
    key_text = sealed_key_opener(deployment)
    if batch is not None:
        named = the_batch(batches, batch)
        rows = zip(named.commands, named.members, strict=True)
        shown = [row_document(row, member, proposals.rehearsals, key_text) for row, member in rows]
        if values:
            open_key = KeySeals.from_folder(deployment.settings.keys_dir).open_key
            found = changes(named.commands, row_stores(deployment.settings), open_key)
            shown = [document | more for document, more in zip(shown, found, strict=True)]
        print_records(shown, invocation.output, VALUES if values else ROWS)
        return ExitCode.REFUSED
    now_ms = wall_ms()
    shown = [batch_document(each, proposals, key_text, now_ms) for each in batches]
    print_records(shown, invocation.output, LISTED)
    return ExitCode.REFUSED if shown else ExitCode.AGREE
