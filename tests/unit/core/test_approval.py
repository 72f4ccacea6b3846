"""What people said of one command, put together: a no is final, a yes has its time, two persons are two names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.adapters.signing import SigningKey, verify
from app.core.approval import Said, Word, refusal_of, said
from app.core.command import Approval, RefusalReason
from app.core.limits import APPROVAL_LIFE_MS_MAX, BATCH_COMMANDS_MAX, CLOCK_SKEW_MS_MAX
from app.core.signing import MEMBER_BYTES, batch_id
from tests.property.applier_world import World
from tests.signatures import ANNA, ANNAS_OTHER, BERT, DEPLOYMENT, PLANNER, SIGNERS, STRANGER, signed_word, word_on

LIFE_MS = 1_000


def yes(key: SigningKey, at_ms: int = 0) -> Word:
    """Return a yes that says it counts for two thousand milliseconds."""
    return Word(key.key_id, True, at_ms, at_ms + 2_000)


def no(key: SigningKey, at_ms: int = 0) -> Word:
    """Return a no."""
    return replace(yes(key, at_ms), approved=False)


@pytest.mark.parametrize(
    ("words", "persons", "now_ms", "what"),
    [
        ([], 1, 0, Said((), RefusalReason.NOT_APPROVED)),
        ([yes(ANNA)], 1, 0, Said(("anna",), None)),
        ([yes(ANNA)], 1, LIFE_MS - 1, Said(("anna",), None)),
        ([yes(ANNA)], 1, LIFE_MS, Said((), RefusalReason.APPROVAL_EXPIRED)),  # the policy's life, not the word's
        ([replace(yes(ANNA), expires_at_ms=10)], 1, 10, Said((), RefusalReason.APPROVAL_EXPIRED)),
        ([yes(ANNA), yes(ANNA, 900)], 1, LIFE_MS, Said(("anna",), None)),
        ([yes(ANNA)], 2, 0, Said(("anna",), RefusalReason.SECOND_PERSON)),
        ([yes(ANNA), yes(ANNA, 1)], 2, 1, Said(("anna",), RefusalReason.SAME_PERSON)),
        ([yes(ANNA), yes(ANNAS_OTHER)], 2, 0, Said(("anna",), RefusalReason.SAME_PERSON)),
        ([yes(ANNA), yes(BERT)], 2, 0, Said(("anna", "bert"), None)),
        ([yes(ANNA), yes(BERT, 900)], 2, LIFE_MS, Said(("bert",), RefusalReason.SECOND_PERSON)),
        ([no(ANNA), yes(BERT), yes(ANNA, 1)], 1, 1, Said(("anna",), RefusalReason.REJECTED)),
        ([yes(BERT), no(ANNA)], 1, LIFE_MS * 9, Said(("anna",), RefusalReason.REJECTED)),
        ([yes(STRANGER)], 1, 0, Said((), RefusalReason.APPROVER_UNKNOWN)),
        ([no(STRANGER), yes(ANNA)], 1, 0, Said(("anna",), None)),
        ([yes(PLANNER)], 1, 0, Said((), RefusalReason.APPROVER_UNKNOWN)),
    ],
)
def test_words_together(words: list[Word], persons: int, now_ms: int, what: Said) -> None:
    """In each case who spoke, and the reason why it may not go."""
    assert said(words, SIGNERS, persons, LIFE_MS, now_ms) == what


@pytest.mark.parametrize(
    ("words", "from_ms", "what"),
    [
        ([], None, Said((), RefusalReason.NOT_REHEARSED)),
        ([yes(ANNA)], None, Said((), RefusalReason.NOT_REHEARSED)),
        ([no(ANNA)], None, Said(("anna",), RefusalReason.REJECTED)),
        ([yes(ANNA, 499)], 500, Said((), RefusalReason.NOT_APPROVED)),
        ([yes(ANNA, 499), yes(BERT, 500)], 500, Said(("bert",), None)),
        ([yes(BERT, 900), no(ANNA, 1)], 500, Said(("anna",), RefusalReason.REJECTED)),
    ],
)
def test_a_yes_from_before_the_rehearsal_does_not_count(words: list[Word], from_ms: int | None, what: Said) -> None:
    """Its person had not seen what it showed; a no counts whenever it was said."""
    assert said(words, SIGNERS, 1, LIFE_MS, 900, not_before_ms=from_ms) == what


def test_who_left_counts_no_more() -> None:
    """Trust is asked when the command is carried out, not when the word was said."""
    without_anna = {key_id: s for key_id, s in SIGNERS.items() if s.person != "anna"}
    assert said([yes(ANNA)], without_anna, 1, LIFE_MS, 0).refusal is RefusalReason.APPROVER_UNKNOWN
    until = {ANNA.key_id: replace(SIGNERS[ANNA.key_id], until_ms=5)}
    assert said([yes(ANNA)], until, 1, LIFE_MS, 4).refusal is None
    assert said([yes(ANNA)], until, 1, LIFE_MS, 5).refusal is RefusalReason.APPROVER_UNKNOWN


WORD = word_on([World(None, "extra").command("extra", None)], said_at_ms=10**9)


def of_members(*members: bytes) -> Approval:
    """Return a signed word on whatever members."""
    return signed_word(replace(WORD, members=members, batch_id=batch_id(DEPLOYMENT, members)))


@pytest.mark.parametrize(
    ("word", "now_ms", "reason"),
    [
        (WORD, 10**9, None),
        (WORD, 10**9 - CLOCK_SKEW_MS_MAX, None),
        (WORD, 10**9 - CLOCK_SKEW_MS_MAX - 1, RefusalReason.CLOCKS_DISAGREE),
        (WORD, WORD.expires_at_ms - 1, None),
        (WORD, WORD.expires_at_ms, RefusalReason.APPROVAL_EXPIRED),
        (
            signed_word(replace(WORD, expires_at_ms=10**9 + APPROVAL_LIFE_MS_MAX + 1)),
            10**9,
            RefusalReason.UNREADABLE,
        ),
        (signed_word(WORD, PLANNER), 10**9, RefusalReason.WRONG_ROLE),
        (signed_word(WORD, STRANGER), 10**9, RefusalReason.UNKNOWN_KEY),
        (signed_word(WORD, deployment="other"), 10**9, RefusalReason.FORGED),
        (replace(WORD, signature=b""), 10**9, RefusalReason.FORGED),
        (of_members(), 10**9, RefusalReason.UNREADABLE),
        (of_members(b"short"), 10**9, RefusalReason.UNREADABLE),
        (of_members(*WORD.members, *WORD.members), 10**9, RefusalReason.UNREADABLE),
        (
            of_members(*(n.to_bytes(MEMBER_BYTES, "big") for n in range(BATCH_COMMANDS_MAX + 1))),
            10**9,
            RefusalReason.UNREADABLE,
        ),
        (signed_word(replace(WORD, why="x" * 501)), 10**9, RefusalReason.UNREADABLE),
    ],
)
def test_why_a_word_is_not_heard(word: Approval, now_ms: int, reason: RefusalReason | None) -> None:
    """Forged, of the wrong role, of another deployment, altered, oversized, too early, too late."""
    assert refusal_of(SIGNERS, verify, DEPLOYMENT, word, now_ms) is reason
