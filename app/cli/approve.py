"""`driftline approve` and `driftline reject`: a person's signed word on batches of repairs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import click

from app.cli.batches import LISTED, batch_document, the_batch
from app.cli.deployment import Deployment
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records, safe_text
from app.cli.proposals import Proposals, read_proposals
from app.cli.row_keys import sealed_key_opener
from app.core.command import Approval, RepairCommand
from app.core.errors import ContractViolation
from app.core.limits import APPROVAL_LIFE_MS_MAX, WHY_LENGTH_MAX
from app.core.signing import signed_form
from app.core.trust import SignerRole
from app.topics import APPROVALS, REPAIRS

if TYPE_CHECKING:
    from app.adapters.signing import SigningKey
    from app.core.batch import Batch
    from app.settings import Settings

_PREFIX_MIN: Final = 6
_DURATION: Final = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Id(click.ParamType):
    """The first hex digits of an id, six at least."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - Click's
        """Return the digits in lower case."""
        text = str(value).strip().lower()
        if len(text) < _PREFIX_MIN or set(text) - set("0123456789abcdef"):
            self.fail(f"an id is at least {_PREFIX_MIN} hex digits", param, ctx)
        return text


class Duration(click.ParamType):
    """A time such as `30m`, at most a week, in milliseconds."""

    name = "duration"

    def __init__(self, *, least_ms: int = 1) -> None:
        self.least_ms = least_ms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - Click's
        """Return milliseconds."""
        if isinstance(value, int):
            return value
        found = _DURATION.fullmatch(str(value))
        length_ms = int(found[1]) * _UNIT_MS[found[2]] if found else -1
        if not self.least_ms <= length_ms <= APPROVAL_LIFE_MS_MAX:
            self.fail(f"{value!r} is no time such as 30m or 2h, at most 7d", param, ctx)
        return length_ms


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


def approver_key(settings: Settings) -> tuple[SigningKey, str]:
    """Return this person's key, and the name under which it is trusted; `ContractViolation` if it is not."""
    from app.adapters.seal import read_key
    from app.adapters.signing import SIGNERS, SigningKey, read_signers

    path = settings.approver_key_file
    if path is None:
        what = "there is no key to sign with"
        raise ContractViolation(what, hint="set approver_key_file; `driftline keys make approver NAME` makes the key")
    key = SigningKey(read_key(path))
    signer = read_signers(settings.keys_dir / SIGNERS).get(key.key_id)
    if signer is None or signer.role is not SignerRole.APPROVER:
        hint = "its line must stand in the list of signers: `driftline keys list`"
        raise ContractViolation("this key is no approver's here", where=str(path), hint=hint)
    return key, signer.person


def signed_word(
    deployment: str,
    batch: Batch,
    key: SigningKey,
    now_wall_ms: int,
    *,
    approved: bool,
    why: str,
    life_ms: int,
    rehearses: bool = False,
) -> Approval:
    """Return a person's signed word on a batch."""
    word = Approval(
        batch_id=batch.batch_id,
        members=batch.members,
        approved=approved,
        said_at_ms=now_wall_ms,
        expires_at_ms=now_wall_ms + life_ms,
        why=why[:WHY_LENGTH_MAX],
        rehearses=rehearses,
        key_id=key.key_id,
    )
    return replace(word, signature=key.sign(signed_form(deployment, word)))


def _options(function: Callable[..., int]) -> Callable[..., int]:
    """Add what both words may be said of."""
    for option in reversed(
        (
            click.argument("batches", nargs=-1),
            click.option("--all", "everything", is_flag=True, help="Everything that waits."),
            click.option("--finding", "findings", multiple=True, type=Id(), help="The repair of this drift."),
            click.option("--command", "commands", multiple=True, type=Id(), help="This command."),
            click.option("--incident", "incidents", multiple=True, type=Id(), help="All repairs of this incident."),
            click.option("--entity", help="Of these, only this entity's."),
            click.option("--why", default="", help="Recorded and signed beside the word."),
            click.option("--for", "life_ms", type=Duration(), help="How long it counts.  [default: the policy's time]"),
            click.option("--yes", is_flag=True, help="Do not ask."),
        )
    ):
        function = option(function)
    return function


