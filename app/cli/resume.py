"""`driftline resume`: let the applier write. The word is recorded, and outlives a restart."""

from __future__ import annotations

import getpass

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.pause import say
from app.codec.control import Said


@click.command()
@click.option("--why", default="", help="Recorded beside the word.")
@click.option("--by", default=getpass.getuser, help="Who says so.  [default: the login's name]")
@click.pass_obj
def command(invocation: Invocation, *, why: str, by: str) -> int:
    """Let the applier write."""
    say(invocation, Said.RESUME, by, why)
    click.echo("repairs go on; `driftline pause` stops them", err=True)
    return ExitCode.AGREE
