"""`driftline history`: keeps the history of drifts and repairs in SQL, and answers from it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Final

import click

from app.cli.deployment import MOMENT, Deployment
from app.cli.exit_codes import ExitCode
from app.cli.history_documents import acts_of, change_document, line_of, no_key
from app.cli.invocation import Invocation
from app.cli.output import Output, print_records, safe_text
from app.cli.trusted import belief_of
from app.core.errors import ContractViolation
from app.core.history.changes import UNPROVEN, WRONG, Belief, Change
from app.core.replay import Again

if TYPE_CHECKING:
    from app.adapters.sql_history import SqlHistory
    from app.cli.history_documents import KeyText
    from app.core.contract import EntityContract
    from app.history.projection import Offsets, Projection

_LISTED: Final = ("at", "entity", "store", "action", "row", "why", "who", "ended", "right", "command")
_ACTS: Final = ("at", "store", "what", "who", "why", "evidence", "command")
_PREFIX_MIN: Final = 8
_keys = click.option("--keys", is_flag=True, help="Show rows' keys; needs the deployment's keys.")


@click.group()
def command() -> None:
    """Keep the history of drifts and repairs in SQL, and ask it who changed a row, why, and whether it was right.

    Questions exit with 1 if a change was wrong, and with 3 if one is not proven.
    """


def _projection(deployment: Deployment, store: SqlHistory) -> Projection:
    from app.codec.control import decode_control
    from app.history.projection import Projection, Readers
    from app.topics import APPROVALS, CONTROL, DRIFTS, OUTCOMES, REHEARSALS, REPAIRS

    codec = deployment.codec
    readers: Readers = {
        DRIFTS.dataset: codec.read_finding,
        REPAIRS.dataset: codec.read_command,
        APPROVALS.dataset: codec.read_approval,
        REHEARSALS.dataset: codec.read_rehearsal,
        OUTCOMES.dataset: codec.read_outcome,
        CONTROL.dataset: decode_control,
    }
    return Projection(deployment.settings.deployment, store, readers)


def _ends(deployment: Deployment, projection: Projection, *, latest: bool) -> Offsets:
    names = projection.topics()
    found = deployment.log.ends(list(names), latest=latest)
    return {(names[topic], partition): offset for (topic, partition), offset in found.items()}


@command.command("follow")
@click.option("--once", is_flag=True, help="Only what is there now.")
@click.pass_obj
def follow(invocation: Invocation, *, once: bool) -> int:
    """Put the topics' records into the history as they come, until stopped. Goes on where it was."""
    from app.adapters.history import open_history
    from app.history.projection import check_same_topics, deleted_unread

    deployment = Deployment.of(invocation, "history")
    with closing(open_history(deployment.settings, reads_only=False)) as store:
        with store.transaction():
            store.make()
        projection = _projection(deployment, store)
        spans = store.spans()
        check_same_topics(spans, _ends(deployment, projection, latest=True))
        for (dataset, partition), count in deleted_unread(spans, _ends(deployment, projection, latest=False)).items():
            click.echo(
                f"driftline: {dataset}[{partition}]: Kafka deleted {count} offsets before they were read", err=True
            )
        topics, begin = list(projection.topics()), projection.begin()
        if once:
            count = projection.follow(deployment.log.until_now(topics, begin))
        else:
            count = projection.follow(deployment.log.on_and_on(topics, begin), _stop_signal())
    click.echo(f"{count} records read", err=True)
    return ExitCode.AGREE


