"""`driftline drifts`: the drifts so far, or as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import click

from app.cli.deployment import MOMENT, Deployment, tell_unreadable
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import Output, print_line, print_records
from app.core.errors import Undecodable
from app.core.finding import Stage
from app.core.published import PublishedFinding
from app.topics import DRIFTS

_OPEN: Final = frozenset({Stage.CONFIRMED.value, Stage.OVERTAKEN.value, Stage.DISPUTED.value})
_COLUMNS: Final = ("at", "entity", "replica", "kind", "stage", "columns", "rows", "key_hash", "finding_id")
_COLUMNS_WITH_KEY: Final = tuple("key" if name == "key_hash" else name for name in _COLUMNS)

Document = dict[str, Any]


Render = Callable[[PublishedFinding, int], Document]


def _renderer(deployment: Deployment, *, keys: bool) -> Render:
    """Return what turns a finding into what is printed, with the row's key if it was asked for."""
    from app.codec.rendering import finding_document

    if not keys:
        return finding_document
    from app.cli.row_keys import key_opener

    opened = key_opener(deployment)
    return lambda published, at_wall_ms: {**finding_document(published, at_wall_ms), "key": opened(published)}


def _documents(deployment: Deployment, since_wall_ms: int | None, render: Render) -> Iterator[Document]:
    for record, published in deployment.records(DRIFTS, deployment.codec.read_finding, since_wall_ms):
        yield render(published, record.at_wall_ms)


def _coming(deployment: Deployment, since_wall_ms: int, render: Render) -> Iterator[Document]:
    for record in deployment.log.on_and_on([DRIFTS.name(deployment.settings.deployment)], since_wall_ms):
        if record is None or record.value is None:
            continue
        try:
            yield render(deployment.codec.read_finding(record.value), record.at_wall_ms)
        except Undecodable as fault:
            tell_unreadable(record, fault)


def _row(document: Document) -> Document:
    return {
        **document,
        "rows": document["incident_rows"] or "",
        "key_hash": document["key_hash"][:12] or "incident",
    }


def _is_open(document: Document) -> bool:
    """Tell whether a drift is not over. An incident's own record only counts rows that have records of their own."""
    return document["stage"] in _OPEN and not document["incident_rows"]


def newest_of_each(documents: Iterable[Document]) -> list[Document]:
    """Return each drift's newest step, in the order of its first."""
    newest: dict[tuple[str, bool], Document] = {}
    for document in documents:
        newest[document["finding_id"], bool(document["incident_rows"])] = document
    return list(newest.values())


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until stopped.")
@click.option("--since", type=MOMENT, help="Only records from here on: a time ago (10m) or RFC 3339.")
@click.option("--entity", help="Only this entity.")
@click.option("--open", "only_open", is_flag=True, help="Only drifts that are not over.")
@click.option("--keys", is_flag=True, help="Show rows' keys; needs the deployment's keys.")
@click.option("--history", is_flag=True, help="Every step of every drift, not only the newest.")
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    follow: bool,
    since: int | None,
    entity: str | None,
    only_open: bool,
    keys: bool,
    history: bool,
) -> int:
    """List drifts, or follow them as they come. Exit code 1 if one of them is open."""
    deployment = Deployment.of(invocation, "drifts")
    render = _renderer(deployment, keys=keys)
    columns = _COLUMNS_WITH_KEY if keys else _COLUMNS

    def wanted(document: Document) -> bool:
        return (entity is None or document["entity"] == entity) and (not only_open or _is_open(document))

    if follow:
        from app.adapters.system_clock import wall_ms

        coming = _coming(deployment, wall_ms() if since is None else since, render)
        _follow(invocation.output, (d for d in coming if wanted(d)), columns)
        return ExitCode.AGREE
    found = [d for d in _documents(deployment, since, render) if entity is None or d["entity"] == entity]
    newest = newest_of_each(found)
    documents = [d for d in (found if history else newest) if wanted(d)]
    # Partitions come one after another; people read by time.
    documents.sort(key=lambda document: str(document["at"]))
    shown = [_row(d) for d in documents] if invocation.output is Output.TABLE else documents
    print_records(shown, invocation.output, columns)
    return ExitCode.DRIFT if any(_is_open(d) for d in newest) else ExitCode.AGREE


def _follow(output: Output, coming: Iterator[Document], columns: tuple[str, ...]) -> None:
    if output is not Output.TABLE:
        print_records(coming, Output.JSONL, columns)
        return
    for document in coming:
        print_line([_row(document)[column] for column in columns])
