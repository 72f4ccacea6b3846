"""Spelling is aligned where the meaning is equal: named columns, never over what came meanwhile, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from app.adapters.memory_rows import Blocked, MemoryRows, plain_digest
from app.applier.failpoints import FAILPOINTS, no_failpoint
from app.core.command import Action, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.contract import EntityContract, RepairMode, RepairPolicy
from app.core.guard import is_well_formed
from app.core.ledger import LedgerKind
from app.core.signing import signed_form
from app.core.transform import aligned, transform_of, unlike
from app.core.undo import undo_of
from tests.property.applier_world import ENTITY, KEY, Killed, World
from tests.seals import SEALS
from tests.signatures import ANNA, BERT, PLANNER, STRANGER, signed, word_on

FIELDS = ("name", "code")
POLICY = RepairPolicy(mode=RepairMode.PROPOSE, transform=frozenset({"name"}))
CONTRACT = EntityContract(ENTITY, 1, 1, (), (), "shop", (), ())


def meaning(values: Mapping[str, object]) -> bytes:
    """Digest values without their case and the blanks around them."""
    return plain_digest({name: str(value).strip().lower() for name, value in values.items()})


def thing(name: str, code: str = "c", note: str = "theirs") -> dict[str, object]:
    """Return a row: `note` is a column outside the contract."""
    return {"name": name, "code": code, "note": note}


class SpelledWorld(World):
    """One row in two stores whose contract ignores case and blanks."""

    def __init__(self, policy: RepairPolicy = POLICY, holds: Callable[[str, object], object] | None = None) -> None:
        super().__init__(None, None, policy)
        self.authority = MemoryRows(FIELDS, digest=meaning)
        self.target = MemoryRows(FIELDS, digest=meaning, holds=holds or (lambda _column, value: value))
        self.authority.put(ENTITY, KEY, thing("Anna ", "C"))
        self.target.put(ENTITY, KEY, thing("anna"))

    def asked(self, columns: tuple[str, ...] = ("name",)) -> RepairCommand:
        """Return what a person asks for now."""
        (target,), (authority,) = (store.read([(ENTITY, KEY)]) for store in (self.target, self.authority))
        self.drifts += 1
        return transform_of(
            CONTRACT,
            "copy",
            key_hash=b"h" * 16,
            sealed_key=SEALS.seal_key(ENTITY, KEY),
            partition=0,
            columns=columns,
            expected_spelling=self.target.spelling(ENTITY, target.values),
            intended_spelling=self.target.spelling(ENTITY, aligned(target.values, authority.values, columns)),
            now_wall_ms=self.now_ms + self.drifts,
            life_ms=3_600_000,
        )

    def carry_out(
        self, command: RepairCommand, key: object = ANNA, failpoint: Callable[[str], None] = no_failpoint
    ) -> CommandOutcome:
        """Carry a command out, as this person signs it."""
        return self.applier(failpoint).apply(signed(command, key), 0)  # type: ignore[arg-type]  # a key of tests


def test_named_columns_are_spelled_as_the_authority_spells_them() -> None:
    """And nothing else: neither another column that is spelled otherwise, nor the row's digest."""
    world = SpelledWorld()
    before = world.target.read([(ENTITY, KEY)])[0].digest
    command = world.asked()
    outcome = world.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, None)
    assert world.target.rows[ENTITY, KEY] == thing("Anna ", "c")
    assert world.target.read([(ENTITY, KEY)])[0].digest == before
    (ledger,) = world.target.ledger.values()
    assert (ledger.kind, ledger.action, ledger.approver) == (LedgerKind.COMMAND, Action.TRANSFORM, "anna")
    written = world.target.transactions
    assert world.carry_out(command).outcome is Outcome.APPLIED
    assert world.target.transactions == written


