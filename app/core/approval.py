"""What people have said of one command, put together: may it be carried out, and if not, why not.

A no is final, whoever else says yes and whenever. A yes counts while its key is trusted and its time is not over, and
two persons are two names in the list of signers, whatever number of keys they hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.core.command import Approval, RefusalReason, RepairCommand
from app.core.limits import (
    APPROVAL_LIFE_MS_MAX,
    BATCH_COMMANDS_MAX,
    CLOCK_SKEW_MS_MAX,
    REHEARSAL_LIFE_MS,
    WHY_LENGTH_MAX,
)
from app.core.signing import MEMBER_BYTES, batch_id
from app.core.trust import SignerRole, Signers, Verify, distrust


@dataclass(frozen=True, slots=True)
class Word:
    """One word on one command, whose signature was made by the key that it names, trusted when it was heard."""

    key_id: bytes
    approved: bool
    said_at_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Said:
    """What people say of one command: who, and why it may not go, None where it may."""

    persons: tuple[str, ...]
    refusal: RefusalReason | None


SILENCE: Final = Said((), RefusalReason.NOT_APPROVED)
SUPPOSED: Final = Said((), None)
"""As if everybody who is needed had said yes: for trying what would happen."""


def all_words_on(command: RepairCommand, heard: Iterable[Word]) -> list[Word]:
    """Return what was said of a command: who asks for it and signs it has said yes."""
    own = Word(command.key_id, True, command.planned_at_ms, command.expires_at_ms)
    return [*heard, own] if command.is_asked_for else list(heard)


def _person(word: Word, signers: Signers, now_wall_ms: int) -> str:
    """Return who spoke, by the list of signers as it is now; empty where it is nobody's word, or no longer."""
    signer = signers.get(word.key_id)
    if signer is None or signer.role is not SignerRole.APPROVER:
        return ""
    return "" if signer.until_ms is not None and now_wall_ms >= signer.until_ms else signer.person


def said(
    words: Iterable[Word],
    signers: Signers,
    persons_needed: int,
    life_ms: int,
    now_wall_ms: int,
    *,
    not_before_ms: int | None = 0,
) -> Said:
    """Put the words on one command together; a yes counts for `life_ms` at most, whatever it says of itself.

    A yes that was said before `not_before_ms` does not count: its person had not seen what the rehearsal showed.
    None: there was no rehearsal yet, and must be one.
    """
    heard = [(word, _person(word, signers, now_wall_ms)) for word in words]
    if not heard and persons_needed and not_before_ms is not None:
        # So it is of nearly every command.
        return SILENCE
    against = tuple(dict.fromkeys(person for word, person in heard if person and not word.approved))
    if against:
        return Said(against, RefusalReason.REJECTED)
    if not_before_ms is None:
        return Said((), RefusalReason.NOT_REHEARSED)
    yes = [(word, person) for word, person in heard if word.approved and word.said_at_ms >= not_before_ms]
    trusted = [(word, person) for word, person in yes if person]
    fresh = [p for word, p in trusted if now_wall_ms < min(word.expires_at_ms, word.said_at_ms + life_ms)]
    persons = tuple(dict.fromkeys(fresh))
    if len(persons) >= persons_needed:
        return Said(persons, None)
    if persons:
        return Said(persons, RefusalReason.SAME_PERSON if len(fresh) > len(persons) else RefusalReason.SECOND_PERSON)
    if trusted:
        return Said((), RefusalReason.APPROVAL_EXPIRED)
    return Said((), RefusalReason.APPROVER_UNKNOWN) if yes else SILENCE


def is_well_formed(word: Approval) -> bool:
    """Tell whether a word has the shape that our command line gives it."""
    return (
        0 < len(word.members) <= BATCH_COMMANDS_MAX
        and all(len(member) == MEMBER_BYTES for member in word.members)
        and len(set(word.members)) == len(word.members)
        and len(word.why) <= WHY_LENGTH_MAX
        and not (word.rehearses and word.approved)
        and 0 < word.expires_at_ms - word.said_at_ms <= (REHEARSAL_LIFE_MS if word.rehearses else APPROVAL_LIFE_MS_MAX)
    )


def refusal_of(
    signers: Signers, verify: Verify, deployment: str, word: Approval, now_wall_ms: int
) -> RefusalReason | None:
    """Return why a word is refused when it is heard; None where it is not."""
    if not is_well_formed(word):
        return RefusalReason.UNREADABLE
    no = distrust(signers, verify, SignerRole.APPROVER, deployment, word, now_wall_ms)
    if no is not None:
        return no
    if word.batch_id != batch_id(deployment, word.members):
        return RefusalReason.ALTERED
    if word.said_at_ms > now_wall_ms + CLOCK_SKEW_MS_MAX:
        return RefusalReason.CLOCKS_DISAGREE
    return RefusalReason.APPROVAL_EXPIRED if now_wall_ms >= word.expires_at_ms else None
