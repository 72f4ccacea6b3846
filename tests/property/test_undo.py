"""What was repaired is taken back as it was, by a person's word, once, and never over what came after."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.applier.failpoints import FAILPOINTS
from app.core.command import Action, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.contract import EntityContract
from app.core.errors import Undecodable
from app.core.ledger import LedgerKind, check_id
from app.core.undo import undo_of
from app.ports import KeyNotHeld
from tests.property.applier_world import ENTITY, KEY, POLICY, Killed, World, digest, row
from tests.seals import SEALS
from tests.signatures import ANNA, BERT, PLANNER, STRANGER, signed, word_on

CASES = [("new", "old"), ("new", None), (None, "extra")]
"""Authority's and target's values: an update, an insert, a delete."""
CONTRACT = EntityContract(ENTITY, 1, 1, (), (), "shop", (), ())


def repaired(authority: object, target: object) -> tuple[World, RepairCommand]:
    """Return a world in which a repair was made, and the unsigned command that takes it back."""
    world = World(authority, target)
    command = world.command(target, authority)
    assert world.applier().carry_out(command).outcome is Outcome.APPLIED
    return world, undo_of(world.target.ledger[command.command_id], CONTRACT, world.now_ms, 3_600_000)


def undo(world: World, command: RepairCommand, key: object = ANNA) -> CommandOutcome:
    """Carry an undo out, as this person signs it."""
    return world.applier().apply(signed(command, key), command.partition)  # type: ignore[arg-type]  # a key of tests


@pytest.mark.parametrize(("authority", "target"), CASES)
def test_a_repair_is_taken_back_with_every_column(authority: object, target: object) -> None:
    """The row is what it was, also where no contract looks; it has a ledger row of its own, and happens once."""
    world, command = repaired(authority, target)
    outcome = undo(world, command)
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, None)
    assert world.target.rows.get((ENTITY, KEY)) == (None if target is None else row(target))
    ledger = world.target.ledger[command.command_id]
    assert (ledger.kind, ledger.approver, ledger.action) == (LedgerKind.UNDO, "anna", Action.RESTORE)
    before = world.target.transactions
    assert undo(world, command).outcome is Outcome.APPLIED
    assert world.target.transactions == before


def test_columns_that_changed_since_stay_as_they_are() -> None:
    """Of an update only the contract's columns are taken back."""
    world, command = repaired("new", "old")
    world.target.put(ENTITY, KEY, row("new", "changed since"))
    assert undo(world, command).outcome is Outcome.APPLIED
    assert world.target.rows[ENTITY, KEY] == row("old", "changed since")


@pytest.mark.parametrize(("authority", "target"), [("new", "old"), (None, "extra")])
def test_what_the_before_image_does_not_have_is_not_taken_back(authority: object, target: object) -> None:
    """A column of the contract that was renamed since: the image knows it by another name, and nobody guesses."""
    world, command = repaired(authority, target)
    world.target.fields = ("worth",)
    world.target.digest = lambda values: digest(values["worth"])
    for found in world.target.rows.values():
        found["worth"] = found.pop("value")
    before = dict(world.target.rows)
    outcome = undo(world, command)
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.NOT_UNDOABLE)
    assert '"worth"' in outcome.detail
    assert world.target.rows == before


@pytest.mark.parametrize(("authority", "target"), CASES)
def test_what_came_after_the_repair_is_never_overwritten(authority: object, target: object) -> None:
    """Compare-and-set: the row must still be what the repair left."""
    world, command = repaired(authority, target)
    world.target.put(ENTITY, KEY, row("later"))
    outcome = undo(world, command)
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.ROW_MOVED)
    assert world.value(world.target) == "later"


