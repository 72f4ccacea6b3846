"""The order in which a command is refused is the safety argument, so each row of each table is shown to come first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.approval import SILENCE, Said
from app.core.command import FINAL_REASONS, WAITS_FOR_WORD, Action, RefusalReason, RepairCommand
from app.core.contract import Hours, RepairMode, RepairPolicy
from app.core.guard import BEFORE, FENCE, LOCKED, WRITTEN, Fence, Known, Limits, Locked, Written, first_refusal
from app.core.ledger import LedgerCounts
from app.core.shard import shard_of

POLICY = RepairPolicy(mode=RepairMode.APPLY, deletes=True)
PROPOSE, OBSERVE = RepairMode.PROPOSE, RepairMode.OBSERVE
ALWAYS = Hours(frozenset(range(7)), 0, 24 * 60)
SLOW = replace(POLICY, automatic_per_minute=3)
FEW = replace(POLICY, automatic_percent_per_minute=1.0)
KNOWN = Known(
    policy=POLICY,
    contract_version=3,
    now_wall_ms=1_000,
    said=SILENCE,
    counts=LedgerCounts(0, 0, 0),
    limits=Limits(writes_per_minute=10, deletes_per_minute=2, same_row_per_hour=5),
)
ALLOWED = Said(("anna",), None)
UPSERT = RepairCommand(
    command_id=b"c" * 16,
    finding_id=b"f" * 16,
    incident_id=b"",
    entity="orders",
    contract_version=3,
    authority="shop",
    target="copy",
    action=Action.UPSERT,
    kind="different",
    sealed_key=b"",
    key_hash=b"k" * 16,
    partition=1,
    expected_digest=b"e" * 16,
    intended_digest=b"i" * 16,
    authority_position=b"",
    needs_approval=False,
    reason="",
    expires_at_ms=2_000,
    fence_token=7,
    trace_id=b"",
)
DELETE = replace(UPSERT, action=Action.DELETE, intended_digest=b"")
RESTORE = replace(UPSERT, action=Action.RESTORE, undoes=b"u" * 16, needs_approval=True)
TRANSFORM = replace(UPSERT, action=Action.TRANSFORM, kind="", columns=("name",))
SPELLS = replace(KNOWN, policy=replace(POLICY, transform=frozenset({"name", "code"})), said=ALLOWED)
UNDONE = LedgerCounts(0, 0, 0, was_undone=True)
SEEN = Locked(target_digest=b"e" * 16, whole_row_stood_still=True, authority_digest=b"i" * 16)
LEFT = Written(rows=1, digest=b"i" * 16, other_tables=())
ITEMS = frozenset({"shop.items", "shop.notes"})


@pytest.mark.parametrize(
    ("command", "known", "reason"),
    [
        (UPSERT, KNOWN, None),
        (UPSERT, replace(KNOWN, policy=None), RefusalReason.OUTSIDE_CONTRACT),
        (UPSERT, replace(KNOWN, policy=RepairPolicy()), RefusalReason.OUTSIDE_CONTRACT),
        (UPSERT, replace(KNOWN, contract_version=4), RefusalReason.OUTSIDE_CONTRACT),
        (UPSERT, replace(KNOWN, policy=replace(POLICY, upserts=False)), RefusalReason.OUTSIDE_CONTRACT),
        (DELETE, replace(KNOWN, policy=replace(POLICY, deletes=False)), RefusalReason.OUTSIDE_CONTRACT),
        (replace(UPSERT, action=Action.DELETE), KNOWN, RefusalReason.OUTSIDE_CONTRACT),
        (replace(DELETE, action=Action.UPSERT), KNOWN, RefusalReason.OUTSIDE_CONTRACT),
        (UPSERT, replace(KNOWN, now_wall_ms=1_999), None),
        (UPSERT, replace(KNOWN, now_wall_ms=2_000), RefusalReason.EXPIRED),
        (replace(UPSERT, needs_approval=True), KNOWN, RefusalReason.NOT_APPROVED),
        (replace(UPSERT, needs_approval=True), replace(KNOWN, said=ALLOWED), None),
        (UPSERT, replace(KNOWN, policy=replace(POLICY, mode=RepairMode.PROPOSE)), RefusalReason.NOT_APPROVED),
        (DELETE, KNOWN, RefusalReason.NOT_APPROVED),
        (DELETE, replace(KNOWN, policy=replace(POLICY, deletes_wait=False)), None),
        (UPSERT, replace(KNOWN, policy=replace(POLICY, kinds={"different": OBSERVE})), RefusalReason.OUTSIDE_CONTRACT),
        (UPSERT, replace(KNOWN, policy=replace(POLICY, kinds={"different": PROPOSE})), RefusalReason.NOT_APPROVED),
        (replace(UPSERT, planned_at_ms=301_000), KNOWN, None),
        (replace(UPSERT, planned_at_ms=301_001), KNOWN, RefusalReason.CLOCKS_DISAGREE),
        (UPSERT, replace(KNOWN, said=Said(("anna",), RefusalReason.REJECTED)), RefusalReason.REJECTED),
        (replace(UPSERT, policy_id=POLICY.policy_id), KNOWN, None),
        (replace(UPSERT, policy_id=SLOW.policy_id), KNOWN, RefusalReason.POLICY_DIFFERS),
        (replace(UPSERT, policy_id=SLOW.policy_id), replace(KNOWN, said=ALLOWED), RefusalReason.POLICY_DIFFERS),
        (
            replace(UPSERT, policy_id=SLOW.policy_id),
            replace(KNOWN, said=Said(("anna",), RefusalReason.REJECTED)),
            RefusalReason.REJECTED,
        ),
        *(
            (DELETE, replace(KNOWN, said=Said((), reason)), reason)
            for reason in sorted(
                # Those that no word of a person is the reason of.
                WAITS_FOR_WORD
                - {RefusalReason.OSCILLATES, RefusalReason.QUARANTINED, RefusalReason.UNDONE}
                - {RefusalReason.GROUP_REFUSED},
                key=lambda r: r.value,
            )
        ),
        *((UPSERT, replace(KNOWN, said=Said((), reason)), None) for reason in WAITS_FOR_WORD),
        (UPSERT, replace(KNOWN, is_quarantined=True), RefusalReason.QUARANTINED),
        (UPSERT, replace(KNOWN, is_quarantined=True, said=ALLOWED), None),
        (UPSERT, replace(KNOWN, policy=replace(POLICY, deny=(ALWAYS,))), RefusalReason.OUTSIDE_HOURS),
        (DELETE, replace(KNOWN, said=ALLOWED, policy=replace(POLICY, deny=(ALWAYS,))), RefusalReason.OUTSIDE_HOURS),
        (UPSERT, replace(KNOWN, policy=SLOW, counts=LedgerCounts(0, 0, 0, automatic_in_minute=2)), None),
        (UPSERT, replace(KNOWN, policy=SLOW, counts=LedgerCounts(0, 0, 0, 3)), RefusalReason.OVER_RATE),
        (UPSERT, replace(KNOWN, policy=SLOW, counts=LedgerCounts(0, 0, 0, 3), said=ALLOWED), None),
        (UPSERT, replace(KNOWN, policy=FEW, counts=LedgerCounts(0, 0, 0, 9), table_rows=1_000), None),
        (
            UPSERT,
            replace(KNOWN, policy=FEW, counts=LedgerCounts(0, 0, 0, 10), table_rows=1_000),
            RefusalReason.NOT_APPROVED,
        ),
        (UPSERT, replace(KNOWN, policy=FEW, counts=LedgerCounts(0, 0, 0, 10), table_rows=1_000, said=ALLOWED), None),
        (UPSERT, replace(KNOWN, counts=UNDONE), RefusalReason.UNDONE),
        (UPSERT, replace(KNOWN, counts=UNDONE, said=ALLOWED), None),
        (RESTORE, replace(KNOWN, counts=UNDONE, said=ALLOWED), None),
        (RESTORE, replace(KNOWN, policy=RepairPolicy(), said=ALLOWED), None),
        (RESTORE, replace(KNOWN, contract_version=4, said=ALLOWED), RefusalReason.OUTSIDE_CONTRACT),
        (RESTORE, replace(KNOWN, policy=None, said=ALLOWED), RefusalReason.OUTSIDE_CONTRACT),
        (RESTORE, KNOWN, RefusalReason.NOT_APPROVED),
        (replace(RESTORE, needs_approval=False), KNOWN, RefusalReason.NOT_APPROVED),
        (TRANSFORM, SPELLS, None),
        (TRANSFORM, replace(SPELLS, said=SILENCE), RefusalReason.NOT_APPROVED),
        (TRANSFORM, replace(SPELLS, policy=POLICY), RefusalReason.OUTSIDE_CONTRACT),
        (replace(TRANSFORM, columns=()), SPELLS, RefusalReason.OUTSIDE_CONTRACT),
        (replace(TRANSFORM, columns=("name", "amount")), SPELLS, RefusalReason.OUTSIDE_CONTRACT),
        (replace(TRANSFORM, expected_digest=b""), SPELLS, RefusalReason.OUTSIDE_CONTRACT),
        (replace(TRANSFORM, intended_digest=b""), SPELLS, RefusalReason.OUTSIDE_CONTRACT),
        (replace(TRANSFORM, intended_digest=b"e" * 16), SPELLS, RefusalReason.OUTSIDE_CONTRACT),
        (UPSERT, replace(KNOWN, counts=LedgerCounts(0, 0, 4)), None),
        (UPSERT, replace(KNOWN, counts=LedgerCounts(0, 0, 5)), RefusalReason.OSCILLATES),
        (UPSERT, replace(KNOWN, counts=LedgerCounts(0, 0, 5), said=ALLOWED), None),
        (UPSERT, replace(KNOWN, counts=LedgerCounts(9, 2, 0)), None),
        (UPSERT, replace(KNOWN, counts=LedgerCounts(10, 0, 0)), RefusalReason.OVER_BUDGET),
        (DELETE, replace(KNOWN, said=ALLOWED, counts=LedgerCounts(2, 1, 0)), None),
        (UPSERT, replace(KNOWN, said=ALLOWED, counts=LedgerCounts(10, 0, 0)), RefusalReason.OVER_RATE),
        (DELETE, replace(KNOWN, said=ALLOWED, counts=LedgerCounts(2, 2, 0)), RefusalReason.OVER_RATE),
        (TRANSFORM, replace(SPELLS, counts=LedgerCounts(10, 0, 0)), RefusalReason.OVER_RATE),
        (RESTORE, replace(KNOWN, said=ALLOWED, counts=LedgerCounts(99, 99, 99)), None),
        (replace(RESTORE, intended_digest=b""), replace(KNOWN, said=ALLOWED, counts=LedgerCounts(99, 99, 99)), None),
    ],
)
def test_before_the_transaction(command: RepairCommand, known: Known, reason: RefusalReason | None) -> None:
    """What needs no lock is decided by our own copy of the policy, the clock, the word and the ledger's counts."""
    assert first_refusal(BEFORE, command, known) is reason


