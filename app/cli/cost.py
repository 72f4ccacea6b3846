"""`driftline cost`: what a deployment costs, from measured constants; nothing is asked, nothing runs."""

from __future__ import annotations

from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import Output, print_records
from app.core.canary import ENTITY as CANARY
from app.core.store import Converter

if TYPE_CHECKING:
    from app.core.cost import Cost, Costs, EntityLoad, WorkerLimits
    from app.settings import WorkerSettings

_TABLES_MAX: Final = 10_000
_ALIKE: Final = ("tables", "rows", "changes_per_s", "fields", "stores", "converter", "window_s", "zipf")
"""What describes tables that are all alike."""

_WORKER, _WHOLE = "(worker)", "(all)"
"""Rows that are no entity: a name of one has no brackets."""

_FIGURES: Final[dict[str, tuple[str, float]]] = {
    "ingest cores": ("ingest_cores", 1),
    "fold cores": ("fold_cores", 1),
    "memory MB": ("memory_bytes", 1e6),
    "disk MB": ("disk_bytes", 1e6),
    "CDC MB/s": ("cdc_bytes_per_s", 1e6),
    "observations MB/s": ("observations_bytes_per_s", 1e6),
    "changelog MB/s": ("changelog_bytes_per_s", 1e6),
    "recovery s": ("recovery_s", 1),
}
"""What a person reads: which figure, and by what it is divided. Programs read the figures themselves."""


class _Finite(click.FloatRange):
    """A range of floats that `nan` is not in, though no bound refuses it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - Click's
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


@click.command()
@click.option("--rates", type=click.Path(path_type=Path, dir_okay=False), help="YAML: each entity's rows and changes.")
@click.option("--tables", type=click.IntRange(1, _TABLES_MAX), help="Without contracts: so many tables, all alike.")
@click.option("--rows", type=click.IntRange(0, 10**12), help="Rows of each table.")
@click.option("--changes-per-s", type=_Finite(0, 10**8), help="Changes a second of each authority's table.")
@click.option("--fields", type=click.IntRange(1, 10_000), help="Compared fields of each table.")
@click.option("--stores", default=2, show_default=True, type=click.IntRange(2, 16), help="Stores that hold each table.")
@click.option(
    "--converter",
    default=Converter.JSON.value,
    show_default=True,
    type=click.Choice([converter.value for converter in Converter]),
    help="How all connectors write.",
)
@click.option("--window-s", default=10.0, show_default=True, type=_Finite(0, 86_400), help="The window.")
@click.option("--zipf", is_flag=True, help="Few rows change most of the time.")
@click.option(
    "--measured", type=click.Path(path_type=Path, dir_okay=False), help="Figures of `driftline bench --json`."
)
@click.pass_context
def command(
    context: click.Context,
    *,
    rates: Path | None,
    tables: int | None,
    rows: int | None,
    changes_per_s: float | None,
    fields: int | None,
    stores: int,
    converter: str,
    window_s: float,
    zipf: bool,
    measured: Path | None,
) -> int:
    """Compute cores, memory, disk, traffic and time to recover: per entity, for a worker before any row, and of all.

    Give --rates for the contracts of the settings, or --tables, --rows, --changes-per-s and --fields without any.
    """
    from app.bench.calibration import read_constants
    from app.core.cost import EntityLoad, costs_of
    from app.core.cost_constants import SHIPPED
    from app.settings import WorkerSettings

    invocation: Invocation = context.obj
    if rates is not None:
        given = [name for name in _ALIKE if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"--rates and the contracts say it: leave --{given[0].replace('_', '-')} out")
        loads, worker, standbys = _declared(invocation, rates)
    elif tables is None or rows is None or changes_per_s is None or fields is None:
        raise click.UsageError("give --rates FILE, or all of --tables, --rows, --changes-per-s and --fields")
    else:
        worker, standbys = WorkerSettings(), 0
        converters = (Converter(converter),) * stores
        loads = [
            EntityLoad(f"table_{n}", rows, changes_per_s, fields, converters, round(window_s * 1_000), zipf)
            for n in range(1, tables + 1)
        ]
    constants = SHIPPED if measured is None else read_constants(measured, SHIPPED)
    costs = costs_of(loads, constants, _limits(worker, standbys))
    _print(invocation.output, costs)
    if costs.whole.memory_bytes > worker.memory_bytes_max:
        click.echo(
            "driftline: one worker would need more memory than worker.memory_bytes_max\n"
            "  hint: run more workers, or raise it",
            err=True,
        )
    return ExitCode.AGREE


def _declared(invocation: Invocation, rates: Path) -> tuple[list[EntityLoad], WorkerSettings, int]:
    from app.codec.contract_file import load_contracts
    from app.codec.rates_file import read_loads

    settings = invocation.settings()
    # The canary's table changes a few times a minute: nobody needs to state its rates.
    contracts = [c for c in load_contracts(settings.contracts_dir, settings) if c.entity != CANARY]
    return read_loads(rates, contracts, settings.stores), settings.worker, settings.standby_replicas


def _limits(worker: WorkerSettings, standbys: int) -> WorkerLimits:
    from app.agents.memory_shares import MemoryShares
    from app.core.cost import WorkerLimits

    shares = MemoryShares.of(worker.memory_bytes_max)
    return WorkerLimits(shares.block_cache_bytes + shares.write_buffers_bytes, standbys)


def _print(output: Output, costs: Costs) -> None:
    named = [(load.entity, cost) for load, cost in costs.entities]
    named += [(_WORKER, costs.worker), (_WHOLE, costs.whole)]
    if output is not Output.TABLE:
        print_records([{"entity": name, **asdict(cost)} for name, cost in named], output, ())
        return
    print_records([{"entity": name, **_shown(cost)} for name, cost in named], output, ("entity", *_FIGURES))


def _shown(cost: Cost) -> dict[str, object]:
    figures = asdict(cost)
    return {title: f"{figures[name] / unit:,.3g}" for title, (name, unit) in _FIGURES.items()}