@click.command()
@_options
@click.pass_obj
def command(invocation: Invocation, /, **said: Any) -> int:  # noqa: ANN401 - Click's
    """Say yes to BATCHES of repairs, as `driftline batches` names them, or to what the options name.

    A batch is named by its content: what came or changed after it was read is not approved with it. Without a choice,
    what waits is listed; exit code 4 if anything does.
    """
    return _answer(invocation, approved=True, **said)


@click.command()
@_options
@click.pass_obj
def reject(invocation: Invocation, /, **said: Any) -> int:  # noqa: ANN401 - Click's
    """Say no to BATCHES of repairs, for good: a no is recorded in the target's ledger, and outweighs every yes."""
    return _answer(invocation, approved=False, **said)


def _answer(
    invocation: Invocation,
    *,
    approved: bool,
    batches: tuple[str, ...],
    everything: bool,
    findings: tuple[str, ...],
    commands: tuple[str, ...],
    incidents: tuple[str, ...],
    entity: str | None,
    why: str,
    life_ms: int | None,
    yes: bool,
) -> int:
    from app.adapters.system_clock import wall_ms

    deployment = Deployment.of(invocation, "approve")
    proposals = read_proposals(deployment)
    wanted = Wanted(everything, findings, commands, incidents, entity)
    if batches and not wanted.is_empty:
        raise ContractViolation("batches and choices do not go together", hint="name batches, or choose by an option")
    named = [the_batch(proposals.batches(), each) for each in batches]
    chosen = named or proposals.batches_among(each for each in proposals.commands if wanted.has(each))
    key_text, now_ms = sealed_key_opener(deployment), wall_ms()
    if not named and wanted.is_empty:
        chosen = [each for each in proposals.batches() if entity in {None, each.first.entity}]
    print_records([batch_document(b, proposals, key_text, now_ms) for b in chosen], invocation.output, LISTED)
    if not named and wanted.is_empty:
        return ExitCode.REFUSED if chosen else ExitCode.AGREE
    rows = sum(len(batch.commands) for batch in chosen)
    verb = "approve" if approved else "reject"
    # Who names a batch has read it; who chooses by an option sees here what the choice meant.
    if not (named or yes or (sys.stdin.isatty() and click.confirm(f"{verb} these {rows} repairs?", err=True))):
        click.echo("driftline: nothing was said: say --yes, or run it where it can ask", err=True)
        return ExitCode.REFUSED
    person = _say(deployment, chosen, proposals, approved=approved, why=why, life_ms=life_ms)
    left = len(proposals.commands) - rows
    click.echo(f"{verb.rstrip('e')}ed: {rows}, by {safe_text(person)}; not spoken of: {left}", err=True)
    # A choice that met nothing was probably mistyped; "all" of nothing is nothing.
    return ExitCode.AGREE if chosen or everything else ExitCode.COULD_NOT_RUN


def _say(
    deployment: Deployment,
    chosen: list[Batch],
    proposals: Proposals,
    *,
    approved: bool,
    why: str,
    life_ms: int | None,
) -> str:
    """Sign and send one word on each batch, to every partition that has some of it; return who spoke."""
    from app.adapters.system_clock import wall_ms

    key, person = approver_key(deployment.settings)
    name, now_ms = deployment.settings.deployment, wall_ms()
    words = []
    for batch in chosen:
        life = life_ms or proposals.policy_of(batch).approval_life_ms
        said_at_ms = proposals.says_yes_from_ms(batch, now_ms) if approved else now_ms
        words.append((batch, signed_word(name, batch, key, said_at_ms, approved=approved, why=why, life_ms=life)))
    send_words(deployment, words)
    return person


def send_words(deployment: Deployment, words: Iterable[tuple[Batch, Approval]]) -> None:
    """Send words on batches, each to every partition that has some of its batch.

    What people ask for is sent again behind the words: the planner does so with its own commands only.
    """
    from app.adapters.kafka import KafkaClients

    name, codec = deployment.settings.deployment, deployment.codec
    sink = KafkaClients.of(deployment.settings).producer(deployment.client)
    asked_for: list[RepairCommand] = []
    for batch, word in words:
        for partition in sorted({each.partition for each in batch.commands}):
            sink.send(APPROVALS.name(name), partition, word.batch_id, codec.approval(word))
        asked_for += [each for each in batch.commands if each.is_asked_for]
    sink.flush()
    for each in asked_for:
        sink.send(REPAIRS.name(name), each.partition, each.command_id, codec.command(each))
    sink.flush()
