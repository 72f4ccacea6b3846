"""`driftline worker`: read the change streams, compare, and plan repairs."""

from __future__ import annotations

from importlib.metadata import version

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation


@click.command()
@click.pass_obj
def command(invocation: Invocation) -> int:
    """Read the change streams of all stores, say where they disagree, and plan what may be repaired.

    Runs until SIGTERM or SIGINT; then it finishes what it has in hand, commits, and exits with 0.
    """
    from app.adapters.logs import configure_logs
    from app.bootstrap.run import run_worker

    settings = invocation.settings()
    configure_logs("worker", version("driftline"), settings.worker.instance_id)
    run_worker(settings)
    return ExitCode.AGREE