@pytest.mark.parametrize(
    ("authority", "target"),
    [(thing("berta"), None), (None, thing("berta")), (thing("berta"), thing("BERTA"))],
    ids=["the authority's row is another", "the replica's row is another", "both, and equal again"],
)
def test_where_the_meaning_moved_nothing_is_aligned(
    authority: dict[str, object] | None, target: dict[str, object] | None
) -> None:
    """A row that is not equal by the contract is a drift, whose repair is another; and what was asked for is over."""
    world = SpelledWorld()
    command = world.asked()
    for store, row in ((world.authority, authority), (world.target, target)):
        if row is not None:
            store.put(ENTITY, KEY, row)
    before = dict(world.target.rows)
    outcome = world.carry_out(command)
    reason = RefusalReason.ROW_MOVED if authority and target else RefusalReason.MEANING_DIFFERS
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, reason)
    assert world.target.rows == before


@pytest.mark.parametrize("gone", ["authority", "target"])
def test_without_a_row_there_is_nothing_to_align(gone: str) -> None:
    """Neither is a row made, nor one emptied."""
    world = SpelledWorld()
    command = world.asked()
    getattr(world, gone).put(ENTITY, KEY, None)
    before = dict(world.target.rows)
    assert world.carry_out(command).reason is RefusalReason.MEANING_DIFFERS
    assert world.target.rows == before


def test_a_spelling_that_came_meanwhile_is_never_overwritten() -> None:
    """On either side, though the digest of the row never moved."""
    world = SpelledWorld()
    command = world.asked()
    world.target.put(ENTITY, KEY, thing("ANNA"))
    assert world.carry_out(command).reason is RefusalReason.ROW_MOVED
    assert world.target.rows[ENTITY, KEY] == thing("ANNA")
    command = world.asked()
    world.authority.put(ENTITY, KEY, thing("AnnA", "C"))
    assert world.carry_out(command).reason is RefusalReason.AUTHORITY_MOVED
    assert world.target.rows[ENTITY, KEY] == thing("ANNA")


def test_a_column_that_cannot_hold_the_spelling_is_left_as_it_was() -> None:
    """What is read back must be what was intended, to the last blank."""
    world = SpelledWorld(holds=lambda _column, value: str(value).rstrip())
    assert world.carry_out(world.asked()).reason is RefusalReason.NOT_HELD_BY_COLUMN
    assert world.target.rows[ENTITY, KEY] == thing("anna")


@pytest.mark.parametrize(
    ("changes", "policy", "reason"),
    [
        ({}, RepairPolicy(mode=RepairMode.APPLY), RefusalReason.OUTSIDE_CONTRACT),
        ({}, replace(POLICY, mode=RepairMode.OBSERVE), RefusalReason.OUTSIDE_CONTRACT),
        ({}, replace(POLICY, columns={"name": RepairMode.OBSERVE}), RefusalReason.OUTSIDE_CONTRACT),
        ({"columns": ()}, POLICY, RefusalReason.OUTSIDE_CONTRACT),
        ({"columns": ("name", "code")}, POLICY, RefusalReason.OUTSIDE_CONTRACT),
        ({"columns": ('name" = name; DROP TABLE orders; --',)}, POLICY, RefusalReason.OUTSIDE_CONTRACT),
        ({"columns": ("%s", "name")}, POLICY, RefusalReason.OUTSIDE_CONTRACT),
        ({"contract_version": 2}, POLICY, RefusalReason.OUTSIDE_CONTRACT),
        ({"expires_at_ms": 1_000}, POLICY, RefusalReason.EXPIRED),
        ({"fence_token": 7}, POLICY, RefusalReason.FENCED),
        ({"undoes": b"u" * 16}, POLICY, RefusalReason.UNREADABLE),
        ({"intended_digest": b"i" * 16}, POLICY, RefusalReason.UNREADABLE),
    ],
)
def test_what_the_contract_does_not_let_be_aligned_is_refused(
    changes: dict[str, object], policy: RepairPolicy, reason: RefusalReason
) -> None:
    """Whoever signs it: our own copy of the contract decides."""
    world = SpelledWorld(policy)
    outcome = world.carry_out(replace(world.asked(), **changes))  # type: ignore[arg-type]  # by name
    assert outcome.reason is reason
    assert world.target.rows[ENTITY, KEY] == thing("anna")


