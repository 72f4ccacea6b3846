"""`driftline audit`: says whether each target's ledger is all that was ever written into it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records, safe_text
from app.core.chain import Break, Finding, breaks, must_be_recorded
from app.core.command import CommandOutcome
from app.topics import OUTCOMES

if TYPE_CHECKING:
    from app.core.ledger import LedgerRow
    from app.ports import RowStore

_COLUMNS: Final = ("store", "what", "partition", "sequence", "command_id")


class Ledger:
    """One target's ledger, read through once."""

    def __init__(self, store: str, rows: RowStore, key: bytes) -> None:
        self.store = store
        self._rows = rows
        self._key = key
        self._ids: set[bytes] = set()

    @property
    def size(self) -> int:
        """How many rows were read."""
        return len(self._ids)

    def _read(self) -> Iterator[LedgerRow]:
        for row in self._rows.ledger_rows():
            self._ids.add(row.row_id)
            yield row

    def breaks(self, outcomes: list[CommandOutcome]) -> Iterator[Finding]:
        """Yield what is wrong in the rows, and then what was told and is not in them."""
        yield from breaks(self._key, self._read())
        told = {o.command_id: o for o in outcomes if o.target == self.store and must_be_recorded(o)}
        for command_id, outcome in told.items():
            if command_id not in self._ids:
                yield Finding(Break.NOT_RECORDED, outcome.partition, 0, command_id)


@click.command()
@click.option("--store", "only", multiple=True, help="Only this target (may be given several times).")
@click.pass_obj
def command(invocation: Invocation, *, only: tuple[str, ...]) -> int:
    """Check the hash chains of the targets' ledgers, and that all outcomes that were told stand in them.

    Exit code 1 if a row was altered, taken out or put in. Reads with the role `apply`, and needs `digest.key`.
    """
    from app.adapters.seal import read_key
    from app.cli.applier import row_stores

    deployment = Deployment.of(invocation, "audit")
    settings = deployment.settings
    # The outcomes first: what is told while the ledgers are read may not have been seen in them.
    outcomes = [outcome for _, outcome in deployment.records(OUTCOMES, deployment.codec.read_outcome)]
    key = read_key(settings.keys_dir / "digest.key")
    found = []
    for name, store in row_stores(settings, targets_only=True).items():
        if only and name not in only:
            continue
        ledger = Ledger(name, store, key)
        found += [_document(name, each) for each in ledger.breaks(outcomes)]
        click.echo(f"store {safe_text(name)}: {ledger.size} rows read", err=True)
    print_records(found, invocation.output, _COLUMNS)
    return ExitCode.DRIFT if found else ExitCode.AGREE


def _document(store: str, finding: Finding) -> dict[str, object]:
    return {
        "store": store,
        "what": finding.what.value,
        "partition": finding.partition,
        "sequence": finding.sequence,
        "command_id": finding.command_id.hex(),
    }
