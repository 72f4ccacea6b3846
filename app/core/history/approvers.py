"""Whether the persons whom a ledger names have signed what stands there in their name.

A ledger's row tells who let a command go, or who said no; the applier wrote that. Here it is held against the words
themselves, by the list of signers as it is now: a name in the ledger is true where a word of that person, on exactly
this command, was good when the row was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from app.core.approval import Word
from app.core.chain import Break
from app.core.command import Approval, Outcome, RefusalReason, RepairCommand
from app.core.history.changes import TRUST_MAY_HAVE_ENDED, Belief
from app.core.ledger import APPROVERS_JOINED_BY, LedgerKind, LedgerRow
from app.core.limits import CLOCK_SKEW_MS_MAX
from app.core.signing import id_of_member, member_of

_OF_COMMANDS: Final = frozenset({LedgerKind.COMMAND, LedgerKind.UNDO})


@dataclass(frozen=True, slots=True)
class _Signed:
    """A word on a member of a batch, or a command's own signature, which is on none.

    `person` is empty where the key is one that may have been trusted when it was said.
    """

    member: bytes
    word: Word
    person: str

    def counted_at(self, at_ms: int) -> bool:
        """Tell whether it may have counted at a time by another host's clock; a no counts for ever."""
        is_over = self.word.approved and at_ms - CLOCK_SKEW_MS_MAX >= self.word.expires_at_ms
        return self.word.said_at_ms <= at_ms + CLOCK_SKEW_MS_MAX and not is_over


_Versions = list[tuple[RepairCommand, RefusalReason | None]]
"""Commands under one id, each with why it may not be believed any more."""


class Approvers:
    """Who has signed for which command, by all words and commands that the topics have.

    `has_all_commands`: none was deleted from its topic. Of one that was, the words on its id count, which is bound to
    its drift, its target and both digests.
    """

    def __init__(
        self, belief: Belief, words: Iterable[Approval], commands: Iterable[RepairCommand], *, has_all_commands: bool
    ) -> None:
        self._belief = belief
        self._has_all_commands = has_all_commands
        self._signed: dict[bytes, list[_Signed]] = {}
        for word in words:
            self._hear(word)
        self._commands: dict[bytes, list[RepairCommand]] = {}
        for command in commands:
            self._commands.setdefault(command.command_id, []).append(command)

    def _hear(self, word: Approval) -> None:
        doubt = self._belief.doubt_word(word)
        if word.rehearses or doubt not in {None, *TRUST_MAY_HAVE_ENDED}:
            return
        heard = Word(word.key_id, word.approved, word.said_at_ms, word.expires_at_ms)
        person = "" if doubt else self._belief.person(word.key_id)
        for member in word.members:
            self._signed.setdefault(id_of_member(member), []).append(_Signed(member, heard, person))

    def doubt(self, row: LedgerRow) -> Break | None:
        """Return what is wrong with the persons whom a row names; None where each has signed, or nobody had to."""
        if not row.approver and not self._may_need_word(row):
            return None
        versions = self._versions(row)
        is_no = row.reason is RefusalReason.REJECTED
        heard = [
            each
            for each in self._words_on(row, versions)
            if each.word.approved is not is_no and each.counted_at(row.written_at_ms)
        ]
        persons = {each.person for each in heard if each.person}
        unnamed = {each.word.key_id for each in heard if not each.person}
        missing = len(_names(row) - persons)
        if not row.approver and not persons and all(_waits(command) for command, _ in versions or ()):
            missing = 1
        if not missing:
            return None
        is_unknown = versions is None or len(unnamed) >= missing
        return Break.WORD_NOT_PROVEN if is_unknown else Break.NOT_SIGNED_FOR

    def _versions(self, row: LedgerRow) -> _Versions | None:
        """Return the commands that a row may be of, signed as they had to be; None where Kafka may have deleted them.

        A planner signs a command anew with another time or token, and a word is on one of these only.
        """
        told = (row.entity, row.target, row.key_hash, row.partition, row.fence_token)
        held = [
            command
            for command in self._commands.get(row.original_id, ())
            if (command.entity, command.target, command.key_hash, command.partition, command.fence_token) == told
        ]
        doubts = ((command, self._belief.doubt_command(command)) for command in held)
        found = [(command, doubt) for command, doubt in doubts if doubt in {None, *TRUST_MAY_HAVE_ENDED}]
        return found if found or self._has_all_commands else None

    def _words_on(self, row: LedgerRow, versions: _Versions | None) -> Iterator[_Signed]:
        """Yield what was signed of a row's command: who asks for it and signs it has said yes."""
        spoken = self._signed.get(row.original_id, ())
        if versions is None:
            yield from spoken
            return
        members = {member_of(self._belief.deployment, command) for command, _ in versions}
        yield from (each for each in spoken if each.member in members)
        for command, doubt in versions:
            if command.is_asked_for:
                own = Word(command.key_id, True, command.planned_at_ms, command.expires_at_ms)
                yield _Signed(b"", own, "" if doubt else self._belief.person(command.key_id))

    def _may_need_word(self, row: LedgerRow) -> bool:
        """Tell whether a row is of a write whose command, or a version of it, waits for a person."""
        is_write = row.kind in _OF_COMMANDS and row.outcome is Outcome.APPLIED
        return is_write and any(map(_waits, self._commands.get(row.original_id, ())))


def _waits(command: RepairCommand) -> bool:
    return command.needs_approval or command.is_asked_for


def _names(row: LedgerRow) -> set[str]:
    return set(row.approver.split(APPROVERS_JOINED_BY)) if row.approver else set()