def test_only_an_approver_may_ask() -> None:
    """Not the planner, not a stranger; and nobody makes of it what it was not signed for."""
    world = SpelledWorld()
    command = world.asked()
    assert world.carry_out(command, PLANNER).reason is RefusalReason.WRONG_ROLE
    assert world.carry_out(command, STRANGER).reason is RefusalReason.UNKNOWN_KEY
    wider = replace(signed(command, ANNA), columns=("name", "code"))
    assert world.applier().apply(wider, 0).reason is RefusalReason.FORGED
    as_upsert = replace(command, action=Action.UPSERT)
    assert world.carry_out(as_upsert).reason is RefusalReason.WRONG_ROLE
    assert world.target.rows[ENTITY, KEY] == thing("anna")


def test_two_persons_align_where_two_approve() -> None:
    """Who asks is one, whatever the command says of itself; the other says so by a word."""
    world = SpelledWorld(replace(POLICY, mode=RepairMode.APPLY, persons=2))
    command = replace(world.asked(), needs_approval=False)
    assert world.carry_out(command).reason is RefusalReason.SECOND_PERSON
    world.say(command)
    assert world.carry_out(command).reason is RefusalReason.SAME_PERSON
    word = word_on([command], BERT)
    (said,) = world.words[command.command_id]
    world.words[command.command_id] = [replace(said, key_id=word.key_id)]
    assert world.carry_out(command).outcome is Outcome.APPLIED


def undone(world: SpelledWorld) -> RepairCommand:
    """Align, and return the command that takes it back."""
    command = world.asked()
    assert world.carry_out(command).outcome is Outcome.APPLIED
    return undo_of(world.target.ledger[command.command_id], CONTRACT, world.now_ms, 3_600_000)


def test_what_was_aligned_is_taken_back() -> None:
    """The row is spelled as it was; what changed outside the contract stays."""
    world = SpelledWorld()
    undo = undone(world)
    world.target.put(ENTITY, KEY, thing("Anna ", "c", "changed since"))
    assert world.carry_out(undo).outcome is Outcome.APPLIED
    assert world.target.rows[ENTITY, KEY] == thing("anna", "c", "changed since")


def test_an_undo_leaves_a_spelling_that_came_after_it_was_aligned() -> None:
    """By the row's digest nothing has moved: the spelling has."""
    world = SpelledWorld()
    undo = undone(world)
    world.target.put(ENTITY, KEY, thing("ANNA"))
    assert world.carry_out(undo).reason is RefusalReason.ROW_MOVED
    assert world.target.rows[ENTITY, KEY] == thing("ANNA")


@pytest.mark.parametrize("step", FAILPOINTS)
def test_killed_anywhere_it_is_aligned_once(step: str) -> None:
    """Begun anew it ends as if nothing had happened."""
    world = SpelledWorld()
    command = world.asked()

    def die(name: str) -> None:
        if name == step:
            raise Killed(name)

    try:
        world.carry_out(command, failpoint=die)
    except Killed:
        assert step in world.steps
    assert world.carry_out(command).outcome is Outcome.APPLIED
    assert world.target.rows[ENTITY, KEY] == thing("Anna ", "c")
    assert len(world.target.ledger) == 1


@pytest.mark.parametrize("step", FAILPOINTS)
@pytest.mark.parametrize("name", ["ANNA", "berta"])
def test_whatever_the_application_writes_between_two_steps_stands(step: str, name: str) -> None:
    """Of the same meaning or another: what got through is what the row holds in the end."""
    world = SpelledWorld()
    got_through = []

    def write(passed: str) -> None:
        if passed == step:
            try:
                world.target.put(ENTITY, KEY, thing(name))
            except Blocked:
                return
            got_through.append(name)

    world.carry_out(world.asked(), failpoint=write)
    assert world.target.rows[ENTITY, KEY] == (thing(name) if got_through else thing("Anna ", "c"))


def test_every_asking_is_a_command_of_its_own() -> None:
    """Else one that was refused would bar the next; and all of its content is signed."""
    world = SpelledWorld()
    first, second = world.asked(), world.asked()
    assert first.command_id != second.command_id
    assert is_well_formed(first)
    assert signed_form("d", first) != signed_form("d", replace(first, columns=("code",)))
    assert unlike(thing("a", "b"), thing("A", "b"), FIELDS) == ("name",)