@pytest.mark.parametrize("now", [row("new", "changed since"), {**row("new"), "added_since": None}])
def test_an_undo_deletes_no_row_but_the_very_one_that_the_insert_left(now: dict[str, object]) -> None:
    """To delete it is to delete what stands in columns outside the contract as well, whoever wrote that."""
    world, command = repaired("new", None)
    world.target.rows[ENTITY, KEY] = {**world.target.rows[ENTITY, KEY], **now}
    outcome = undo(world, command)
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.ROW_MOVED)
    assert world.target.rows[ENTITY, KEY] == now


def test_what_an_insert_left_is_sealed_into_its_check_alone() -> None:
    """Under the check's own id; a check that ends with the row taken back has none."""
    world, command = repaired("new", None)
    check = world.target.ledger[check_id(command.undoes)]
    assert (check.kind, check.reason) == (LedgerKind.CHECK, None)
    assert SEALS.open_image(check.row_id, check.before_image) == repr([("value", "new")]).encode()
    with pytest.raises(Undecodable):
        SEALS.open_image(command.undoes, check.before_image)
    updated, command = repaired("new", "old")
    assert check_id(command.undoes) not in updated.target.ledger


@pytest.mark.parametrize("value", ["new", "later"])
def test_an_insert_of_which_nobody_knows_what_it_left_is_for_a_person_to_delete(value: str) -> None:
    """As earlier versions left them; one that has moved on by the contract is still said to have."""
    world, command = repaired("new", None)
    check = world.target.ledger[check_id(command.undoes)]
    world.target.ledger[check.row_id] = replace(check, before_image=b"")
    world.target.put(ENTITY, KEY, row(value))
    outcome = undo(world, command)
    if value == "new":
        assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.NOT_UNDOABLE)
        assert "delete it by hand" in outcome.detail
    else:
        assert outcome.reason is RefusalReason.ROW_MOVED
    assert world.value(world.target) == value


@pytest.mark.parametrize("value", ["new", "later"])
def test_a_check_that_comes_late_goes_by_the_row_as_it_stands_then(value: str) -> None:
    """Its process has died, and with it what it knew; a row that moved on by the contract has no image."""
    world = World("new", None)
    command = world.command(None, "new")

    def die(name: str) -> None:
        if name == "committed":
            raise Killed(name)

    with pytest.raises(Killed):
        world.applier(die).carry_out(command)
    world.target.put(ENTITY, KEY, row(value, "before the check"))
    (outcome,) = world.applier().check_unchecked()
    assert outcome.outcome is Outcome.APPLIED
    assert bool(world.target.ledger[check_id(command.command_id)].before_image) is (value == "new")
    asked = undo_of(world.target.ledger[command.command_id], CONTRACT, world.now_ms, 3_600_000)
    world.target.put(ENTITY, KEY, row(value, "behind the check"))
    assert undo(world, asked).reason is RefusalReason.ROW_MOVED
    assert world.target.rows[ENTITY, KEY] == row(value, "behind the check")


def test_without_its_master_key_an_inserted_row_is_held() -> None:
    """Somebody may bring the key back, as for the images of other repairs."""
    world, command = repaired("new", None)
    applier = world.applier()

    def missing(_row_id: bytes, _sealed: bytes) -> bytes:
        raise KeyNotHeld("the master key is not here")

    seals = SimpleNamespace(open_key=SEALS.open_key, seal_image=SEALS.seal_image, open_image=missing)
    object.__setattr__(applier, "seals", seals)
    outcome = applier.apply(signed(command, ANNA), command.partition)
    assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.KEY_NOT_HELD)
    assert undo(world, command).outcome is Outcome.APPLIED


