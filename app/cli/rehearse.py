"""`driftline rehearse`: have the appliers try batches of repairs, to a rollback, and show what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from app.cli.approve import Duration, approver_key, send_words, signed_word
from app.cli.batches import ROWS, row_document, the_batch
from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records, safe_text
from app.cli.proposals import Rehearsals, read_proposals
from app.cli.row_keys import sealed_key_opener
from app.core.errors import Undecodable
from app.core.limits import REHEARSAL_LIFE_MS
from app.core.rehearsal import Rehearsal
from app.topics import REHEARSALS

if TYPE_CHECKING:
    from app.core.batch import Batch

_WAIT_MS: Final = 60_000


@click.command()
@click.argument("batches", nargs=-1, required=True)
@click.option("--why", default="", help="Recorded and signed beside the word.")
@click.option("--wait", "wait_ms", type=Duration(), default=_WAIT_MS, help="How long to wait.  [default: 1m]")
@click.pass_obj
def command(invocation: Invocation, *, batches: tuple[str, ...], why: str, wait_ms: int) -> int:
    """Have BATCHES of repairs tried: the write itself, with all its checks and locks, to a rollback.

    The applier does it, at an approver's signed word, where its target is, or in the target's staging copy; no row is
    changed. Exit code 4 if a row would not be written, 3 if not every row was tried in time; `driftline batches BATCH`
    shows what comes later.
    """
    from app.adapters.system_clock import wall_ms

    deployment = Deployment.of(invocation, "rehearse")
    settings, proposals = deployment.settings, read_proposals(deployment)
    chosen = [the_batch(proposals.batches(), each) for each in dict.fromkeys(batches)]
    key, person = approver_key(settings)
    begin = deployment.log.ends([REHEARSALS.name(settings.deployment)], latest=True)
    said_at_ms = wall_ms()
    words = [
        signed_word(
            settings.deployment,
            batch,
            key,
            said_at_ms,
            approved=False,
            why=why,
            life_ms=REHEARSAL_LIFE_MS,
            rehearses=True,
        )
        for batch in chosen
    ]
    send_words(deployment, zip(chosen, words, strict=True))
    rows = sum(len(batch.members) for batch in chosen)
    click.echo(f"asked for: {rows}, by {safe_text(person)}", err=True)
    shown = Rehearsals.of(_answers(deployment, chosen, begin, wait_ms))
    key_text = sealed_key_opener(deployment)
    documents = [
        row_document(row, member, shown, key_text)
        for batch in chosen
        for row, member in zip(batch.commands, batch.members, strict=True)
    ]
    print_records(documents, invocation.output, ROWS)
    if len(shown.last) < rows:
        click.echo(
            f"driftline: not tried in time: {rows - len(shown.last)}; are the appliers up, and not paused?", err=True
        )
        return ExitCode.UNKNOWN
    return ExitCode.REFUSED if any(each.reason for each in shown.last.values()) else ExitCode.AGREE


def _answers(
    deployment: Deployment, chosen: Sequence[Batch], begin: dict[tuple[str, int], int], wait_ms: int
) -> list[Rehearsal]:
    """Return what came of the rows of batches, from these offsets on, until all were tried or the time is over."""
    left = {(batch.batch_id, member) for batch in chosen for member in batch.members}
    deadline = time.monotonic() + wait_ms / 1_000
    found = []
    for record in deployment.log.on_and_on([REHEARSALS.name(deployment.settings.deployment)], begin):
        if record is not None:
            try:
                told = deployment.codec.read_rehearsal(record.value)
            except Undecodable:
                continue
            if (told.batch_id, told.member) in left:
                left.discard((told.batch_id, told.member))
                found.append(told)
        if not left or time.monotonic() > deadline:
            break
    return found
