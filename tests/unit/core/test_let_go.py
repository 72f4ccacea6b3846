"""Whether people had let a command go when it was written: by the applier's rules, and what the records can prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.signing import SigningKey
from app.core.approval import Word, all_words_on, said
from app.core.command import Action, RefusalReason, RepairCommand
from app.core.contract import EntityContract, RehearsalRule, RepairMode, RepairPolicy, Replica, StoreTable
from app.core.guard import waits_for_person
from app.core.history.let_go import Unproven, Writing, policy_then, why_not
from app.core.limits import CLOCK_SKEW_MS_MAX
from app.core.rehearsal import yes_counts_from_ms
from tests.property.history_records import COMMAND, NOW_MS
from tests.signatures import ANNA, ANNAS_OTHER, BERT, SIGNERS, STRANGER

MINUTE_MS = 60_000
WRITTEN_MS = NOW_MS + 10 * MINUTE_MS
APPLIES, TWO = RepairPolicy(RepairMode.APPLY), RepairPolicy(RepairMode.APPLY, persons=2)
NEEDS_NONE = replace(COMMAND, needs_approval=False)
INSERTS = replace(NEEDS_NONE, expected_digest=b"")
DELETES = replace(NEEDS_NONE, action=Action.DELETE, intended_digest=b"")
UNDOES = replace(
    COMMAND, action=Action.RESTORE, undoes=b"u" * 16, key_id=ANNA.key_id, expires_at_ms=WRITTEN_MS + MINUTE_MS
)
AMOUNT_WAITS = replace(APPLIES, columns={"amount": RepairMode.PROPOSE})
NOTE_WAITS = replace(APPLIES, columns={"note": RepairMode.PROPOSE})
REHEARSED = replace(APPLIES, rehearsal=RehearsalRule.REQUIRED)
Because = RefusalReason | Unproven | None


def spoken(key: SigningKey, at_ms: int = NOW_MS, *, life_ms: int = 60 * MINUTE_MS, is_yes: bool = True) -> Word:
    """Return a person's word."""
    return Word(key.key_id, is_yes, at_ms, at_ms + life_ms)


YES = spoken(ANNA)
NO_IN_TIME = spoken(BERT, WRITTEN_MS - CLOCK_SKEW_MS_MAX, is_yes=False)


