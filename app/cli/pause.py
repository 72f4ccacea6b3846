"""`driftline pause`: stop the applier before its next write. The word is recorded, and outlives a restart."""

from __future__ import annotations

import getpass

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.codec.control import KEY, Control, Said, encode_control

_TEXT_MAX = 500


def say(invocation: Invocation, said: Said, by: str, why: str) -> None:
    """Record a word for all appliers of the deployment."""
    from app.adapters.kafka import KafkaClients
    from app.adapters.system_clock import wall_ms
    from app.topics import CONTROL

    settings = invocation.settings()
    sink = KafkaClients.of(settings).producer("driftline-control")
    word = Control(said, by[:_TEXT_MAX], wall_ms(), why[:_TEXT_MAX])
    sink.send(CONTROL.name(settings.deployment), 0, KEY, encode_control(word))
    sink.flush()


@click.command()
@click.option("--why", default="", help="Recorded beside the word.")
@click.option("--by", default=getpass.getuser, help="Who says so.  [default: the login's name]")
@click.pass_obj
def command(invocation: Invocation, *, why: str, by: str) -> int:
    """Stop the applier before its next write. What it has in hand it finishes."""
    say(invocation, Said.PAUSE, by, why)
    click.echo("repairs are paused; `driftline resume` lets them go on", err=True)
    return ExitCode.AGREE