def test_only_an_approver_may_undo_and_nothing_else() -> None:
    """Not the planner, not a stranger; and a person's signature makes no ordinary command."""
    world, command = repaired("new", "old")
    assert undo(world, command, PLANNER).reason is RefusalReason.WRONG_ROLE
    assert undo(world, command, STRANGER).reason is RefusalReason.UNKNOWN_KEY
    assert undo(world, replace(command, undoes=b"")).reason is RefusalReason.WRONG_ROLE
    assert world.value(world.target) == "new"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"undoes": b"x" * 16}, RefusalReason.UNREADABLE),
        ({"action": Action.UPSERT}, RefusalReason.UNREADABLE),
        ({"expected_digest": b"e" * 16}, RefusalReason.NOT_UNDOABLE),
        ({"intended_digest": b""}, RefusalReason.NOT_UNDOABLE),
        ({"key_hash": b"k" * 16}, RefusalReason.NOT_UNDOABLE),
        ({"contract_version": 2}, RefusalReason.OUTSIDE_CONTRACT),
        ({"expires_at_ms": 0}, RefusalReason.EXPIRED),
        ({"fence_token": 7}, RefusalReason.FENCED),
    ],
)
def test_an_undo_of_what_the_ledger_does_not_say_is_refused(changes: dict[str, object], reason: RefusalReason) -> None:
    """What is taken back stands in the ledger, not in the command."""
    world, command = repaired("new", "old")
    outcome = undo(world, replace(command, **changes))  # type: ignore[arg-type]  # by name
    assert outcome.reason is reason
    assert world.value(world.target) == "new"


def test_an_insert_is_taken_back_only_where_the_contract_lets_rows_be_deleted() -> None:
    """An undo of an insert deletes a row; all else may be taken back under any policy."""
    for authority, target, reason in (
        ("new", None, RefusalReason.OUTSIDE_CONTRACT),
        ("new", "old", None),
        (None, "extra", None),
    ):
        world, command = repaired(authority, target)
        world.policy = replace(POLICY, deletes=False)
        assert undo(world, command).reason is reason
        assert world.value(world.target) == (target if reason is None else authority)


def test_two_persons_undo_where_two_approve() -> None:
    """Who signed is one; the other says so by a word, and cannot be the same."""
    world, command = repaired("new", "old")
    world.policy = replace(POLICY, persons=2)
    assert undo(world, command).reason is RefusalReason.SECOND_PERSON
    world.say(command)
    assert undo(world, command).reason is RefusalReason.SAME_PERSON
    word = word_on([command], BERT)
    (said,) = world.words[command.command_id]
    world.words[command.command_id] = [replace(said, key_id=word.key_id)]
    assert undo(world, command).outcome is Outcome.APPLIED
    assert world.target.ledger[command.command_id].approver == "bert and anna"


def test_what_was_undone_is_not_repaired_again_without_a_person() -> None:
    """The planner would do at once what was just taken back; a person's word lets it."""
    world, command = repaired("new", "old")
    undo(world, command)
    again = world.command("old", "new")
    held = world.applier().carry_out(again)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.UNDONE)
    world.say(again)
    assert world.applier().carry_out(again).outcome is Outcome.APPLIED
    # From then on the row is one like any other.
    world.target.put(ENTITY, KEY, row("old"))
    assert world.applier().carry_out(world.command("old", "new")).outcome is Outcome.APPLIED


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CASES), st.sampled_from(FAILPOINTS), st.booleans())
def test_killed_anywhere_it_is_undone_once(case: tuple[object, object], step: str, moves: bool) -> None:  # noqa: FBT001 - Hypothesis gives it
    """Begun anew it ends as if nothing had happened; what the application wrote meanwhile stands."""
    world, command = repaired(*case)

    def die(name: str) -> None:
        if name == step:
            raise Killed(name)

    try:
        world.applier(die).apply(signed(command, ANNA), 0)
    except Killed:
        if moves:
            world.target.put(ENTITY, KEY, row("later"))
    outcome = undo(world, command)
    kinds = [each.kind for each in world.target.ledger.values() if each.row_id == command.command_id]
    assert len(kinds) == 1
    if kinds == [LedgerKind.UNDO]:
        assert outcome.outcome is Outcome.APPLIED
        assert world.value(world.target) in {case[1], "later"}
    else:
        assert outcome.reason is RefusalReason.ROW_MOVED
        assert world.value(world.target) == "later"
