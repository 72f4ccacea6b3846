"""Whether the persons whom a ledger's row names have signed it: each word that is none of theirs on it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from app.adapters.signing import verify
from app.core.chain import Break
from app.core.command import Action, Approval, RepairCommand, undo_id
from app.core.history.approvers import Approvers
from app.core.history.changes import Belief
from app.core.ledger import LedgerKind, LedgerRow
from app.core.limits import CLOCK_SKEW_MS_MAX
from tests.property.applier_world import POLICY, World
from tests.signatures import ANNA, BERT, DEPLOYMENT, PLANNER, SIGNERS, STRANGER, signed, signed_word, word_on

AT_MS = 1_000
HOUR_MS = 3_600_000
LATE_MS = AT_MS + CLOCK_SKEW_MS_MAX
NOT_SIGNED, NOT_PROVEN = Break.NOT_SIGNED_FOR, Break.WORD_NOT_PROVEN


def waiting() -> tuple[World, RepairCommand]:
    """Return a delete that waits for a person."""
    world = World(None, "extra", replace(POLICY, deletes_wait=True))
    return world, signed(replace(world.command("extra", None), needs_approval=True))


def written() -> tuple[RepairCommand, LedgerRow]:
    """Return a delete that Anna let go, and what the applier wrote of it."""
    world, command = waiting()
    world.say(command)
    assert world.applier().carry_out(command).reason is None
    return command, world.target.ledger[command.command_id]


def rejected() -> tuple[RepairCommand, LedgerRow]:
    """Return a delete to which Anna said no, and the row of that."""
    world, command = waiting()
    world.say(command, approved=False)
    world.applier().carry_out(command)
    return command, world.target.ledger[command.command_id]


Words = Callable[[RepairCommand], Sequence[Approval]]


@dataclass(frozen=True)
class Case:
    """Words, and what is said of a row that names Anna; `kept` are the commands on their topic."""

    words: Words
    doubt: Break | None
    kept: Callable[[RepairCommand], Sequence[RepairCommand]] = lambda command: [command]
    has_all: bool = True
    names: str = "anna"


def anna(command: RepairCommand) -> list[Approval]:
    """Return Anna's yes."""
    return [word_on([command])]


CASES = {
    "hers": Case(anna, None),
    "hers among others": Case(lambda c: [word_on([replace(c, finding_id=b"o" * 16), c])], None),
    "hers, of two that are named": Case(anna, NOT_SIGNED, names="anna and bert"),
    "both": Case(lambda c: [word_on([c]), word_on([c], BERT)], None, names="anna and bert"),
    "nobody's": Case(lambda _: [], NOT_SIGNED),
    "another person's": Case(lambda c: [word_on([c], BERT)], NOT_SIGNED),
    "a no": Case(lambda c: [word_on([c], approved=False)], NOT_SIGNED),
    "asking for a rehearsal": Case(lambda c: [word_on([c], approved=False, rehearses=True, life_ms=9_000)], NOT_SIGNED),
    "a stranger's under her key": Case(
        lambda c: [replace(word_on([c], STRANGER), key_id=ANNA.key_id)],
        NOT_SIGNED,
    ),
    "the planner's": Case(lambda c: [word_on([c], PLANNER)], NOT_SIGNED),
    "for another deployment": Case(lambda c: [signed_word(word_on([c]), deployment="other")], NOT_SIGNED),
    "under another batch's name": Case(lambda c: [signed_word(replace(word_on([c]), batch_id=b"b" * 32))], NOT_SIGNED),
    "on another command": Case(lambda c: [word_on([replace(c, finding_id=b"o" * 16)])], NOT_SIGNED),
    "on another version": Case(lambda c: [word_on([replace(c, expires_at_ms=9)])], NOT_SIGNED),
    "on one that no planner signed": Case(anna, NOT_SIGNED, kept=lambda c: [replace(c, signature=b"no")]),
    "under another token than the row's": Case(
        lambda c: [word_on([replace(c, fence_token=1)])],
        NOT_SIGNED,
        kept=lambda c: [c, signed(replace(c, fence_token=1))],
    ),
    "as far behind as clocks may differ": Case(lambda c: [word_on([c], said_at_ms=LATE_MS)], None),
    "afterwards": Case(lambda c: [word_on([c], said_at_ms=LATE_MS + 1)], NOT_SIGNED),
    "over by then": Case(lambda c: [word_on([c], said_at_ms=-2 * HOUR_MS)], NOT_SIGNED),
    "of a key that nobody trusts any more": Case(lambda c: [word_on([c], STRANGER)], NOT_PROVEN),
    "one gone key for two names": Case(lambda c: [word_on([c], STRANGER)], NOT_SIGNED, names="anna and bert"),
    "hers, the command deleted by Kafka": Case(anna, None, kept=lambda _: [], has_all=False),
    "nobody's, the command deleted by Kafka": Case(lambda _: [], NOT_PROVEN, kept=lambda _: [], has_all=False),
    "hers, of a command that never was": Case(anna, NOT_SIGNED, kept=lambda _: []),
    "nobody named, nobody's": Case(lambda _: [], NOT_SIGNED, names=""),
    "nobody named, hers": Case(anna, None, names=""),
    "nobody named, nobody's, let go by another version": Case(
        lambda _: [], None, kept=lambda c: [c, signed(replace(c, needs_approval=False))], names=""
    ),
}