def test_an_earlier_check_hides_a_later_one() -> None:
    """With every fact against it, a command is refused by the first row of each table."""
    against = replace(KNOWN, policy=None, now_wall_ms=9_999, counts=LedgerCounts(99, 99, 99))
    assert first_refusal(BEFORE, DELETE, against) is RefusalReason.OUTSIDE_CONTRACT
    against = replace(against, policy=POLICY)
    assert first_refusal(BEFORE, DELETE, against) is RefusalReason.EXPIRED
    against = replace(against, now_wall_ms=0)
    assert first_refusal(BEFORE, DELETE, against) is RefusalReason.NOT_APPROVED
    against = replace(against, said=ALLOWED)
    assert first_refusal(BEFORE, DELETE, against) is RefusalReason.OVER_RATE
    against = replace(against, said=Said((), RefusalReason.NOT_APPROVED))
    assert first_refusal(BEFORE, UPSERT, against) is RefusalReason.OSCILLATES


def test_a_newer_token_fences_a_survivor() -> None:
    """Only the token that the command was planned under may write, neither an older nor a newer one."""
    assert first_refusal(FENCE, UPSERT, Fence(7)) is None
    assert first_refusal(FENCE, UPSERT, Fence(8)) is RefusalReason.FENCED
    assert first_refusal(FENCE, UPSERT, Fence(6)) is RefusalReason.FENCED


