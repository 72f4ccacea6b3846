"""`driftline replay`: judge every finding again from what it cites, and with `--topics` from the observations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from app.cli.deployment import MOMENT, Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import Output, json_line, print_records, safe_text
from app.core.errors import ContractViolation, Undecodable
from app.core.finding import Finding
from app.core.published import PublishedFinding
from app.core.replay import Again, Lives, recompute
from app.topics import DRIFTS, OBSERVATIONS

if TYPE_CHECKING:
    from app.adapters.seal import KeySeals
    from app.adapters.topic_log import LogRecord

_COLUMNS: Final = ("at", "entity", "replica", "kind", "stage", "why", "place", "finding_id")


@dataclass(frozen=True, slots=True)
class Read:
    """One record of the drifts topic, and where it stands."""

    published: PublishedFinding
    place: str
    at_wall_ms: int


def judged_again(records: Iterable[Read], seals: KeySeals | None, *, is_whole: bool) -> Iterator[dict[str, Any]]:
    """Yield for each record how it came out; `is_whole` says that the records begin with the first."""
    from app.codec.rendering import wall_text

    lives: dict[int, Lives] = {}
    for read in records:
        finding = read.published.finding
        key, why_sealed = _opened(read.published, seals)
        again = recompute(finding, key)
        life = lives.setdefault(finding.observations_partition, Lives(is_whole=is_whole)).follow(finding)
        faults = [fault for fault in (again.why, life, why_sealed) if fault]
        yield {
            "at": wall_text(read.at_wall_ms),
            "entity": finding.entity,
            "replica": finding.replica,
            "kind": finding.kind.value if finding.kind else None,
            "stage": finding.stage.value,
            "result": Again.DIFFERENT.value if faults else again.again.value,
            "why": "; ".join(faults),
            "place": read.place,
            "finding_id": finding.finding_id.hex(),
        }


def _opened(published: PublishedFinding, seals: KeySeals | None) -> tuple[bytes | None, str]:
    """Return the row's key where it can be opened, and what is wrong with its seal."""
    if seals is None or not published.sealed_key:
        return None, ""
    try:
        return seals.open_key(published.finding.entity, published.sealed_key), ""
    except Undecodable as fault:
        return None, f"its key does not open: {fault.what}"


def _seals(deployment: Deployment) -> KeySeals | None:
    """Return the deployment's seals; without them a finding's id is not computed again, and that is said."""
    from app.adapters.seal import KeySeals

    try:
        return KeySeals.from_folder(deployment.settings.keys_dir)
    except ContractViolation as missing:
        click.echo(f"driftline: findings' ids are not computed again: {safe_text(str(missing))}", err=True)
        return None


def _read(deployment: Deployment, since: int | None, until: int | None, wrong: list[dict[str, Any]]) -> Iterator[Read]:
    """Yield the findings; a record that cannot be read cannot be judged again, and is put among the wrong ones."""

    def unreadable(record: LogRecord, fault: Undecodable) -> None:
        place = f"{record.partition}@{record.offset}"
        wrong.append({"result": Again.DIFFERENT.value, "why": f"it cannot be read: {fault.what}", "place": place})

    for record, published in deployment.records(DRIFTS, deployment.codec.read_finding, since, unreadable):
        if until is None or record.at_wall_ms < until:
            yield Read(published, f"{record.partition}@{record.offset}", record.at_wall_ms)


def _folded_again(deployment: Deployment, until: int | None) -> tuple[list[Finding], int]:
    """Fold all observations again; return the findings, and how many links did not fit their chains."""
    from app.cli.refold import Refold
    from app.codec.blocks import unpack
    from app.codec.contract_file import load_contracts

    settings = deployment.settings
    contracts = load_contracts(settings.contracts_dir, settings)
    folds: dict[int, Refold] = {}
    found: list[Finding] = []
    for record, observation in deployment.records(OBSERVATIONS, lambda value: unpack(value or b"")):
        if until is None or record.at_wall_ms < until:
            fold = folds.setdefault(record.partition, Refold(contracts, record.partition))
            found.extend(fold.take(observation))
    return found, sum(fold.dropped_links for fold in folds.values())


@click.command()
@click.option("--from", "since", type=MOMENT, help="Records from here on: a time ago (2h) or RFC 3339.")
@click.option("--to", "until", type=MOMENT, help="Records before this moment.")
@click.option("--topics", is_flag=True, help="Judge again from the observations too, as far as Kafka still has them.")
@click.pass_obj
def command(invocation: Invocation, *, since: int | None, until: int | None, topics: bool) -> int:
    """Recompute each verdict from what it cites; report every one that does not come out the same.

    Exit code 1 if one does not.
    """
    if topics and since is not None:
        raise click.UsageError("--topics begins with the first observation: leave --from out")
    deployment = Deployment.of(invocation, "replay")
    told: list[Finding] = []

    def remembered(records: Iterable[Read]) -> Iterator[Read]:
        for read in records:
            if topics:
                told.append(read.published.finding)
            yield read

    results: Counter[str] = Counter()
    wrong: list[dict[str, Any]] = []
    records = remembered(_read(deployment, since, until, wrong))
    for document in judged_again(records, _seals(deployment), is_whole=since is None):
        results[document["result"]] += 1
        if document["result"] == Again.DIFFERENT.value:
            wrong.append(document)
    if topics:
        wrong += _against_observations(deployment, told, until)
    results[Again.DIFFERENT.value] = len(wrong)
    _print(invocation.output, wrong, results)
    return ExitCode.DRIFT if wrong else ExitCode.AGREE


def _against_observations(deployment: Deployment, told: list[Finding], until: int | None) -> list[dict[str, Any]]:
    from app.cli.refold import differences

    again, dropped = _folded_again(deployment, until)
    if dropped:
        click.echo(
            f"driftline: {dropped} links did not fit their chains: Kafka no longer has all observations\n"
            "  hint: only what the records themselves cite can be judged again that far back",
            err=True,
        )
    by_id = {f.finding_id: f for f in (*again, *told)}
    return [
        {
            "at": "",
            "entity": by_id[finding_id].entity,
            "replica": by_id[finding_id].replica,
            "kind": kind.value if (kind := by_id[finding_id].kind) else None,
            "stage": "confirmed",
            "result": Again.DIFFERENT.value,
            "why": why,
            "place": str(by_id[finding_id].observations_partition),
            "finding_id": finding_id.hex(),
        }
        for finding_id, why in sorted(differences(told, again).items())
    ]


def _print(output: Output, wrong: list[dict[str, Any]], results: Counter[str]) -> None:
    counts = {again.value: results[again.value] for again in Again}
    if output is Output.JSON:
        click.echo(json_line({"counts": counts, "different": wrong}))
        return
    if wrong:
        print_records(wrong, output, _COLUMNS)
    summary = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    if output is Output.TABLE:
        click.echo(f"{sum(counts.values())} records judged again: {summary}")
    else:
        click.echo(json_line({"counts": counts}))
