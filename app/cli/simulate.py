"""`driftline simulate`: the product's core in seeded worlds that misbehave, held against exact truth."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.json_file import json_file_option
from app.cli.output import Output, print_records
from app.simulation.faults import Fault
from app.simulation.report import document
from app.simulation.run import simulate
from app.simulation.shrink import failing, shrink, story

_SEEDS: int = 2**31
_STORIES_MOST: int = 3
_CHANGES_MOST: int = 1_000_000  # a world is held in memory


@click.command()
@click.option("--seed", type=click.IntRange(0), help="The first world's seed.  [default: a new one]")
@click.option(
    "--runs", default=20, show_default=True, type=click.IntRange(1), help="So many worlds, of seeds in a row."
)
@click.option(
    "--changes",
    default=20_000,
    show_default=True,
    type=click.IntRange(20, _CHANGES_MOST),
    help="Row changes of each world.",
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 256), help="So many processes.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=click.Choice([fault.value for fault in Fault]),
    help="Only these faults, in every world. May be repeated.  [default: a random subset each]",
)
@click.option("--no-faults", is_flag=True, help="No faults at all.")
@json_file_option
@click.pass_context
def command(
    context: click.Context,
    seed: int | None,
    runs: int,
    changes: int,
    jobs: int,
    faults: tuple[str, ...],
    no_faults: bool,  # noqa: FBT001 - Click's
    json_file: Path | None,
) -> int:
    """Run worlds of misbehaving stores, connectors and workers, and count what was missed or told wrongly.

    Nothing is needed and nothing is touched. The worlds of one seed are always the same; one that fails is shrunk to a
    small story. Exit code 1 says that something was missed, told wrongly, or unknown without a reason.
    """
    invocation: Invocation = context.obj
    first = secrets.randbelow(_SEEDS) if seed is None else seed
    only = frozenset(Fault(name) for name in faults) if faults or no_faults else None
    click.echo(f"seeds {first} to {first + runs - 1}", err=True)
    totals = simulate(range(first, first + runs), changes, jobs, only)
    told = document(totals, first)
    if json_file is not None:
        json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="ascii")
    if invocation.output is Output.TABLE:
        rows = [{"figure": name, "value": value} for name, value in told.items() if name != "faults"]
        print_records(rows, Output.TABLE, ("figure", "value"))
    else:
        print_records([told], invocation.output, ())
    for failed in totals.failed[:_STORIES_MOST]:
        _tell(failed, changes, only)
    return ExitCode.DRIFT if totals.failed else ExitCode.AGREE


def _tell(seed: int, changes: int, faults: frozenset[Fault] | None) -> None:
    """Print the line that makes a failed world again, and the smallest story that still fails."""
    found = failing(seed, changes, faults)
    if found is None:
        raise AssertionError("a world of one seed came out in two ways")
    click.echo(f"failed: {found.command}", err=True)
    smaller = shrink(found)
    click.echo(f"  smaller: {smaller.command}", err=True)
    for line in story(smaller):
        click.echo(f"  {line}", err=True)
