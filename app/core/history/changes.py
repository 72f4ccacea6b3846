"""Who changed a row, why, on what evidence, and was it right: what the history's rows say together.

Nothing in a table is believed because it stands there. Commands and words are held against their signatures, as they
stand in the rows, verdicts against what they cite, and what people had said against the applier's own rules
(`app.core.history.let_go`); so whoever writes into the database can take answers away, but cannot make one up. Outcomes
are not signed: `driftline audit` holds them against the targets' ledgers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

from app.core.approval import Word, is_well_formed
from app.core.command import DISTRUSTED, Action, Approval, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.contract import EntityContract, RepairPolicy
from app.core.errors import ContractViolation
from app.core.finding import Stage
from app.core.history.cells import Row, record_of
from app.core.history.let_go import Unproven, Writing, policy_then, why_not
from app.core.history.tables import finding_of
from app.core.published import PublishedFinding
from app.core.rehearsal import Rehearsal
from app.core.replay import Again, recompute
from app.core.signing import batch_id, member_of
from app.core.trust import SignerRole, Signers, Verify, distrust, role_for

_Record = TypeVar("_Record")

Because = RefusalReason | Unproven | None
"""What was missing or against a write, or what is not known of it."""


class Right(Enum):
    """What can be said of one repair, or of a drift without one."""

    VERIFIED = "verified"  # written, and seen again through the target's own log
    TAKEN_BACK = "taken_back"  # written, found wrong by the check behind it, and undone
    UNDOES = "undoes"  # written: a person has taken a repair back, against the authority
    ALIGNED = "aligned"  # written: a person has had columns spelled as the authority does, the meaning is the same
    NOT_WRITTEN = "not_written"  # refused, held or waiting, or nothing was asked for
    NOT_SEEN = "not_seen"  # written, and not seen again so far
    NOT_PROVEN = "not_proven"  # written, and whether it was signed for as it had to be cannot be said
    NOT_APPROVED = "not_approved"  # written without the words of people that it needed, or against one
    NOT_SIGNED = "not_signed"  # written, and what stands here is not what a planner signed
    REFUTED = "refuted"  # written for a drift that late evidence disproved
    MISJUDGED = "misjudged"  # written, and its verdict does not come out of what it cites


WRONG: Final[frozenset[Right]] = frozenset({Right.NOT_APPROVED, Right.NOT_SIGNED, Right.REFUTED, Right.MISJUDGED})
UNPROVEN: Final[frozenset[Right]] = frozenset({Right.NOT_SEEN, Right.NOT_PROVEN})

Fault = tuple[Right, Because]

_WRITTEN: Final = frozenset({Outcome.APPLIED, Outcome.INVERTED})
TRUST_MAY_HAVE_ENDED: Final = frozenset({RefusalReason.UNKNOWN_KEY, RefusalReason.OUTDATED_KEY})
"""By the list of signers as it is now: it may have been trusted when it signed."""


@dataclass(frozen=True, slots=True)
class Placed(Generic[_Record]):
    """A record, and where and when it was recorded."""

    record: _Record
    place: str
    partition: int
    offset: int
    at_wall_ms: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A person's word on a command. `person` is empty, and `doubt` says why, where it is nobody's that is trusted."""

    word: Placed[Approval]
    person: str
    doubt: RefusalReason | None

    @property
    def may_count(self) -> bool:
        """Tell whether it was an approver's, or may have been one's yes; a no of nobody who is known stops nothing."""
        word = self.word.record
        return not word.rehearses and (self.doubt is None or (self.doubt in TRUST_MAY_HAVE_ENDED and word.approved))

    @property
    def as_heard(self) -> Word:
        """The word as the applier heard it, if it did."""
        word = self.word.record
        return Word(word.key_id, word.approved, word.said_at_ms, word.expires_at_ms)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a drift, and how it came out when it was judged again."""

    finding: Placed[PublishedFinding]
    again: Again
    why: str


@dataclass(frozen=True, slots=True)
class Change:
    """One command with all that led to it and came of it, or a drift that no command was made for.

    `doubt` says why the command is not believed to be a planner's; None where it is, or where there is none. `because`
    says what was missing or against it, or what is not known, where `right` is of what people and planner signed.
    `policy` is the one that the command was planned by, None where nobody here knows it.
    """

    command_id: bytes
    finding_id: bytes
    steps: Sequence[Step]
    command: Placed[RepairCommand] | None
    planner: str
    doubt: RefusalReason | None
    words: Sequence[Heard]
    rehearsals: Sequence[Placed[Rehearsal]]
    outcomes: Sequence[Placed[CommandOutcome]]
    right: Right
    because: Because = None
    policy: RepairPolicy | None = None

    @property
    def outcome(self) -> Placed[CommandOutcome] | None:
        """What became of it in the end."""
        return self.outcomes[-1] if self.outcomes else None

    @property
    def at_wall_ms(self) -> int:
        """When the last was recorded that happened to it."""
        last = (self.outcome, self.command, self.steps[-1].finding if self.steps else None)
        return next((each.at_wall_ms for each in last if each is not None), 0)


@dataclass(frozen=True, slots=True)
class Belief:
    """Whom a deployment trusts, by its list of signers as it is now."""

    deployment: str
    signers: Signers
    verify: Verify

    def person(self, key_id: bytes) -> str:
        """Return whose key this is; empty where it is nobody's, or no longer."""
        signer = self.signers.get(key_id)
        return signer.person if signer else ""

    def keys_of(self, person: str) -> list[bytes]:
        """Return the ids of a person's keys."""
        return [key_id for key_id, signer in self.signers.items() if signer.person == person]

    def doubt_command(self, command: RepairCommand) -> RefusalReason | None:
        """Return why a command is not believed to have been a planner's, or a person's who asked for it, when made."""
        role = role_for(command)
        return distrust(self.signers, self.verify, role, self.deployment, command, command.planned_at_ms)

    def doubt_word(self, word: Approval) -> RefusalReason | None:
        """Return why a word is not believed to have been an approver's when it was said."""
        if not is_well_formed(word):
            return RefusalReason.UNREADABLE
        if word.batch_id != batch_id(self.deployment, word.members):
            return RefusalReason.ALTERED
        return distrust(self.signers, self.verify, SignerRole.APPROVER, self.deployment, word, word.said_at_ms)


