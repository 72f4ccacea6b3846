"""`driftline init`: keys, own tables, roles and rights, own topics. Shows the SQL and runs it on a word."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import safe_text
from app.core.errors import ContractViolation
from app.core.store import StoreKind

if TYPE_CHECKING:
    from app.adapters.own_tables import Statement
    from app.settings import StoreSettings


@click.command()
@click.option("--store", "only", multiple=True, help="Only this store (may be given several times); no topics then.")
@click.option("--print", "only_print", is_flag=True, help="Show the SQL and change nothing.")
@click.option("--yes", is_flag=True, help="Run it without asking.")
@click.option(
    "--accept-server",
    "accepted",
    multiple=True,
    help="Let repairs go on in this store, where another server answers since a failover or a restore.",
)
@click.pass_obj
def command(
    invocation: Invocation, *, only: tuple[str, ...], only_print: bool, yes: bool, accepted: tuple[str, ...]
) -> int:
    """Make keys, topics and Driftline's own tables, roles and rights in every store. Run it as often as you like.

    The roles `beacon`, `read` and `apply` are made with the passwords of their files; a file that is not there is
    made too. Tables of contracts that do not exist yet get their rights when it is run again.
    """
    from app.adapters.own_tables import accepts_server, run, statements
    from app.adapters.side_effects import side_effects
    from app.codec.contract_file import load_contracts

    settings = invocation.settings()
    unknown = sorted({*only, *accepted} - set(settings.stores))
    if unknown:
        raise ContractViolation(f"no store is named {unknown[0]}", hint=f"one of {', '.join(settings.stores)}")
    contracts = load_contracts(settings.contracts_dir, settings)
    stores = [
        store
        for store in settings.stores.values()
        if store.kind is not StoreKind.MONGODB and (not only or store.name in {*only, *accepted})
    ]
    scripts = {store.name: statements(store, contracts) for store in stores}
    for store in stores:
        scripts[store.name] += [accepts_server(store)] if store.name in accepted else []
    if only_print or not yes:
        _show(stores, scripts)
    if only_print:
        return ExitCode.AGREE
    if not yes and not _is_wanted():
        return ExitCode.REFUSED
    _make_secrets(invocation)
    for store in stores:
        missing = run(store, scripts[store.name])
        click.echo(f"store {store.name}: ready", err=True)
        for table in missing:
            click.echo(f"store {store.name}: {safe_text(table)} is not there yet: run init again when it is", err=True)
        for effect in side_effects(store, contracts):
            click.echo(
                f"store {store.name}: {safe_text(effect)}: repairs that would write more than their row by it are"
                f" {'refused' if store.kind is StoreKind.MARIADB else 'refused, but for triggers, which go unseen'}",
                err=True,
            )
    if not only:
        _make_topics(invocation)
    return ExitCode.AGREE


def _show(stores: list[StoreSettings], scripts: dict[str, list[Statement]]) -> None:
    for store in stores:
        click.echo(f"-- store {store.name}: {store.kind.value} at {store.host}:{store.port}")
        for statement in scripts[store.name]:
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
