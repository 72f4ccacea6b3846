"""The command `driftline`: global options, the list of commands, and how an error is told.

A command's module is imported when the command is run, so that `--help` is quick and one command's missing library
does not take the others down.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import Output, safe_text
from app.core.errors import DriftlineError

_COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "init": ("app.cli.init", "command", "Make keys, topics and Driftline's own tables in every store."),
    "check": (
        "app.cli.check",
        "command",
        "Check contracts, connectors and databases for what would make verdicts lie.",
    ),
    "beacon": ("app.cli.beacon", "command", "Write the beacons that give all stores a common time."),
    "worker": ("app.cli.worker", "command", "Read the change streams, compare, and plan repairs."),
    "conductor": ("app.cli.conductor", "command", "Have tables read again, and hold them against their logs."),
    "canary": (
        "app.cli.canary",
        "command",
        "Plant drifts in a table of its own, and measure whether they are told.",
    ),
    "applier": ("app.cli.applier", "command", "Carry out repair commands, guarded."),
    "batches": ("app.cli.batches", "command", "List the batches of repairs that wait for a person."),
    "rehearse": ("app.cli.rehearse", "command", "Try batches of repairs, to a rollback: what they would touch."),
    "approve": ("app.cli.approve", "command", "Say yes to batches of repairs, signed."),
    "reject": ("app.cli.approve", "reject", "Say no to batches of repairs, signed, for good."),
    "keys": ("app.cli.keys", "command", "Make keys to sign with, list who is trusted, rotate master keys."),
    "undo": ("app.cli.undo", "command", "Take back repairs: a command, a batch, or those of a time."),
    "transform": (
        "app.cli.transform",
        "command",
        "Have columns spelled as the authority spells them, where the contract holds both equal.",
    ),
    "pause": ("app.cli.pause", "command", "Stop the applier before its next write."),
    "panic": ("app.cli.pause", "panic", "Stop the applier before its next commit."),
    "resume": ("app.cli.pause", "resume", "Let the applier write: an approver's word."),
    "audit": ("app.cli.audit", "command", "Check that the targets' ledgers are whole and unaltered."),
    "status": ("app.cli.status", "command", "Show how far each store is proven, and what is open."),
    "drifts": ("app.cli.drifts", "command", "List drifts, or follow them as they come."),
    "explain": ("app.cli.explain", "command", "Show one key's history in every store, and why the verdict."),
    "history": ("app.cli.history", "command", "Keep the history of drifts and repairs in SQL, and ask it."),
    "bench": ("app.cli.bench", "command", "Measure what a change costs on this machine."),
    "simulate": ("app.cli.simulate", "command", "Run the core in worlds that misbehave, against exact truth."),
    "cost": ("app.cli.cost", "command", "Compute what a deployment costs, from measured constants."),
    "replay": ("app.cli.replay", "command", "Recompute verdicts from what they cite; report any that differs."),
}
"""Name: module, attribute, what it does."""

_OUTPUTS: Final = click.Choice([o.value for o in Output])


def _take_output_too(command: click.Command) -> None:
    """Let `-o` stand behind a command as well as before it; the nearer one counts."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _take_output_too(inner)
    elif not any("-o" in parameter.opts for parameter in command.params):
        command.params.append(click.Option(["-o", "--output"], type=_OUTPUTS, expose_value=False, callback=_set_output))


def _set_output(ctx: click.Context, _option: click.Parameter, output: str | None) -> None:
    if output is not None:
        ctx.obj = replace(ctx.obj, output=Output(output))


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands that this installation has."""
        del ctx
        return [name for name, (module, _, _) in _COMMANDS.items() if importlib.util.find_spec(module) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; a module that cannot be imported is said to be so."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as missing:
            raise click.ClickException(
                f"the command {cmd_name!r} is not part of this installation: {missing.name} is missing"
            ) from missing
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is no command")
        _take_output_too(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        rows = [(name, _COMMANDS[name][2]) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DRIFTLINE_CONFIG",
    help="The deployment's settings.  [default: ./driftline.yaml]",
)
@click.option(
    "-o",
    "--output",
    type=_OUTPUTS,
    default=Output.TABLE.value,
    envvar="DRIFTLINE_OUTPUT",
    help="How to print what was found; may stand behind the command too.",
)
@click.version_option(package_name="driftline", prog_name="driftline")
@click.pass_context
def group(ctx: click.Context, config: Path | None, output: str) -> None:
    """Watch the change streams of several stores, say when they disagree, and repair what may be repaired.

    Exit codes: 0 agrees, 1 drift found, 2 could not run, 3 something is not proven, 4 refused or not approved.
    """
    beside = Path("driftline.yaml")
    ctx.obj = Invocation(config or (beside if beside.is_file() else None), Output(output))


def _tell(error: DriftlineError) -> None:
    """Tell a person where, what, and what to do, on stderr."""
    where = f"{safe_text(error.where)}: " if error.where else ""
    for line in error.what.splitlines() or [""]:  # a refused file tells all its faults, one a line
        click.echo(f"driftline: {where}{safe_text(line, 2_000)}", err=True)
    if error.hint:
        click.echo(f"  hint: {safe_text(error.hint, 2_000)}", err=True)


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        result = group.main(args=arguments, prog_name="driftline", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as wrong:
        wrong.show(sys.stderr)
        return ExitCode.COULD_NOT_RUN
    except DriftlineError as error:
        _tell(error)
        return ExitCode.COULD_NOT_RUN
    except BrokenPipeError:
        # The reader of our output went away (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.AGREE
    return int(result) if isinstance(result, int) else ExitCode.AGREE


def main() -> NoReturn:
    """Enter here from the shell."""
    sys.exit(run())