def doubt(
    row: LedgerRow, words: Sequence[Approval], commands: Sequence[RepairCommand], *, has_all: bool = True
) -> Break | None:
    """Return what is said of a row."""
    return Approvers(Belief(DEPLOYMENT, SIGNERS, verify), words, commands, has_all_commands=has_all).doubt(row)


@pytest.mark.parametrize("name", CASES)
def test_a_name_in_the_ledger_is_held_against_the_words(name: str) -> None:
    """It is true where a word of that person, on exactly this command, was good when the row was written."""
    case = CASES[name]
    command, row = written()
    assert row.approver == "anna"
    told = doubt(replace(row, approver=case.names), case.words(command), case.kept(command), has_all=case.has_all)
    assert told is case.doubt


def test_a_no_is_held_against_the_words_too() -> None:
    """A yes of the same person is none, nor is a wish to see it tried, and a no counts however long ago it was said."""
    command, row = rejected()
    assert row.approver == "anna"
    assert doubt(row, [word_on([command])], [command]) is NOT_SIGNED
    asks = word_on([command], approved=False, rehearses=True, life_ms=9_000)
    assert doubt(row, [asks], [command]) is NOT_SIGNED
    assert doubt(row, [word_on([command], approved=False, said_at_ms=-2 * HOUR_MS)], [command]) is None


def test_who_asks_for_an_undo_has_signed_it() -> None:
    """The command's own signature is the word; a planner's is none."""
    command, row = written()
    undo = replace(
        command,
        command_id=undo_id(command.command_id),
        undoes=command.command_id,
        action=Action.RESTORE,
        planned_at_ms=0,
    )
    undone = replace(row, original_id=undo.command_id, kind=LedgerKind.UNDO)
    assert doubt(undone, [], [signed(undo, ANNA)]) is None
    assert doubt(undone, [], [signed(undo, BERT)]) is NOT_SIGNED
    assert doubt(undone, [], [signed(undo, PLANNER)]) is NOT_SIGNED
    assert doubt(undone, [], [signed(undo, STRANGER)]) is NOT_PROVEN


def test_what_no_person_had_to_let_go_needs_no_word() -> None:
    """Nor any look at its command."""
    world = World("new", "old")
    command = signed(world.command("old", "new"))
    assert world.applier().carry_out(command).reason is None
    assert doubt(world.target.ledger[command.command_id], [], [command]) is None
