"""`driftline transform`: have columns spelled as the authority spells them, where the contract holds both equal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING, Final

import click

from app.cli.approve import Duration
from app.cli.asking import WAIT_OPTION, send_asked_for
from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records
from app.cli.row_keys import contract_about, sealed_key_opener
from app.core.errors import ContractViolation
from app.core.limits import BATCH_COMMANDS_MAX
from app.core.transform import aligned, transform_of, unlike

if TYPE_CHECKING:
    from app.core.command import RepairCommand
    from app.core.contract import EntityContract
    from app.ports import RowRead, RowStore

_COLUMNS: Final = ("key", "stands", "columns", "command_id")
_LIFE_MS: Final = 3_600_000
_READ_AT_ONCE: Final = 200


class Stands(Enum):
    """How a row of the replica stands to the authority's."""

    TO_ALIGN = "to align"
    ALIKE = "alike"
    DIFFERS = "differs"  # by the contract: that is a drift, and not ours
    ABSENT = "absent"  # in both stores


@dataclass(frozen=True, slots=True)
class Aim:
    """Which columns of one entity are to be aligned in which store."""

    contract: EntityContract
    store: str
    columns: tuple[str, ...]

    @classmethod
    def of(cls, contract: EntityContract, store: str | None, columns: tuple[str, ...]) -> Aim:
        """Return what a person asks for; `ContractViolation` where the contract does not have it."""
        where = f"contract {contract.entity}"
        may = {replica.store: replica.repair.transform for replica in contract.replicas if replica.repair.transform}
        if store is None and len(may) != 1:
            what = "several stores may be aligned" if may else "the contract lets nothing be aligned"
            raise ContractViolation(what, where=where, hint="say --store" if may else "name fields at repair.transform")
        target = store or next(iter(may))
        allowed = [f.name for f in contract.fields if f.name in may.get(target, ())]
        if not allowed or not set(columns) <= set(allowed):
            hint = f"there may be: {', '.join(allowed) or 'none'}"
            raise ContractViolation("the contract does not let this be aligned", where=f"{where}, {target}", hint=hint)
        return cls(contract, target, columns or tuple(allowed))

    def stands(self, target: RowRead, authority: RowRead) -> Stands:
        """Tell how a row stands."""
        if target.digest != authority.digest:
            return Stands.DIFFERS
        if not target.values:
            return Stands.ABSENT
        return Stands.TO_ALIGN if unlike(target.values, authority.values, self.columns) else Stands.ALIKE


@dataclass(frozen=True, slots=True)
class Asking:
    """Makes the commands that a person asks for."""

    deployment: Deployment
    aim: Aim
    life_ms: int

    def rows(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Stands, RepairCommand | None]]:
        """Yield the rows of canonical keys as they stand, each sealed key with the unsigned command that aligns it."""
        from app.adapters.seal import KeySeals
        from app.cli.applier import row_stores

        aim, stores = self.aim, row_stores(self.deployment.settings)
        if not {aim.store, aim.contract.authority} <= stores.keys():
            raise ContractViolation("only SQL stores are read row by row", where=f"contract {aim.contract.entity}")
        seals = KeySeals.from_folder(self.deployment.settings.keys_dir)
        for at in range(0, len(keys), _READ_AT_ONCE):
            part = keys[at : at + _READ_AT_ONCE]
            named = [(aim.contract.entity, key) for key in part]
            pairs = zip(stores[aim.store].read(named), stores[aim.contract.authority].read(named), strict=True)
            for key, (target, authority) in zip(part, pairs, strict=True):
                stands, sealed = aim.stands(target, authority), seals.seal_key(aim.contract.entity, key)
                is_wanted = stands is Stands.TO_ALIGN
                made = self._command(key, sealed, target, authority, stores[aim.store]) if is_wanted else None
                yield sealed, stands, made

    def _command(
        self, key: bytes, sealed_key: bytes, target: RowRead, authority: RowRead, store: RowStore
    ) -> RepairCommand:
        from app.adapters.seal import read_key
        from app.adapters.system_clock import wall_ms
        from app.core.digest import keyed_hash, partition_of

        aim, settings = self.aim, self.deployment.settings
        columns = unlike(target.values, authority.values, aim.columns)
        key_hash = keyed_hash(read_key(settings.keys_dir / "digest.key"), aim.contract.number, key)
        after = aligned(target.values, authority.values, columns)
        return transform_of(
            aim.contract,
            aim.store,
            key_hash=key_hash,
            sealed_key=sealed_key,
            partition=partition_of(key_hash, settings.partitions),
            columns=columns,
            expected_spelling=store.spelling(aim.contract.entity, target.values),
            intended_spelling=store.spelling(aim.contract.entity, after),
            now_wall_ms=wall_ms(),
            life_ms=self.life_ms,
        )