def test_the_fence_of_a_shard_is_for_its_rows_alone() -> None:
    """Each raise, of the store's or of the shard's, voids what was planned before it, whatever the other stands at."""
    shard = shard_of(UPSERT)
    assert first_refusal(FENCE, UPSERT, Fence(7, shards={f"{shard}0": 8})) is None
    assert first_refusal(FENCE, UPSERT, Fence(6, shards={shard: 1})) is None
    for raised in (Fence(7, shards={shard: 1}), Fence(6, shards={shard: 2}), Fence(5, shards={shard: 1})):
        assert first_refusal(FENCE, UPSERT, raised) is RefusalReason.FENCED


def test_the_flag_in_the_target_holds_and_does_not_refuse_for_good() -> None:
    """Whatever the token says: a command waits until somebody takes the flag down."""
    for token in (7, 8):
        assert first_refusal(FENCE, UPSERT, Fence(token, is_stopped=True)) is RefusalReason.STOPPED
    assert RefusalReason.STOPPED not in FINAL_REASONS


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (SEEN, None),
        (replace(SEEN, target_digest=b""), RefusalReason.ROW_MOVED),
        (replace(SEEN, whole_row_stood_still=False), RefusalReason.ROW_LOCKED),
        (replace(SEEN, authority_digest=b""), RefusalReason.AUTHORITY_MOVED),
        (replace(SEEN, columns_mode=OBSERVE), RefusalReason.OUTSIDE_CONTRACT),
        (replace(SEEN, columns_mode=PROPOSE), RefusalReason.NOT_APPROVED),
        (replace(SEEN, columns_mode=PROPOSE, said=ALLOWED), None),
        (Locked(b"x", whole_row_stood_still=False, authority_digest=b"x"), RefusalReason.ROW_MOVED),
        (replace(SEEN, is_same_meaning=False, target_digest=b""), RefusalReason.MEANING_DIFFERS),
    ],
)
def test_under_the_lock(seen: Locked, reason: RefusalReason | None) -> None:
    """A row that is no longer the row that was judged is not written, on either side."""
    assert first_refusal(LOCKED, UPSERT, seen) is reason


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        (LEFT, None),
        (replace(LEFT, digest=b"x"), RefusalReason.NOT_HELD_BY_COLUMN),
        (replace(LEFT, rows=2), RefusalReason.WIDER_THAN_ONE_ROW),
        (replace(LEFT, rows=0), RefusalReason.WIDER_THAN_ONE_ROW),
        (replace(LEFT, other_tables=("audit",)), RefusalReason.WIDER_THAN_ONE_ROW),
        (replace(LEFT, other_tables=("shop.items",), child_tables=ITEMS), RefusalReason.FOREIGN_KEY),
        (replace(LEFT, other_tables=("shop.items", "audit"), child_tables=ITEMS), RefusalReason.WIDER_THAN_ONE_ROW),
        (replace(LEFT, other_tables=("shop.ITEMS",), child_tables=ITEMS), RefusalReason.WIDER_THAN_ONE_ROW),
        (replace(LEFT, rows=2, other_tables=("shop.items",), child_tables=ITEMS), RefusalReason.WIDER_THAN_ONE_ROW),
        (replace(LEFT, child_tables=ITEMS), None),
        (Written(2, b"x", ()), RefusalReason.NOT_HELD_BY_COLUMN),
    ],
)
def test_before_the_commit(left: Written, reason: RefusalReason | None) -> None:
    """What was read back must be what was intended, in one row of one table."""
    assert first_refusal(WRITTEN, UPSERT, left) is reason
