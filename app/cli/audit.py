"""`driftline audit`: says whether each target's ledger is all that was written into it, and by whose word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from app.cli.approve import approver_key
from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.json_file import WritableFile
from app.cli.output import print_records, safe_text
from app.cli.signed_heads import read_heads, write_heads
from app.cli.trusted import belief_of
from app.core.chain import Break, Finding, breaks, goes_with, is_insert, must_be_recorded
from app.core.command import CommandOutcome
from app.core.errors import ContractViolation
from app.core.heads import ChainEnd, ChainEnds, Heads
from app.core.history.approvers import Approvers
from app.topics import ALL, APPROVALS, OUTCOMES, REPAIRS, Cleanup

if TYPE_CHECKING:
    from app.core.ledger import LedgerRow
    from app.ports import RowStore

_COLUMNS: Final = ("store", "topic", "what", "partition", "sequence", "command_id")


class Ledger:
    """One target's ledger, read through once."""

    def __init__(
        self, store: str, rows: RowStore, key: bytes, approvers: Approvers, older: Sequence[Heads] = ()
    ) -> None:
        self.store = store
        self.ends = ChainEnds(store, older)
        self._rows = rows
        self._key = key
        self._approvers = approvers
        self._ids: set[bytes] = set()
        self._inserts: set[bytes] = set()
        self._doubted: list[LedgerRow] = []

    @property
    def size(self) -> int:
        """How many rows were read."""
        return len(self._ids)

    def _read(self) -> Iterator[LedgerRow]:
        for row in self._rows.ledger_rows():
            self.ends.see(row)
            self._ids.add(row.row_id)
            if is_insert(row):
                self._inserts.add(row.row_id)
            if self._approvers.doubt(row) is not None:
                self._doubted.append(row)
            yield row

    def breaks(self, outcomes: list[CommandOutcome]) -> Iterator[Finding]:
        """Yield what is wrong in the rows, and then what was told and is not in them."""
        yield from breaks(self._key, self._read())
        yield from self.ends.gone()
        told = {o.command_id: o for o in outcomes if o.target == self.store and must_be_recorded(o)}
        for command_id, outcome in told.items():
            must_be = goes_with(outcome, is_insert=command_id in self._inserts) | {command_id}
            if not must_be <= self._ids:
                yield Finding(Break.NOT_RECORDED, outcome.partition, 0, command_id)

    def unsigned(self, approvers: Callable[[], Approvers]) -> Iterator[Finding]:
        """Yield the rows whose persons have not signed them, by all that was said until the rows were read."""
        heard = approvers() if self._doubted else self._approvers
        for row in self._doubted:
            doubt = heard.doubt(row)
            if doubt is not None:
                yield Finding(doubt, row.partition, row.sequence, row.original_id)


def _kept(deployment: Deployment) -> list[str]:
    kept = [topic for topic in ALL if topic.retention_ms is None and topic.cleanup is Cleanup.DELETE]
    return [topic.name(deployment.settings.deployment) for topic in kept]


def _deleted(deployment: Deployment) -> Iterator[tuple[str, Finding]]:
    """Yield the places at which records were deleted from topics that keep what people and appliers did for ever."""
    for (topic, partition), offset in sorted(deployment.log.ends(_kept(deployment), latest=False).items()):
        if offset:
            yield topic, Finding(Break.DELETED, partition, offset, b"")


def _approvers(deployment: Deployment) -> Approvers:
    """Return who has signed for what, by the topics as they are now."""
    codec, name = deployment.codec, REPAIRS.name(deployment.settings.deployment)
    return Approvers(
        belief_of(deployment),
        (word for _, word in deployment.records(APPROVALS, codec.read_approval)),
        (command for _, command in deployment.records(REPAIRS, codec.read_command)),
        has_all_commands=not any(deployment.log.ends([name], latest=False).values()),
    )


@click.command()
@click.option("--store", "only", multiple=True, help="Only this target (may be given several times).")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Heads that somebody wrote earlier: what stood there then must stand there still.",
)
@click.option(
    "--write-heads",
    "heads_file",
    type=WritableFile(),
    help="Sign where ledgers and topics end now, with an approver's key, into this file: keep it elsewhere.",
)
@click.option("--despite-breaks", is_flag=True, help="Write heads although something is wrong that you know of.")
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    only: tuple[str, ...],
    against: tuple[Path, ...],
    heads_file: Path | None,
    despite_breaks: bool,
) -> int:
    """Check the hash chains of the targets' ledgers, that all outcomes that were told stand in them, and whose word.

    Exit code 1 if a row was altered, taken out or put in, or names somebody who has not signed it, if records were
    deleted from a topic that keeps all, or if what a signed head names is gone; 3 if of some rows it cannot be said who
    has signed them. Reads with the role `apply`, and needs `digest.key` and the list of signers.
    """
    from app.adapters.seal import read_key
    from app.cli.applier import row_stores

    if only and heads_file:
        raise click.UsageError("heads are of all targets: leave --store out")
    deployment = Deployment.of(invocation, "audit")
    settings = deployment.settings
    # Before everything is read: who cannot sign is to know it at once.
    key_of_person = approver_key(settings)[0] if heads_file else None
    older = [read_heads(deployment, path) for path in against]
    stores = row_stores(settings, targets_only=True)
    names = dict.fromkeys([*stores, *(chain[0] for heads in older for chain in heads.chains)])
    if unknown := sorted(set(only) - names.keys()):
        raise ContractViolation(
            f"no target is named {safe_text(', '.join(unknown))}", hint=f"one of {', '.join(stores)}"
        )
    # The outcomes first: what is told while the ledgers are read may not have been seen in them. And the topics' ends
    # before the ledgers', or heads would name records that were not read.
    ends, ids = deployment.log.ends(_kept(deployment), latest=True), deployment.log.ids(_kept(deployment))
    outcomes = [outcome for _, outcome in deployment.records(OUTCOMES, deployment.codec.read_outcome)]
    key, approvers = read_key(settings.keys_dir / "digest.key"), _approvers(deployment)
    found = [("", topic, each) for topic, each in _deleted(deployment)]
    found += [("", topic, each) for heads in older for topic, each in heads.topics_cut(ends, ids)]
    chains: list[ChainEnd] = []
    for name in (name for name in names if not only or name in only):
        if name not in stores:
            found += [(name, "", each) for each in ChainEnds(name, older).gone()]
            continue
        ledger = Ledger(name, stores[name], key, approvers, older)
        found += [(name, "", each) for each in ledger.breaks(outcomes)]
        found += [(name, "", each) for each in ledger.unsigned(lambda: _approvers(deployment))]
        chains += ledger.ends.chains()
        click.echo(f"store {safe_text(name)}: {ledger.size} rows read", err=True)
    print_records([_document(*each) for each in found], invocation.output, _COLUMNS)
    is_whole = all(each.what is Break.WORD_NOT_PROVEN for _, _, each in found)
    if heads_file and key_of_person and (is_whole or despite_breaks):
        write_heads(deployment, heads_file, key_of_person, chains, ends, ids)
    elif heads_file:
        what = "something is wrong, and would seem to have been right: --despite-breaks if you know of all of it"
        click.echo(f"{heads_file} was not written: {what}", err=True)
    if not is_whole:
        return ExitCode.DRIFT
    return ExitCode.UNKNOWN if found else ExitCode.AGREE


def _document(store: str, topic: str, finding: Finding) -> dict[str, object]:
    return {
        "store": store,
        "topic": topic,
        "what": finding.what.value,
        "partition": finding.partition,
        "sequence": finding.sequence,
        "command_id": finding.command_id.hex(),
    }