@pytest.mark.parametrize(
    ("command", "policy", "words", "because"),
    [
        (COMMAND, APPLIES, [YES], None),
        (COMMAND, APPLIES, [], RefusalReason.NOT_APPROVED),
        (NEEDS_NONE, APPLIES, [], None),
        # Two persons.
        (COMMAND, TWO, [YES], RefusalReason.SECOND_PERSON),
        (COMMAND, TWO, [YES, spoken(ANNAS_OTHER)], RefusalReason.SAME_PERSON),
        (COMMAND, TWO, [YES, spoken(BERT)], None),
        (UNDOES, TWO, [], RefusalReason.SECOND_PERSON),
        (UNDOES, TWO, [spoken(BERT)], None),
        (UNDOES, APPLIES, [], None),
        # Said after the write.
        (COMMAND, APPLIES, [spoken(ANNA, WRITTEN_MS + CLOCK_SKEW_MS_MAX + 1)], RefusalReason.NOT_APPROVED),
        (COMMAND, APPLIES, [spoken(ANNA, WRITTEN_MS + 1)], Unproven.CLOCKS_TOO_CLOSE),
        (COMMAND, TWO, [YES, spoken(BERT, WRITTEN_MS + 60 * MINUTE_MS)], RefusalReason.SECOND_PERSON),
        # A no.
        (COMMAND, APPLIES, [YES, NO_IN_TIME], RefusalReason.REJECTED),
        (NEEDS_NONE, APPLIES, [NO_IN_TIME], RefusalReason.REJECTED),
        (UNDOES, APPLIES, [NO_IN_TIME], RefusalReason.REJECTED),
        (COMMAND, APPLIES, [YES, spoken(BERT, WRITTEN_MS - 1, is_yes=False)], Unproven.CLOCKS_TOO_CLOSE),
        (COMMAND, APPLIES, [YES, spoken(BERT, WRITTEN_MS + 1, is_yes=False)], None),
        # Over at the write.
        (COMMAND, APPLIES, [spoken(ANNA, life_ms=5 * MINUTE_MS)], RefusalReason.APPROVAL_EXPIRED),
        (COMMAND, APPLIES, [spoken(ANNA, life_ms=10 * MINUTE_MS)], Unproven.CLOCKS_TOO_CLOSE),
        (COMMAND, replace(APPLIES, approval_life_ms=MINUTE_MS), [YES], RefusalReason.APPROVAL_EXPIRED),
        # Needed by the contract, whatever the command says.
        (NEEDS_NONE, RepairPolicy(RepairMode.PROPOSE), [], RefusalReason.NOT_APPROVED),
        (NEEDS_NONE, replace(APPLIES, kinds={"stale": RepairMode.PROPOSE}), [], RefusalReason.NOT_APPROVED),
        (NEEDS_NONE, replace(APPLIES, kinds={"extra": RepairMode.PROPOSE}), [], None),
        (DELETES, APPLIES, [], RefusalReason.NOT_APPROVED),
        (DELETES, replace(APPLIES, deletes_wait=False), [], None),
        (INSERTS, NOTE_WAITS, [], RefusalReason.NOT_APPROVED),
        (NEEDS_NONE, AMOUNT_WAITS, [], Unproven.COLUMNS_NOT_KNOWN),
        (NEEDS_NONE, AMOUNT_WAITS, [YES], None),
        (NEEDS_NONE, NOTE_WAITS, [], None),
        (replace(NEEDS_NONE, columns=()), NOTE_WAITS, [], Unproven.COLUMNS_NOT_KNOWN),
        # Keys that are not trusted any more.
        (COMMAND, APPLIES, [spoken(STRANGER)], Unproven.KEY_GONE),
        (COMMAND, TWO, [YES, spoken(STRANGER)], Unproven.KEY_GONE),
        (COMMAND, TWO, [spoken(STRANGER)], RefusalReason.APPROVER_UNKNOWN),
        (COMMAND, APPLIES, [spoken(STRANGER), NO_IN_TIME], RefusalReason.REJECTED),
        # A policy that nobody knows: what no policy lets go is wrong all the same.
        (COMMAND, None, [YES], Unproven.POLICY_NOT_KNOWN),
        (NEEDS_NONE, None, [], Unproven.POLICY_NOT_KNOWN),
        (COMMAND, None, [], RefusalReason.NOT_APPROVED),
        (COMMAND, None, [YES, NO_IN_TIME], RefusalReason.REJECTED),
    ],
)
def test_a_write_is_held_against_what_had_been_said(
    command: RepairCommand, policy: RepairPolicy | None, words: Sequence[Word], because: Because
) -> None:
    """Wrong where nothing could have let it go, and else what is not known is named."""
    assert why_not(Writing(command, WRITTEN_MS, policy, None), words, SIGNERS) is because


@pytest.mark.parametrize(
    ("rehearsed_at_ms", "because"),
    [(None, RefusalReason.NOT_REHEARSED), (NOW_MS, None), (NOW_MS + 1, RefusalReason.NOT_APPROVED)],
)
def test_a_yes_counts_from_the_rehearsal_that_the_policy_wants(rehearsed_at_ms: int | None, because: Because) -> None:
    """Its person had not seen what came of trying it."""
    assert why_not(Writing(COMMAND, WRITTEN_MS, REHEARSED, rehearsed_at_ms), [YES], SIGNERS) is because


