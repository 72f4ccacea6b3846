"""`driftline undo`: take back repairs, each by a signed command of its own that is guarded like any other."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from app.cli.approve import Duration, Id
from app.cli.asking import WAIT_OPTION, send_asked_for
from app.cli.deployment import MOMENT, Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records, safe_text
from app.cli.row_keys import contracts_of, sealed_key_opener
from app.cli.trusted import belief_of
from app.codec.rendering import wall_text
from app.core.command import Action, Approval, undo_id
from app.core.errors import ContractViolation
from app.core.signing import id_of_member
from app.core.undo import is_applied_repair, undo_of
from app.topics import APPROVALS

if TYPE_CHECKING:
    from app.core.contract import EntityContract
    from app.core.history.changes import Belief
    from app.core.ledger import LedgerRow

_COLUMNS: Final = ("store", "entity", "key", "was", "repaired_at", "command_id")
_LIFE_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Repairs:
    """Which repairs a person means."""

    commands: tuple[str, ...]
    in_batches: frozenset[bytes]
    since_ms: int | None
    until_ms: int | None
    store: str | None
    entity: str | None

    def has(self, row: LedgerRow) -> bool:
        """Tell whether a ledger row is of a repair that is meant."""
        if self.store not in {None, row.target} or self.entity not in {None, row.entity}:
            return False
        if self.since_ms is not None:
            return self.since_ms <= row.written_at_ms <= (row.written_at_ms if self.until_ms is None else self.until_ms)
        return row.row_id in self.in_batches or any(row.row_id.hex().startswith(one) for one in self.commands)


def to_undo(rows: Iterable[LedgerRow], wanted: Repairs) -> list[LedgerRow]:
    """Return the repairs that are meant and stand, the newest first: a row's repairs are taken back in turn."""
    held = list(rows)
    ids = {row.row_id for row in held}
    chosen = [r for r in held if is_applied_repair(r) and undo_id(r.row_id) not in ids and wanted.has(r)]
    return sorted(chosen, key=lambda row: (row.written_at_ms, row.sequence), reverse=True)


def _document(row: LedgerRow, key: str) -> dict[str, object]:
    was = "deleted" if not row.intended_digest else "updated" if row.expected_digest else "inserted"
    was = "aligned" if row.action is Action.TRANSFORM else was
    return {
        "store": row.target,
        "entity": row.entity,
        "key": key or "?",
        "was": was,
        "repaired_at": wall_text(row.written_at_ms),
        "command_id": row.row_id.hex(),
    }


@click.command()
@click.argument("commands", nargs=-1, type=Id())
@click.option("--batch", "batches", multiple=True, type=Id(), help="All repairs of this approved batch.")
@click.option("--since", type=MOMENT, help="All repairs since then (10m, or 2027-01-31T08:00:00Z).")
@click.option("--until", type=MOMENT, help="With --since: up to then.")
@click.option("--store", help="Of these, only this store's.")
@click.option("--entity", help="Of these, only this entity's.")
@click.option("--for", "life_ms", type=Duration(), default=_LIFE_MS, help="How long it may be tried.  [default: 1h]")
@WAIT_OPTION
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    commands: tuple[str, ...],
    batches: tuple[str, ...],
    since: int | None,
    until: int | None,
    store: str | None,
    entity: str | None,
    life_ms: int,
    wait_ms: int,
    yes: bool,
) -> int:
    """Take back the repairs COMMANDS, those of a batch, or those of a time, signed with the approver's key.

    A row that has moved on since is left as it is, and said to be so. What is taken back differs again from the
    authority; its next repair waits for a person. Several repairs of one row are taken back one after the other.

    What is held is sent again for as long as is waited. Exit code 0 if all were taken back, 4 if one was refused, 3 if
    one is held, not sent, or not answered in time.
    """
    from app.adapters.system_clock import wall_ms
    from app.cli.applier import row_stores

    if not (commands or batches or since is not None):
        raise ContractViolation("nothing was named", hint="name commands, or give --batch or --since")
    deployment = Deployment.of(invocation, "undo")
    settings = deployment.settings
    in_batches = _members(deployment, batches)
    wanted = Repairs(commands, in_batches, since, until, store, entity)
    rows = [
        r for found in row_stores(settings, targets_only=True).values() for r in to_undo(found.ledger_rows(), wanted)
    ]
    key_text = sealed_key_opener(deployment)
    print_records([_document(r, key_text(r.entity, r.sealed_key)) for r in rows], invocation.output, _COLUMNS)
    if not rows:
        click.echo("driftline: no repair of these stands in a ledger", err=True)
        return ExitCode.COULD_NOT_RUN
    if not (yes or (sys.stdin.isatty() and click.confirm(f"undo these {len(rows)} repairs?", err=True))):
        click.echo("driftline: nothing was sent: say --yes, or run it where it can ask", err=True)
        return ExitCode.REFUSED
    now_ms, contracts = wall_ms(), contracts_of(deployment)
    return send_asked_for(deployment, [undo_of(r, _contract(contracts, r), now_ms, life_ms) for r in rows], wait_ms)


def _members(deployment: Deployment, prefixes: tuple[str, ...]) -> frozenset[bytes]:
    """Return the commands of approved batches."""
    if not prefixes:
        return frozenset()
    words = [word for _, word in deployment.records(APPROVALS, deployment.codec.read_approval)]
    belief = belief_of(deployment)
    return frozenset(id_of_member(member) for each in prefixes for member in approved_members(words, belief, each))


def approved_members(words: Iterable[Approval], belief: Belief, prefix: str) -> Sequence[bytes]:
    """Return the members of the one batch whose id begins so and that an approver has said yes to.

    Who may write the topic can put any members under any name: a word counts if it is whole, an approver's, and on the
    very batch that its members make. `ContractViolation` if there is none, or more than one batch.
    """
    where = f"batch {prefix}"
    named = [word for word in words if word.approved and word.batch_id.hex().startswith(prefix)]
    doubts = [(word, belief.doubt_word(word)) for word in named]
    found = {word.batch_id: word.members for word, doubt in doubts if doubt is None}
    if len(found) > 1:
        raise ContractViolation("several approved batches begin so", where=where, hint="give more digits")
    for members in found.values():
        return members
    if not doubts:
        hint = "it is named by the first digits of its id, as it was when it was approved"
        raise ContractViolation("no such batch was approved", where=where, hint=hint)
    told = ", ".join(sorted({doubt.value for _, doubt in doubts if doubt is not None}))
    raise ContractViolation(
        f"nobody who is trusted has approved this batch: what stands on the topic is not believed ({told})",
        where=where,
        hint="name its repairs by their commands' ids or --since; who writes the topic `approvals` besides approvers?",
    )


def _contract(contracts: Mapping[str, EntityContract], row: LedgerRow) -> EntityContract:
    if row.entity not in contracts:
        raise ContractViolation("no contract names this entity any more", where=safe_text(row.entity))
    return contracts[row.entity]
