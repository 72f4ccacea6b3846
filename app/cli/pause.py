"""`driftline pause`, `panic` and `resume`: stop the appliers, or let them go on. Words outlive a restart."""

from __future__ import annotations

import getpass
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import safe_text
from app.codec.control import KEY, encode_control
from app.core.errors import ContractViolation
from app.core.signing import signed_form
from app.core.switch import Control, Said

if TYPE_CHECKING:
    from app.cli.deployment import Deployment
    from app.settings import Settings

_TEXT_MAX: Final = 500
_SHARD: Final = re.compile(r"[^/\s]{1,200}/[^/\s]{1,64}/[0-9]{1,4}")

_why = click.option("--why", default="", help="Recorded beside the word.")
_shard = click.option("--shard", default="", help="Only in this shard, as `driftline status` names it.")
_by = click.option("--by", default=getpass.getuser, help="Who says so.  [default: the login's name]")


def say(settings: Settings, word: Control) -> None:
    """Record a word for all appliers of the deployment."""
    from app.adapters.kafka import KafkaClients
    from app.topics import CONTROL

    sink = KafkaClients.of(settings).producer("driftline-control")
    sink.send(CONTROL.name(settings.deployment), 0, KEY, encode_control(word))
    sink.flush()


def _stop(said: Said, by: str, why: str, shard: str = "") -> Control:
    from app.adapters.system_clock import wall_ms

    if shard and _SHARD.fullmatch(shard) is None:
        raise ContractViolation("no shard is named so", hint="write ENTITY/STORE/NUMBER, as orders/my/3")
    return Control(said, by[:_TEXT_MAX], wall_ms(), why[:_TEXT_MAX], shard=shard)


@click.command()
@_why
@_by
@_shard
@click.pass_obj
def command(invocation: Invocation, *, why: str, by: str, shard: str) -> int:
    """Stop the appliers before their next commit, by Kafka: what is being written is taken back. Needs no key.

    With --shard: quarantine one, where only what a person approves is repaired from then on.
    """
    say(invocation.settings(), _stop(Said.PAUSE, by, why, shard))
    where = f" in {shard}" if shard else ""
    click.echo(f"repairs are stopped{where}; an approver's `driftline resume` lets them go on", err=True)
    return ExitCode.AGREE


@click.command()
@_why
@_by
@click.pass_obj
def panic(invocation: Invocation, *, why: str, by: str) -> int:
    """Stop the appliers before their next commit, by Kafka and, on this host, by a file. Needs no key.

    Where neither can be reached, stop them in the database: UPDATE driftline_fence SET token = 1 WHERE scope = 'stop'.
    """
    settings = invocation.settings()
    try:
        settings.panic_file.touch(mode=0o600)
        click.echo(f"made {settings.panic_file}: the applier of this host is stopped", err=True)
    except OSError as error:
        click.echo(f"driftline: {settings.panic_file}: {error.strerror}", err=True)
    say(settings, _stop(Said.PANIC, by, why))
    click.echo("repairs are stopped; an approver's `driftline resume` lets them go on", err=True)
    return ExitCode.AGREE


@click.command()
@_why
@_shard
@click.option("--unproven", is_flag=True, help="Lift a shard's quarantine though it was not revalidated; say --why.")
@click.pass_obj
def resume(invocation: Invocation, *, why: str, shard: str, unproven: bool) -> int:
    """Let the appliers go on: a word that is signed with the approver's key, and lifts every stop up to now.

    A file that `driftline panic` left on this host is taken away; one on another host is taken away there.

    With --shard: lift the quarantine of one. Refused while it was not revalidated: both its tables read whole by the
    conductor since, nothing open, nothing unknown. What stops everything stays as it is.
    """
    from app.cli.approve import approver_key
    from app.cli.deployment import Deployment

    settings = invocation.settings()
    key, person = approver_key(settings)
    deployment = Deployment(settings, "driftline-resume")
    words = _words(deployment)
    if shard:
        why = _reason_to_lift(deployment, words, shard, why, unproven=unproven)
    last = words[-1][0] if words else -1
    word = replace(_stop(Said.RESUME, person, why, shard), lifts_through=last, key_id=key.key_id)
    word = replace(word, signature=key.sign(signed_form(settings.deployment, word)))
    if not shard:
        settings.panic_file.unlink(missing_ok=True)
    say(settings, word)
    for stop in [stop for _, stop in words if stop.said is not Said.RESUME and stop.shard == shard][-1:]:
        click.echo(
            f"lifted: {stop.said.value} by {safe_text(stop.by)} ({safe_text(stop.why) or 'no reason'})", err=True
        )
    where = f" in {shard}" if shard else ""
    click.echo(f"repairs go on{where}, by {safe_text(person)}; `driftline pause` stops them", err=True)
    return ExitCode.AGREE


def _reason_to_lift(
    deployment: Deployment, words: list[tuple[int, Control]], shard: str, why: str, *, unproven: bool
) -> str:
    """Return what is recorded beside the lifting of a quarantine; `ContractViolation` where it may not be lifted."""
    from app.cli.row_keys import contracts_of
    from app.cli.shards import quarantined, read_known

    stop = quarantined(words).get(shard)
    if stop is None:
        raise ContractViolation("this shard is not quarantined", where=shard, hint="`driftline status` lists those")
    missing = read_known(deployment).missing(contracts_of(deployment), shard, stop.at_ms)
    told = ", ".join(f"{what.value} ({store})" for what, store in missing)
    if missing and not (unproven and why):
        hint = "wait for `driftline conductor`, repair by `driftline approve`; or say --unproven and --why"
        raise ContractViolation(f"the shard was not revalidated: {told}", where=shard, hint=hint)
    return f"not revalidated, {told}: {why}" if missing else why


def _words(deployment: Deployment) -> list[tuple[int, Control]]:
    """Return all words of the topic with their offsets."""
    from app.codec.control import decode_control
    from app.topics import CONTROL

    return [(record.offset, word) for record, word in deployment.records(CONTROL, decode_control)]