@click.command()
@click.argument("entity")
@click.argument("keys", nargs=-1)
@click.option("--keys", "keys_from", type=click.File(), help="A file with more keys, one a line; - is stdin.")
@click.option("--store", help="The replica.  [default: the one that the contract lets be aligned]")
@click.option("--column", "columns", multiple=True, help="A field.  [default: all that the contract names]")
@click.option("--for", "life_ms", type=Duration(), default=_LIFE_MS, help="How long it may be tried.  [default: 1h]")
@WAIT_OPTION
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    entity: str,
    keys: tuple[str, ...],
    keys_from: IO[str] | None,
    store: str | None,
    columns: tuple[str, ...],
    life_ms: int,
    wait_ms: int,
    yes: bool,
) -> int:
    """Have rows of ENTITY, by their KEYS, spelled in a replica as the authority spells them: blanks, case, digits.

    Only what the contract holds equal and names at `repair.transform` is aligned; a row that differs by the contract is
    a drift and is left out (exit code 1). Each row is a command of its own, signed with the approver's key.

    What is held is sent again for as long as is waited. Exit code 4 if one was refused, 3 if one is held or was not
    answered in time: both come before 1.
    """
    deployment = Deployment.of(invocation, "transform")
    aim = Aim.of(contract_about(deployment, entity), store, columns)
    texts = [*keys, *(line.rstrip("\r\n") for line in keys_from or ())]
    if not 0 < len(texts) <= BATCH_COMMANDS_MAX:
        what = "too many rows at once" if texts else "no row was named"
        raise ContractViolation(what, hint=f"name keys, or give --keys: 1 to {BATCH_COMMANDS_MAX}")
    rows = list(Asking(deployment, aim, life_ms).rows(_canonical(deployment, aim.contract, texts)))
    key_text = sealed_key_opener(deployment)
    print_records(
        [_document(key_text(entity, sealed), stands, made) for sealed, stands, made in rows],
        invocation.output,
        _COLUMNS,
    )
    left = ExitCode.DRIFT if any(stands is Stands.DIFFERS for _, stands, _ in rows) else ExitCode.AGREE
    commands = [made for _, _, made in rows if made is not None]
    if not commands:
        click.echo("driftline: nothing is to be aligned", err=True)
        return left
    if not (yes or (sys.stdin.isatty() and click.confirm(f"align these {len(commands)} rows?", err=True))):
        click.echo("driftline: nothing was sent: say --yes, or run it where it can ask", err=True)
        return ExitCode.REFUSED
    came_to = send_asked_for(deployment, commands, wait_ms)
    return left if came_to is ExitCode.AGREE else came_to


def _canonical(deployment: Deployment, contract: EntityContract, texts: Sequence[str]) -> list[bytes]:
    """Return the keys that a person's words name, each once."""
    from app.adapters.seal import read_key
    from app.cli.key_history import canonical_key, key_values

    digest_key = read_key(deployment.settings.keys_dir / "digest.key")
    kind = deployment.settings.stores[contract.authority].kind
    found = (canonical_key(contract, key_values(contract, text), kind, digest_key) for text in texts)
    return list(dict.fromkeys(found))


def _document(key: str, stands: Stands, made: RepairCommand | None) -> dict[str, object]:
    return {
        "key": key or "?",
        "stands": stands.value,
        "columns": list(made.columns) if made else [],
        "command_id": made.command_id.hex() if made else "",
    }
