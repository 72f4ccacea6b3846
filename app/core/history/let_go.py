"""Whether people had let a command go when it was written: the applier's own rules, asked again of the records.

The list of signers is known as it is now, the policy by the contract as it is now where that has the one that the
command names, and the clocks of two hosts agree to within `CLOCK_SKEW_MS_MAX` at best. So a write is only called wrong
where nothing of that, told otherwise, would have let it go; where something would, nobody can say, and `Unproven` tells
what is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from app.core.approval import Said, Word, all_words_on, said
from app.core.command import Action, RefusalReason, RepairCommand
from app.core.contract import EntityContract, RepairMode, RepairPolicy
from app.core.guard import repair_policy, waits_for_person
from app.core.limits import APPROVAL_LIFE_MS_MAX, CLOCK_SKEW_MS_MAX
from app.core.policy import columns_mode
from app.core.rehearsal import yes_counts_from_ms
from app.core.trust import Signer, SignerRole, Signers


class Unproven(Enum):
    """What is not known, so that nobody can say whether a command was let go as it had to be."""

    COMMAND_NOT_HELD = "command_not_held"  # only its outcome is here
    KEY_GONE = "key_gone"  # who signed is not trusted any more, and may have been when it was written
    CLOCKS_TOO_CLOSE = "clocks_too_close"  # it was said, or over, about when it was written, by another host's clock
    POLICY_NOT_KNOWN = "policy_not_known"  # the contract is not here, or has another policy or version than the command
    VERSION_NOT_KNOWN = "version_not_known"  # signed several times, and people have only let an earlier one go
    COLUMNS_NOT_KNOWN = "columns_not_known"  # some fields wait for a person, and which differed is known by a guess


LOOSEST: Final = RepairPolicy(RepairMode.APPLY, deletes_wait=False, approval_life_ms=APPROVAL_LIFE_MS_MAX)
"""No policy asks for less: what it does not let go, none did."""


@dataclass(frozen=True, slots=True)
class Writing:
    """A command that was written, at `at_ms` by the applier's clock.

    `policy` is the one that it was written by, None where nobody knows; `rehearsed_at_ms` is when it was first tried
    before, None where it was not.
    """

    command: RepairCommand
    at_ms: int
    policy: RepairPolicy | None
    rehearsed_at_ms: int | None

    def said(self, words: Iterable[Word], signers: Signers, slack_ms: int) -> Said:
        """Return what people had said by then, where the clocks differ by so much in the command's favour."""
        policy = self.policy or LOOSEST
        heard = [w for w in words if w.said_at_ms <= self.at_ms + (slack_ms if w.approved else -slack_ms)]
        return said(
            all_words_on(self.command, heard),
            signers,
            policy.persons,
            policy.approval_life_ms,
            self.at_ms - slack_ms,
            not_before_ms=yes_counts_from_ms(policy, self.command, self.rehearsed_at_ms),
        )

    def refusal(self, spoken: Said) -> RefusalReason | None:
        """Return why it could not go by what people had said; a no counts whether a word was needed or not."""
        is_bound = spoken.refusal is RefusalReason.REJECTED or self._needs_word()
        return spoken.refusal if is_bound else None

    def _needs_word(self) -> bool:
        policy, command = self.policy or LOOSEST, self.command
        is_insert = command.action is Action.UPSERT and not command.expected_digest
        # An insert writes every field.
        return waits_for_person(command, policy) or (is_insert and columns_mode(policy, None) is RepairMode.PROPOSE)

    def may_need_word(self) -> bool:
        """Tell whether a field waits for a person that may have differed: only under the lock it was known which."""
        policy, command = self.policy or LOOSEST, self.command
        return command.action is Action.UPSERT and columns_mode(policy, command.columns or None) is RepairMode.PROPOSE


def policy_then(contracts: Mapping[str, EntityContract], command: RepairCommand) -> RepairPolicy | None:
    """Return the policy that a command was planned by; None where the contract has another one by now.

    A command that does not name it was planned by that of its version, as far as anybody knows.
    """
    contract = contracts.get(command.entity)
    policy = repair_policy(contract, command.target)
    if contract is None or policy is None:
        return None
    if command.policy_id:
        is_it = command.policy_id == policy.policy_id
    else:
        is_it = (contract.version, contract.authority) == (command.contract_version, command.authority)
    return policy if is_it else None


def _with_those_who_left(signers: Signers, words: Sequence[Word]) -> Signers:
    """Return the list of signers as it may have been: each approver trusted, and each key that it does not name."""
    gone = {word.key_id: Signer(SignerRole.APPROVER, word.key_id.hex(), b"") for word in words}
    return gone | {key_id: replace(signer, until_ms=None) for key_id, signer in signers.items()}


def why_not(writing: Writing, words: Sequence[Word], signers: Signers) -> RefusalReason | Unproven | None:
    """Return why a command should not have been written, or why nobody can say; None where people had let it go.

    Of `words` those are left out that were never an approver's.
    """
    once = _with_those_who_left(signers, words)
    supposed = (
        (None, signers, 0),
        (Unproven.CLOCKS_TOO_CLOSE, signers, CLOCK_SKEW_MS_MAX),
        (Unproven.KEY_GONE, once, 0),
        (Unproven.KEY_GONE, once, CLOCK_SKEW_MS_MAX),
    )
    known = writing.said(words, signers, 0)
    for unproven, trusted, slack_ms in supposed:
        if writing.refusal(writing.said(words, trusted, slack_ms)) is not None:
            continue
        if unproven is not None:
            return unproven
        if writing.policy is None:
            return Unproven.POLICY_NOT_KNOWN
        return Unproven.COLUMNS_NOT_KNOWN if known.refusal is not None and writing.may_need_word() else None
    return writing.refusal(known)