def _stop_signal() -> Callable[[], bool]:
    """Return what tells whether this process was asked to stop."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: asked.append(caught))
    return lambda: bool(asked)


@command.command("rebuild")
@click.option("--forget", is_flag=True, help="Also where the history holds what Kafka has deleted.")
@click.pass_obj
def rebuild(invocation: Invocation, *, forget: bool) -> int:
    """Make the history anew from the topics, in one transaction: until it is done, the old one answers."""
    from app.adapters.history import open_history
    from app.history.projection import check_nothing_forgotten

    deployment = Deployment.of(invocation, "history")
    with closing(open_history(deployment.settings, reads_only=False)) as store:
        projection = _projection(deployment, store)
        if not forget and (spans := store.spans_of_any_form()):
            check_nothing_forgotten(spans, _ends(deployment, projection, latest=False))
        count = projection.rebuild(deployment.log.until_now(list(projection.topics())))
    click.echo(f"{count} records read", err=True)
    return ExitCode.AGREE


def _contracts(deployment: Deployment) -> Mapping[str, EntityContract]:
    """Return the contracts; without them nobody can say which words they asked for, and that is said."""
    from app.cli.row_keys import contracts_if_any

    contracts = contracts_if_any(deployment)
    if contracts is None:
        click.echo("driftline: no contract can be read: what they asked people for is not known", err=True)
    return contracts or {}


def _key_text(deployment: Deployment, *, keys: bool) -> KeyText:
    from app.cli.row_keys import sealed_key_opener

    return sealed_key_opener(deployment) if keys else no_key


def _exit_code(changes: list[Change]) -> ExitCode:
    """Return drift where a change was wrong or a verdict comes out otherwise, unknown where one is not proven."""
    again = {step.again for change in changes for step in change.steps}
    if Again.DIFFERENT in again or any(change.right in WRONG for change in changes):
        return ExitCode.DRIFT
    return ExitCode.UNKNOWN if any(change.right in UNPROVEN for change in changes) else ExitCode.AGREE


@command.command("row")
@click.argument("entity")
@click.argument("key")
@_keys
@click.pass_obj
def row(invocation: Invocation, *, entity: str, key: str, keys: bool) -> int:
    """Show everything that was found and done on one row: who, why, on what evidence, and whether it was right.

    KEY is the key's value; for a key of several parts a JSON object such as '{"region": "eu", "id": 7}'. Needs
    `digest.key`, by which the history names rows.
    """
    from app.adapters.history import open_history
    from app.cli.row_keys import hash_of_key
    from app.core.history.changes import changes
    from app.history.questions import of_row

    deployment = Deployment.of(invocation, "history")
    hashed = hash_of_key(deployment, entity, key)
    with closing(open_history(deployment.settings, reads_only=True)) as store:
        found = changes(of_row(store, hashed), belief_of(deployment), _contracts(deployment))
    documents = [change_document(change, _key_text(deployment, keys=keys)) for change in found]
    if invocation.output is Output.TABLE:
        print_records(acts_of(documents), Output.TABLE, _ACTS)
        for document in documents:
            line = line_of(document)
            click.echo(safe_text(f"{line['store']}: {line['why']}; {line['ended']}; {line['right']}", 2_000))
    else:
        print_records(documents, invocation.output, ())
    return _exit_code(found)


@command.command("changes")
@click.option("--since", type=MOMENT, help="Recorded from here on: a time ago (2h) or RFC 3339.")
@click.option("--until", type=MOMENT, help="Recorded before this moment.")
@click.option("--batch", help="Of the batch whose id begins so.")
@click.option("--person", help="On which this person has spoken, or a key's id (16 hex digits) of one who has gone.")
@click.option("--entity", help="Only this entity's.")
@_keys
@click.pass_obj
def changes_(
    invocation: Invocation,
    *,
    since: int | None,
    until: int | None,
    batch: str | None,
    person: str | None,
    entity: str | None,
    keys: bool,
) -> int:
    """List repairs by time, batch or person: what became of each, by whose word, and whether it was right."""
    from app.adapters.history import open_history
    from app.core.history.changes import changes
    from app.history.questions import Asked, of_changes

    if since is None and until is None and batch is None and person is None:
        raise click.UsageError("say which: --since or --until, --batch, or --person")
    deployment = Deployment.of(invocation, "history")
    belief = belief_of(deployment)
    spoken = None if person is None else frozenset(_keys_of(belief, person))
    asked = Asked(since, until, None if batch is None else _hex_digits(batch), spoken, entity)
    with closing(open_history(deployment.settings, reads_only=True)) as store:
        found = changes(of_changes(store, asked), belief, _contracts(deployment))
    documents: Iterator[dict[str, object]] = (
        change_document(change, key_text) for key_text in [_key_text(deployment, keys=keys)] for change in found
    )
    shown = map(line_of, documents) if invocation.output is Output.TABLE else documents
    print_records(shown, invocation.output, _LISTED)
    return _exit_code(found)


def _hex_digits(text: str) -> str:
    digits = text.strip().lower()
    if len(digits) < _PREFIX_MIN or set(digits) - set("0123456789abcdef"):
        raise ContractViolation(f"a batch is named by at least {_PREFIX_MIN} hex digits", hint="as `words` have it")
    return digits


def _keys_of(belief: Belief, person: str) -> list[bytes]:
    """Return the keys of a person; a key may be named by its id, since its line goes when its person does."""
    found = belief.keys_of(person)
    if not found:
        try:
            found = [bytes.fromhex(person)]
        except ValueError:
            hint = "see `driftline keys list`; who is not there any more is named by the key's id"
            raise ContractViolation(f"nobody is trusted under the name {person!r}", hint=hint) from None
    return found