@dataclass(frozen=True, slots=True)
class Material:
    """The rows that a question is answered from, in no order."""

    findings: Sequence[Row]
    commands: Sequence[Row]
    words: Sequence[Row]
    rehearsals: Sequence[Row]
    outcomes: Sequence[Row]


def placed(row: Row, read: Callable[[Row], _Record]) -> Placed[_Record]:
    """Return the record of a row with where it stands; `ContractViolation` if nobody of us wrote it."""
    try:
        record = read(row)
    except (ValueError, TypeError, KeyError) as fault:
        hint = "who else writes here? `driftline history rebuild` makes it anew from the topics"
        raise ContractViolation(
            "a row of the history is no record of ours", where=str(row["place"]), hint=hint
        ) from fault
    return Placed(
        record,
        str(row["place"]),
        int(row["record_partition"] or 0),
        int(row["record_offset"] or 0),
        int(row["recorded_at_ms"] or 0),
    )


def _by(records: Iterable[Placed[_Record]], name: Callable[[_Record], bytes]) -> dict[bytes, list[Placed[_Record]]]:
    """Return records by name, each list in the order of their partition; of several, one after the other."""
    found: dict[bytes, list[Placed[_Record]]] = {}
    for each in sorted(records, key=lambda p: (p.partition, p.offset)):
        found.setdefault(name(each.record), []).append(each)
    return found


def changes(material: Material, belief: Belief, contracts: Mapping[str, EntityContract]) -> list[Change]:
    """Return what happened, by time: one for each command, and one for each drift that has none.

    What `contracts` asked for counts for the commands that were planned under the version that they have now.
    """
    findings = _by((placed(row, finding_of) for row in material.findings), lambda f: f.finding.finding_id)
    commands = _by((placed(r, lambda row: record_of(RepairCommand, row)) for r in material.commands), _command_id)
    outcomes = _by((placed(r, lambda row: record_of(CommandOutcome, row)) for r in material.outcomes), _outcome_id)
    tried = _by((placed(r, lambda row: record_of(Rehearsal, row)) for r in material.rehearsals), _member)
    words = _words((placed(r, lambda row: record_of(Approval, row)) for r in material.words), belief)
    steps = {finding_id: _steps(told) for finding_id, told in findings.items()}
    found = []
    for command_id in sorted(commands.keys() | outcomes.keys()):
        versions, told = commands.get(command_id, []), outcomes.get(command_id, [])
        finding_id = versions[-1].record.finding_id if versions else told[-1].record.finding_id
        taken = steps.get(finding_id, [])
        found.append(_change(command_id, finding_id, taken, versions, told, words, tried, belief, contracts))
    answered = {change.finding_id for change in found}
    found += [
        Change(b"", finding_id, taken, None, "", None, (), (), (), Right.NOT_WRITTEN)
        for finding_id, taken in steps.items()
        if finding_id not in answered
    ]
    return sorted(found, key=lambda change: (change.at_wall_ms, change.command_id, change.finding_id))


def _command_id(command: RepairCommand) -> bytes:
    return command.command_id


def _outcome_id(outcome: CommandOutcome) -> bytes:
    return outcome.command_id


def _member(rehearsal: Rehearsal) -> bytes:
    return rehearsal.member


def _steps(told: Iterable[Placed[PublishedFinding]]) -> list[Step]:
    judged = ((each, recompute(each.record.finding)) for each in told)
    return [Step(each, again.again, again.why) for each, again in judged]


