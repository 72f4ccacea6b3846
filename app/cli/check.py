"""`driftline check`: look for everything that would make verdicts lie, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records
from app.core.preflight.problems import Found, Problem, Severity
from app.declared.fault import Refused

if TYPE_CHECKING:
    from app.core.contract import EntityContract
    from app.settings import Settings

_COLUMNS = ("severity", "problem", "where", "detail", "meaning", "hint")


@click.command()
@click.option("--offline", is_flag=True, help="Check settings and contracts only; ask no server.")
@click.option("--rows", default=100, show_default=True, type=click.IntRange(0, 10_000), help="Live rows per table.")
@click.pass_obj
def command(invocation: Invocation, *, offline: bool, rows: int) -> int:
    """Check contracts, databases, connectors and topics.

    Prints one line for each problem. Exits with 2 if any of them is an error, else with 0; warnings do not count.
    """
    records: list[dict[str, object]]
    try:
        settings, contracts = _declared(invocation)
    except Refused as refused:
        records = [_of_fault(str(fault.place), fault.what, fault.hint) for fault in refused.faults]
    else:
        found: list[Found] = []
        if not offline:
            from app.adapters.preflight import live_problems

            found = list(live_problems(settings, contracts, rows))
        records = [_record(one) for one in sorted(found, key=_order)]
    print_records(records, invocation.output, _COLUMNS)
    _summary(records, offline=offline)
    has_error = any(record["severity"] == Severity.ERROR.value for record in records)
    return ExitCode.COULD_NOT_RUN if has_error else ExitCode.AGREE


def _declared(invocation: Invocation) -> tuple[Settings, tuple[EntityContract, ...]]:
    from app.codec.contract_file import load_contracts

    settings = invocation.settings()
    return settings, load_contracts(settings.contracts_dir, settings)


def _order(found: Found) -> tuple[bool, str, str, str]:
    return found.problem.severity is not Severity.ERROR, found.where, found.problem.code, found.detail


def _record(found: Found) -> dict[str, object]:
    return {
        "severity": found.problem.severity.value,
        "problem": found.problem.code,
        "where": found.where,
        "detail": found.detail,
        "meaning": found.problem.meaning,
        "hint": found.problem.hint,
    }


def _of_fault(where: str, what: str, hint: str) -> dict[str, object]:
    return {**_record(Found(Problem.CONTRACT, where, what)), "meaning": Problem.CONTRACT.meaning, "hint": hint}


def _summary(records: list[dict[str, object]], *, offline: bool) -> None:
    errors = sum(record["severity"] == Severity.ERROR.value for record in records)
    scope = "settings and contracts" if offline else "settings, contracts, databases, connectors and topics"
    warnings = len(records) - errors
    click.echo(f"checked {scope}: {errors} error(s), {warnings} warning(s)", err=True)
