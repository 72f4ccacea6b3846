"""`driftline init`: keys, own tables, roles and rights, own topics. Shows what it would run and runs it on a word."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import safe_text
from app.core.errors import ContractViolation, DriftlineError
from app.core.shard import shard_parts
from app.core.store import StoreKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from app.adapters.own_script import Statement
    from app.core.contract import EntityContract
    from app.settings import StandbySettings, StoreSettings


@click.command()
@click.option("--store", "only", multiple=True, help="Only this store (may be given several times); no topics then.")
@click.option("--print", "only_print", is_flag=True, help="Show what would be run and change nothing.")
@click.option("--yes", is_flag=True, help="Run it without asking.")
@click.option(
    "--accept-server",
    "accepted",
    multiple=True,
    help="Let repairs go on in this store, where another server answers since a failover or a restore.",
)
@click.option(
    "--raise-fence",
    "fenced",
    multiple=True,
    metavar="STORE|SHARD",
    help="Let the fence of this store, or of one of its shards, stand at its token in the settings: repairs that carry"
    " an older one are written no more.",
)
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    only: tuple[str, ...],
    only_print: bool,
    yes: bool,
    accepted: tuple[str, ...],
    fenced: tuple[str, ...],
) -> int:
    """Make keys, topics and Driftline's own tables, roles and rights in every store. Run it as often as you like.

    The roles `beacon`, `read` and `apply` are made with the passwords of their files; a file that is not there is
    made too. Tables of contracts that do not exist yet get their rights when it is run again.
    """
    from app.adapters.own_tables import accepts_server, raises_fence, statements
    from app.codec.contract_file import load_contracts

    settings = invocation.settings()
    fences = [(_store_of(fence), fence) for fence in fenced]
    named = {*only, *accepted, *(name for name, _ in fences)}
    contracts = load_contracts(settings.contracts_dir, settings)
    _check(settings.stores, named, fences, contracts)
    stores = [store for store in settings.stores.values() if not only or store.name in named]
    scripts = {store.name: statements(store, contracts) for store in stores}
    for name in dict.fromkeys(accepted):
        scripts[name] += accepts_server(settings.stores[name])
    for name, fence in dict.fromkeys(fences):
        scripts[name] += raises_fence(settings.stores[name], "" if fence == name else fence)
    if only_print or not yes:
        _show(stores, scripts)
    if only_print:
        return ExitCode.AGREE
    if not yes and not _is_wanted():
        return ExitCode.REFUSED
    _make_secrets(invocation)
    for store in stores:
        _make_ready(store, scripts[store.name], contracts, [fence for name, fence in fences if name == store.name])
    if not only:
        _make_topics(invocation)
    # Last, each for itself: one that is down, or does not follow yet, keeps nothing else from being ready.
    are_ready = [_make_standby_ready(store, standby) for store in stores for standby in store.standbys]
    return ExitCode.AGREE if all(are_ready) else ExitCode.COULD_NOT_RUN


def _make_ready(
    store: StoreSettings, script: list[Statement], contracts: Sequence[EntityContract], raised: Sequence[str]
) -> None:
    from app.adapters.own_tables import run
    from app.adapters.side_effects import side_effects

    missing = run(store, script)
    fences = f", at its token or higher the fence of {', '.join(map(safe_text, raised))}" if raised else ""
    click.echo(f"store {store.name}: ready{fences}", err=True)
    for table in missing:
        click.echo(f"store {store.name}: {safe_text(table)} is not there yet: run init again when it is", err=True)
    for effect in side_effects(store, contracts):
        click.echo(
            f"store {store.name}: {safe_text(effect)}: repairs that would write more than their row by it are"
            f" {'refused' if store.kind is StoreKind.MARIADB else 'refused, but for triggers, which go unseen'}",
            err=True,
        )


def _make_standby_ready(store: StoreSettings, standby: StandbySettings) -> bool:
    from app.adapters.own_tables import run, standby_statements

    where = f"store {store.name}, standby {safe_text(standby.host)}:{standby.port}"
    try:
        run(replace(store, host=standby.host, port=standby.port), standby_statements(store))
    except DriftlineError as fault:
        click.echo(f"{where}: not ready, run init again once it is: {safe_text(fault.what)}", err=True)
        return False
    click.echo(f"{where}: ready", err=True)
    return True


def _store_of(fence: str) -> str:
    """Return the store of a fence, which is named as the store or as a shard of it."""
    parts = shard_parts(fence)
    return fence if parts is None else parts[1]


def _check(
    stores: Mapping[str, StoreSettings],
    named: Collection[str],
    fences: Collection[tuple[str, str]],
    contracts: Iterable[EntityContract],
) -> None:
    """Raise `ContractViolation` for a store that is not there, or for a fence that would stand where it stood."""
    for name in sorted(named):
        if name not in stores:
            raise ContractViolation(f"no store is named {safe_text(name)}", hint=f"one of {', '.join(stores)}")
    for name, fence in fences:
        if fence == name and not stores[name].fence_token:
            hint = "raise `fence_token` there first, for workers and operators alike"
            raise ContractViolation("its fence_token is 0, as in every repair", where=f"store {name}", hint=hint)
        if fence != name and fence not in stores[name].shard_fence_tokens:
            hint = f"add its token to stores.{name}.shard_fence_tokens first, for workers and operators alike"
            raise ContractViolation(f"no token is set for {safe_text(fence)}", where=f"store {name}", hint=hint)
        if fence != name and not any(
            fence.startswith(f"{contract.entity}/{replica.store}/")
            for contract in contracts
            for replica in contract.replicas
        ):
            hint = "name it as `driftline status` does"
            raise ContractViolation(f"no contract repairs {safe_text(fence)}", where=f"store {name}", hint=hint)


def _show(stores: list[StoreSettings], scripts: dict[str, list[Statement]]) -> None:
    from app.adapters.own_tables import standby_statements

    for store in stores:
        click.echo(f"-- store {store.name}: {store.kind.value} at {store.host}:{store.port}")
        end = "" if store.kind is StoreKind.MONGODB else ";"
        for statement in scripts[store.name]:
            click.echo(f"{statement.text}{end}\n")
        for standby in store.standbys:
            click.echo(f"-- store {store.name}, its standby at {safe_text(standby.host)}:{standby.port}")
            for statement in standby_statements(store):
                click.echo(f"{statement.text};\n")


def _is_wanted() -> bool:
    if not sys.stdin.isatty():
        click.echo("driftline: nothing was done: say --yes, or run it where it can ask", err=True)
        return False
    return click.confirm("Run this with the role admin, make the keys and the topics?", err=True)


def _make_secrets(invocation: Invocation) -> None:
    from app.adapters.secret_files import make_secret_files

    for path in make_secret_files(invocation.settings()):
        click.echo(f"made {path}", err=True)


def _make_topics(invocation: Invocation) -> None:
    from app.adapters.kafka import KafkaClients
    from app.adapters.own_topics import make_topics

    settings = invocation.settings()
    for name in make_topics(KafkaClients.of(settings), settings.deployment, settings.partitions):
        click.echo(f"made topic {name}", err=True)