def _words(told: Iterable[Placed[Approval]], belief: Belief) -> Mapping[bytes, list[Heard]]:
    """Return words by the members that they speak of; one word stands in several partitions and is one."""
    first: dict[tuple[bytes, bytes, bytes], Placed[Approval]] = {}
    for each in sorted(told, key=lambda p: (p.at_wall_ms, p.partition, p.offset)):
        first.setdefault((each.record.batch_id, each.record.key_id, each.record.signature), each)
    found: dict[bytes, list[Heard]] = {}
    for each in first.values():
        doubt = belief.doubt_word(each.record)
        heard = Heard(each, "" if doubt else belief.person(each.record.key_id), doubt)
        for member in dict.fromkeys(each.record.members):
            found.setdefault(member, []).append(heard)
    return found


def _change(
    command_id: bytes,
    finding_id: bytes,
    steps: list[Step],
    versions: Sequence[Placed[RepairCommand]],
    told: Sequence[Placed[CommandOutcome]],
    words: Mapping[bytes, list[Heard]],
    tried: Mapping[bytes, list[Placed[Rehearsal]]],
    belief: Belief,
    contracts: Mapping[str, EntityContract],
) -> Change:
    """Put one command together. Of several under its id the newest that a planner signed is the true one."""
    doubted = [(belief.doubt_command(each.record), each) for each in versions]
    doubt, command = next(
        (pair for pair in reversed(doubted) if pair[0] is None), doubted[-1] if doubted else (None, None)
    )
    member = member_of(belief.deployment, command.record) if command else b""
    heard = words.get(member, [])
    # What was refused as a forgery says nothing of the true command under the same id.
    believed = [each for each in told if each.record.reason not in DISTRUSTED] or list(told)
    right, because = Right.NOT_WRITTEN, None
    written_at_ms = [each.record.at_ms for each in believed if each.record.outcome in _WRITTEN]
    if written_at_ms:
        at_ms = min(written_at_ms)
        signed = list(dict.fromkeys(each.record for no, each in reversed(doubted) if no is None))
        fault = (
            _misjudged(steps, command)
            or _not_signed(command, doubt)
            or _not_let_go(signed, at_ms, words, tried, belief, contracts)
        )
        right, because = fault or (_end(command_id, steps, command, believed), None)
    return Change(
        command_id,
        finding_id,
        steps,
        command,
        belief.person(command.record.key_id) if command and doubt is None else "",
        doubt,
        heard,
        tried.get(member, []),
        believed,
        right,
        because,
        policy_then(contracts, command.record) if command else None,
    )


def _misjudged(steps: Sequence[Step], command: Placed[RepairCommand] | None) -> Fault | None:
    is_asked_for = command is not None and command.record.is_asked_for
    is_different = any(step.again is Again.DIFFERENT for step in steps)
    return (Right.MISJUDGED, None) if is_different and not is_asked_for else None


def _not_signed(command: Placed[RepairCommand] | None, doubt: RefusalReason | None) -> Fault | None:
    if command is None:
        return Right.NOT_PROVEN, Unproven.COMMAND_NOT_HELD
    if doubt in TRUST_MAY_HAVE_ENDED:
        return Right.NOT_PROVEN, Unproven.KEY_GONE
    return None if doubt is None else (Right.NOT_SIGNED, doubt)


def _not_let_go(
    signed: Sequence[RepairCommand],
    at_ms: int,
    words: Mapping[bytes, list[Heard]],
    tried: Mapping[bytes, list[Placed[Rehearsal]]],
    belief: Belief,
    contracts: Mapping[str, EntityContract],
) -> Fault | None:
    """Return what speaks against writing a command at a time, of which a planner signed these versions, newest first.

    A planner signs one anew with another time or token, and the write may have been that of an earlier one.
    """
    found = []
    for command in signed:
        member = member_of(belief.deployment, command)
        tried_ms = next((r.record.at_ms for r in tried.get(member, ()) if r.record.at_ms <= at_ms), None)
        writing = Writing(command, at_ms, policy_then(contracts, command), tried_ms)
        heard = [each.as_heard for each in words.get(member, ()) if each.may_count]
        found.append(why_not(writing, heard, belief.signers))
    newest, *others = found
    if newest is None:
        return None
    if isinstance(newest, Unproven):
        return Right.NOT_PROVEN, newest
    if all(isinstance(each, RefusalReason) for each in others):
        return Right.NOT_APPROVED, newest
    return Right.NOT_PROVEN, Unproven.VERSION_NOT_KNOWN


def _end(
    command_id: bytes,
    steps: Sequence[Step],
    command: Placed[RepairCommand] | None,
    outcomes: Sequence[Placed[CommandOutcome]],
) -> Right:
    """Return how a write ended that nothing speaks against."""
    stages = {step.finding.record.finding.stage for step in steps}
    by_this = any(
        step.finding.record.finding.stage is Stage.VERIFIED and step.finding.record.finding.command_id == command_id
        for step in steps
    )
    if command is not None and command.record.action is Action.RESTORE:
        return Right.UNDOES
    if command is not None and command.record.action is Action.TRANSFORM:
        return Right.ALIGNED
    if by_this:
        return Right.VERIFIED
    if any(each.record.outcome is Outcome.INVERTED for each in outcomes):
        return Right.TAKEN_BACK
    return Right.REFUTED if Stage.REFUTED in stages else Right.NOT_SEEN
