"""`driftline approve`: a person's recorded word on repairs that wait for one."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records, safe_text
from app.core.command import Approval, Outcome, RefusalReason, RepairCommand
from app.topics import APPROVALS, OUTCOMES, REPAIRS

if TYPE_CHECKING:
    from app.core.command import CommandOutcome

_COLUMNS: Final = ("entity", "target", "action", "kind", "reason", "incident_id", "finding_id", "command_id")
_PREFIX_MIN: Final = 6
_WORD_MAX: Final = 200


class Id(click.ParamType):
    """The first hex digits of an id, six at least."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - Click's
        """Return the digits in lower case."""
        text = str(value).strip().lower()
        if len(text) < _PREFIX_MIN or set(text) - set("0123456789abcdef"):
            self.fail(f"an id is at least {_PREFIX_MIN} hex digits", param, ctx)
        return text


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command that waits for a person, and the partition that it came from."""

    command: RepairCommand
    partition: int

    def document(self) -> dict[str, object]:
        """Return what a person needs to know of it."""
        command = self.command
        return {
            "entity": command.entity,
            "target": command.target,
            "action": command.action.value,
            "kind": command.kind,
            "reason": command.reason,
            "incident_id": command.incident_id.hex(),
            "finding_id": command.finding_id.hex(),
            "command_id": command.command_id.hex(),
            "authority": command.authority,
            "key_hash": command.key_hash.hex(),
            "expires_at_ms": command.expires_at_ms,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the waiting commands a person speaks of."""

    everything: bool
    findings: tuple[str, ...]
    commands: tuple[str, ...]
    incidents: tuple[str, ...]
    entity: str | None

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was named."""
        return not (self.everything or self.findings or self.commands or self.incidents)

    def has(self, command: RepairCommand) -> bool:
        """Tell whether a command is meant."""
        if self.entity is not None and command.entity != self.entity:
            return False
        named = (
            (self.findings, command.finding_id),
            (self.commands, command.command_id),
            (self.incidents, command.incident_id),
        )
        return self.everything or any(of.hex().startswith(one) for ones, of in named for one in ones)


def waiting(
    commands: Iterable[tuple[int, RepairCommand]],
    outcomes: Iterable[CommandOutcome],
    words: Iterable[Approval],
    now_wall_ms: int,
) -> list[Waiting]:
    """Return the commands that need a word and have none, are not done, and have not expired."""
    last = {outcome.command_id: outcome for outcome in outcomes}
    said = {word.command_id for word in words}
    found: dict[bytes, Waiting] = {}
    for partition, command in commands:
        outcome = last.get(command.command_id)
        is_done = outcome is not None and outcome.outcome is not Outcome.HELD
        asks = outcome is not None and outcome.reason is RefusalReason.NOT_APPROVED
        if (command.needs_approval or asks) and not is_done and command.expires_at_ms > now_wall_ms:
            found[command.command_id] = Waiting(command, partition)
    return [each for command_id, each in found.items() if command_id not in said]


@click.command()
@click.option("--all", "everything", is_flag=True, help="Everything that waits.")
@click.option("--finding", "findings", multiple=True, type=Id(), help="The repair of this drift.")
@click.option("--command", "commands", multiple=True, type=Id(), help="This command.")
@click.option("--incident", "incidents", multiple=True, type=Id(), help="All repairs of this incident.")
@click.option("--entity", help="Of these, only this entity's.")
@click.option("--refuse", is_flag=True, help="Say no instead of yes.")
@click.option("--by", default=getpass.getuser, help="Who says so.  [default: the login's name]")
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    everything: bool,
    findings: tuple[str, ...],
    commands: tuple[str, ...],
    incidents: tuple[str, ...],
    entity: str | None,
    refuse: bool,
    by: str,
) -> int:
    """Say yes (or no) to repairs that wait for a person. Without a choice: list them; exit code 4 if any wait."""
    from app.adapters.system_clock import wall_ms

    deployment = Deployment.of(invocation, "approve")
    codec = deployment.codec
    waits = waiting(
        ((record.partition, found) for record, found in deployment.records(REPAIRS, codec.read_command)),
        (found for _, found in deployment.records(OUTCOMES, codec.read_outcome)),
        (found for _, found in deployment.records(APPROVALS, codec.read_approval)),
        wall_ms(),
    )
    wanted = Wanted(everything, findings, commands, incidents, entity)
    if wanted.is_empty:
        shown = [each.document() for each in waits if entity is None or each.command.entity == entity]
        print_records(shown, invocation.output, _COLUMNS)
        return ExitCode.REFUSED if shown else ExitCode.AGREE
    chosen = [each for each in waits if wanted.has(each.command)]
    _say(deployment, chosen, by, approved=not refuse)
    print_records([each.document() for each in chosen], invocation.output, _COLUMNS)
    verb = "refused" if refuse else "approved"
    click.echo(f"{verb}: {len(chosen)}, by {safe_text(by)}; still waiting: {len(waits) - len(chosen)}", err=True)
    # A choice that met nothing was probably mistyped; "all" of nothing is nothing.
    return ExitCode.AGREE if chosen or everything else ExitCode.COULD_NOT_RUN


def _say(deployment: Deployment, chosen: list[Waiting], by: str, *, approved: bool) -> None:
    from app.adapters.kafka import KafkaClients
    from app.adapters.system_clock import wall_ms

    topic = APPROVALS.name(deployment.settings.deployment)
    sink = KafkaClients.of(deployment.settings).producer(deployment.client)
    for each in chosen:
        word = Approval(
            command_id=each.command.command_id,
            approver=by[:_WORD_MAX],
            approved=approved,
            said_at_ms=wall_ms(),
            batch_id=b"",
            signature=b"",
            partition=each.partition,
        )
        sink.send(topic, each.partition, word.command_id, deployment.codec.approval(word))
    sink.flush()
