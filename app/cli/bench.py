"""`driftline bench`: measure what a change costs on this machine."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from app.bench.pictures import draw
from app.bench.plan import FULL, QUICK, Part
from app.bench.report import tables
from app.bench.run import Bench, Told
from app.cli.exit_codes import ExitCode
from app.cli.json_file import json_file_option
from app.cli.output import Output, print_records


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise SystemExit(ExitCode.TERMINATED)


@click.command()
@click.option("--bootstrap", required=True, metavar="HOST:PORT", help="A running Kafka. Nothing else is needed.")
@click.option("--quick", is_flag=True, help="Fewer loads and changes: under five minutes on two cores.")
@click.option("--peers", is_flag=True, help="Run the peers of the same hop too; needs a JDK 17 and Maven.")
@click.option("--repeat", type=click.IntRange(1, 99), help="How often each figure is measured; medians are told.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice([part.value for part in Part]),
    help="Only this part. May be repeated.",
)
@click.option("--load", "loads", multiple=True, metavar="NAME", help="Only this load, as json-10-200k-uniform.")
@click.option("--keys", type=click.IntRange(1), help="So many keys in every load.")
@click.option("--changes", type=click.IntRange(2), help="So many changes in every measured stretch.")
@click.option("--seconds", type=click.FloatRange(1), help="So long are delays looked at, at each share of the load.")
@json_file_option
@click.option("--pictures", type=click.Path(path_type=Path, file_okay=False), help="Draw the figures into this folder.")
def command(
    bootstrap: str,
    quick: bool,  # noqa: FBT001 - Click's
    peers: bool,  # noqa: FBT001 - Click's
    repeat: int | None,
    parts: tuple[str, ...],
    loads: tuple[str, ...],
    keys: int | None,
    changes: int | None,
    seconds: float | None,
    json_file: Path | None,
    pictures: Path | None,
) -> int:
    """Measure on synthetic Debezium traffic what a change costs: CPU, bytes, memory, state, time to a verdict.

    Topics of its own are made and deleted again. A wrong verdict ends it: a bench that misses a planted drift, or finds
    another, measures nothing.
    """
    # What was started is ended and deleted on the way out, whoever asks for it.
    signal.signal(signal.SIGTERM, _leave)
    plan = (QUICK if quick else FULL).of(loads)
    plan = replace(plan, repeat=repeat or plan.repeat, live_s=seconds or plan.live_s)
    plan = plan if keys is None else plan.over(keys)
    plan = plan if changes is None else plan.with_changes(changes)
    wanted = [Part(name) for name in parts] or list(Part)

    def keep(told: Told) -> None:
        if json_file is not None:
            json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="ascii")

    bench = Bench(bootstrap, plan, lambda what: click.echo(what, err=True), with_peers=peers)
    told = bench.run(wanted, keep)
    if pictures is not None:
        draw(told, pictures)
    for title, rows in tables(told):
        click.echo(f"\n{title}")
        print_records(rows, Output.TABLE, list(rows[0]))
    return ExitCode.AGREE
