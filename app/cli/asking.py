"""Sends the commands that a person asks for, each signed with that person's key, and waits for what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from app.cli.approve import Duration, approver_key
from app.cli.asked_for import NOT_ANSWERED, NOT_SENT, AskedFor
from app.cli.exit_codes import ExitCode
from app.cli.output import safe_text
from app.core.command import Outcome
from app.core.errors import Undecodable
from app.core.signing import signed_form
from app.topics import OUTCOMES, REPAIRS

if TYPE_CHECKING:
    from app.adapters.signing import SigningKey
    from app.cli.deployment import Deployment
    from app.core.command import RepairCommand
    from app.ports import Sink

_WAIT_MS: Final = 60_000

WAIT_OPTION: Final = click.option(
    "--wait",
    "wait_ms",
    type=Duration(least_ms=0),
    default=_WAIT_MS,
    help="How long to wait for what becomes of it, and to send again what is held; 0s: not at all.  [default: 1m]",
)


def send_asked_for(deployment: Deployment, commands: Iterable[RepairCommand], wait_ms: int) -> ExitCode:
    """Sign and send the commands in order, each under its target's token; wait, and tell what became of them.

    What is held for a reason that passes is sent again, the same record, with growing pauses.
    """
    from app.adapters.kafka import KafkaClients

    key, person = approver_key(deployment.settings)
    asked = AskedFor(_signed(deployment, key, each) for each in commands)
    # As it ends now: what was said of an earlier asking is no answer to this one.
    begin = deployment.log.ends([OUTCOMES.name(deployment.settings.deployment)], latest=True) if wait_ms else {}
    sink = KafkaClients.of(deployment.settings).producer(deployment.client)
    sent = _send_due(deployment, sink, asked)
    sink.flush()
    click.echo(f"sent: {sent}, by {safe_text(person)}; `driftline explain` shows what came of each", err=True)
    try:
        if wait_ms:
            _wait(deployment, sink, asked, begin, wait_ms)
    finally:
        # Also where a person or a broker ends it: what was sent is known then and not afterwards.
        _tell(asked, has_waited=bool(wait_ms))
    return asked.exit_code


def _signed(deployment: Deployment, key: SigningKey, command: RepairCommand) -> RepairCommand:
    token = deployment.settings.fences.of(command.entity, command.target, command.partition)
    named = replace(command, key_id=key.key_id, fence_token=token)
    return replace(named, signature=key.sign(signed_form(deployment.settings.deployment, named)))


def _now_ms() -> int:
    return int(time.monotonic() * 1_000)


def _send_due(deployment: Deployment, sink: Sink, asked: AskedFor) -> int:
    """Hand over what is to be sent now; return how many that is."""
    from app.adapters.system_clock import wall_ms

    due = asked.due(_now_ms(), wall_ms())
    topic = REPAIRS.name(deployment.settings.deployment)
    for each in due:
        sink.send(topic, each.partition, each.command_id, deployment.codec.command(each))
    return len(due)


def _wait(deployment: Deployment, sink: Sink, asked: AskedFor, begin: dict[tuple[str, int], int], wait_ms: int) -> None:
    """Hear what becomes of what was sent, from these offsets on, and send what is due, until it is over or too late."""
    deadline_ms = _now_ms() + wait_ms
    for record in deployment.log.on_and_on([OUTCOMES.name(deployment.settings.deployment)], begin):
        if record is not None:
            with suppress(Undecodable):
                asked.hear(deployment.codec.read_outcome(record.value), _now_ms())
        if asked.is_over or _now_ms() > deadline_ms:
            break
        _send_due(deployment, sink, asked)
        if record is None:
            # Not behind each record: a broker's answer takes longer than an outcome.
            sink.flush()
    sink.flush()


def _tell(asked: AskedFor, *, has_waited: bool) -> None:
    """Tell what became of all, in numbers, and what to do about what is not settled."""
    counts, for_a_person = asked.counts(), asked.for_a_person
    unanswered = counts[NOT_ANSWERED, ""]
    held = sum(count for (what, _), count in counts.items() if what == Outcome.HELD.value) - for_a_person
    told = (f"{count} {what} ({why})" if why else f"{count} {what}" for (what, why), count in sorted(counts.items()))
    click.echo(f"of {counts.total()}: {', '.join(told)}", err=True)
    hints = (
        (unanswered if has_waited else 0, "not answered in time: {}; are the appliers up, and not paused?"),
        (for_a_person, "held for another person's word: {}; `driftline approve` sends them again with it"),
        (held, "still held: {}; nobody sends them again: ask again once the reason is gone"),
        (
            counts[NOT_SENT, ""],
            "not sent: {}; each comes after another on its row, or had too little time left (--for): ask again later",
        ),
    )
    for count, hint in hints:
        if count:
            click.echo(f"driftline: {hint.format(count)}", err=True)