def test_who_left_before_the_write_by_the_list_of_now_may_have_been_trusted_then() -> None:
    """A list says since when nobody is trusted, and not when that was written into it."""
    for until_ms, because in ((WRITTEN_MS - 6 * MINUTE_MS, Unproven.KEY_GONE), (WRITTEN_MS + 1, None)):
        signers = {**SIGNERS, ANNA.key_id: replace(SIGNERS[ANNA.key_id], until_ms=until_ms)}
        assert why_not(Writing(COMMAND, WRITTEN_MS, APPLIES, None), [YES], signers) is because


def test_the_policy_is_the_contracts_while_it_has_the_commands_version() -> None:
    """Another version, another authority, another target, or no contract: nobody knows, unless the command names it."""
    contract = EntityContract(
        entity="orders",
        number=0,
        version=1,
        authority="pg",
        stores=(StoreTable("pg", "orders", "pg.orders"), StoreTable("my", "orders", "my.orders")),
        replicas=(Replica("my", 1, 1, repair=TWO),),
        key=(),
        fields=(),
    )
    assert policy_then({"orders": contract}, COMMAND) == TWO
    others: list[Mapping[str, EntityContract]] = [
        {},
        {"orders": replace(contract, version=2)},
        {"orders": replace(contract, authority="my")},
        {"orders": replace(contract, replicas=())},
    ]
    assert [policy_then(each, COMMAND) for each in others] == [None] * 4
    named = replace(COMMAND, policy_id=TWO.policy_id)
    assert [policy_then(each, named) for each in others] == [None, TWO, TWO, None]
    assert policy_then({"orders": contract}, replace(COMMAND, policy_id=APPLIES.policy_id)) is None


WORDS = st.builds(
    spoken,
    st.sampled_from([ANNA, ANNAS_OTHER, BERT]),
    st.integers(WRITTEN_MS - 90 * MINUTE_MS, WRITTEN_MS + 10 * MINUTE_MS),
    life_ms=st.integers(1, 90 * MINUTE_MS),
    is_yes=st.sampled_from([True, True, True, False]),
)


@given(
    spoken_of=st.lists(st.tuples(WORDS, st.booleans()), max_size=4),
    command=st.sampled_from([COMMAND, NEEDS_NONE, DELETES, UNDOES]),
    policy=st.sampled_from([APPLIES, TWO, REHEARSED, RepairPolicy(RepairMode.PROPOSE)]),
    late_ms=st.integers(0, CLOCK_SKEW_MS_MAX),
    is_known=st.booleans(),
)
def test_what_an_applier_lets_go_is_never_called_wrong(
    spoken_of: list[tuple[Word, bool]], command: RepairCommand, policy: RepairPolicy, late_ms: int, *, is_known: bool
) -> None:
    """However late it tells of the write, whatever it had not heard of, and whatever is said after it had looked."""
    told_ms = WRITTEN_MS + late_ms
    # It hears no word from further ahead, and every no that was said before it looked.
    hearable_ms = WRITTEN_MS + CLOCK_SKEW_MS_MAX
    must_hear = [w for w, _ in spoken_of if not w.approved and w.said_at_ms <= told_ms - CLOCK_SKEW_MS_MAX]
    heard = must_hear + [word for word, hears in spoken_of if hears and word.said_at_ms <= hearable_ms]
    tried_ms = WRITTEN_MS - 30 * MINUTE_MS
    what = said(
        all_words_on(command, heard),
        SIGNERS,
        policy.persons,
        policy.approval_life_ms,
        WRITTEN_MS,
        not_before_ms=yes_counts_from_ms(policy, command, tried_ms),
    )
    needs = waits_for_person(command, policy) or what.refusal is RefusalReason.REJECTED
    writing = Writing(command, told_ms, policy if is_known else None, tried_ms)
    because = why_not(writing, [word for word, _ in spoken_of], SIGNERS)
    assert (needs and what.refusal is not None) or not isinstance(because, RefusalReason)
