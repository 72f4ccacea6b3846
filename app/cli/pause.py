"""`driftline pause`, `panic` and `resume`: stop the appliers, or let them go on. Words outlive a restart."""

from __future__ import annotations

import getpass
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import safe_text
from app.codec.control import KEY, encode_control
from app.core.signing import signed_form
from app.core.switch import Control, Said

if TYPE_CHECKING:
    from app.settings import Settings

_TEXT_MAX: Final = 500

_why = click.option("--why", default="", help="Recorded beside the word.")
_by = click.option("--by", default=getpass.getuser, help="Who says so.  [default: the login's name]")


def say(settings: Settings, word: Control) -> None:
    """Record a word for all appliers of the deployment."""
    from app.adapters.kafka import KafkaClients
    from app.topics import CONTROL

    sink = KafkaClients.of(settings).producer("driftline-control")
    sink.send(CONTROL.name(settings.deployment), 0, KEY, encode_control(word))
    sink.flush()


def _stop(said: Said, by: str, why: str) -> Control:
    from app.adapters.system_clock import wall_ms

    return Control(said, by[:_TEXT_MAX], wall_ms(), why[:_TEXT_MAX])


@click.command()
@_why
@_by
@click.pass_obj
def command(invocation: Invocation, *, why: str, by: str) -> int:
    """Stop the appliers before their next write. What they have in hand they finish."""
    say(invocation.settings(), _stop(Said.PAUSE, by, why))
    click.echo("repairs are stopped; an approver's `driftline resume` lets them go on", err=True)
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
@click.pass_obj
def resume(invocation: Invocation, *, why: str) -> int:
    """Let the appliers go on: a word that is signed with the approver's key, and lifts every stop up to now.

    A file that `driftline panic` left on this host is taken away; one on another host is taken away there.
    """
    from app.cli.approve import approver_key

    settings = invocation.settings()
    key, person = approver_key(settings)
    last, stops = _last_word(settings)
    word = replace(_stop(Said.RESUME, person, why), lifts_through=last, key_id=key.key_id)
    word = replace(word, signature=key.sign(signed_form(settings.deployment, word)))
    settings.panic_file.unlink(missing_ok=True)
    say(settings, word)
    for stop in stops[-1:]:
        click.echo(
            f"lifted: {stop.said.value} by {safe_text(stop.by)} ({safe_text(stop.why) or 'no reason'})", err=True
        )
    click.echo(f"repairs go on, by {safe_text(person)}; `driftline pause` stops them", err=True)
    return ExitCode.AGREE


def _last_word(settings: Settings) -> tuple[int, list[Control]]:
    """Return the offset of the last record of the topic, -1 if there is none, and the stops that were read."""
    from app.cli.deployment import Deployment
    from app.codec.control import decode_control
    from app.topics import CONTROL

    read: list[tuple[Any, Control]] = list(Deployment(settings, "driftline-resume").records(CONTROL, decode_control))
    return (read[-1][0].offset if read else -1), [word for _, word in read if word.said is not Said.RESUME]
