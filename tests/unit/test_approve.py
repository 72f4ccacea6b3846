"""Which commands wait for a person, and which of them a choice means."""

from __future__ import annotations

from dataclasses import replace

from app.cli.approve import Wanted, waiting
from app.core.command import Approval, CommandOutcome, Outcome, RefusalReason, RepairCommand
from tests.property.applier_world import World

WORLD = World(None, "extra")


def command(*, needs_approval: bool = True) -> RepairCommand:
    """Return a command of its own."""
    return replace(WORLD.command("extra", None), needs_approval=needs_approval, incident_id=b"i" * 16)


def outcome(of: RepairCommand, what: Outcome, reason: RefusalReason | None = None) -> CommandOutcome:
    """Return an outcome of a command."""
    return CommandOutcome(of.command_id, of.finding_id, "orders", "copy", what, reason, 0, "", 0, b"", "")


def word(on: RepairCommand, *, approved: bool) -> Approval:
    """Return a person's word."""
    return Approval(on.command_id, "anna", approved, 0, b"", b"", 0)


def test_what_waits_is_what_needs_a_word_and_has_none() -> None:
    """Done, answered, expired and unneeded ones do not wait; each waits once however often it was sent."""
    fresh, held, applied, refused, said, denied = (command() for _ in range(6))
    by_policy, free = command(needs_approval=False), command(needs_approval=False)
    late = replace(command(), expires_at_ms=500)
    every = (fresh, held, held, applied, refused, said, denied, by_policy, free, late)
    found = waiting(
        [(2, each) for each in every],
        [
            outcome(held, Outcome.HELD, RefusalReason.NOT_APPROVED),
            outcome(applied, Outcome.APPLIED),
            outcome(refused, Outcome.REFUSED, RefusalReason.ROW_MOVED),
            outcome(by_policy, Outcome.HELD, RefusalReason.NOT_APPROVED),
            outcome(free, Outcome.HELD, RefusalReason.ROW_LOCKED),
        ],
        [word(said, approved=True), word(denied, approved=False)],
        now_wall_ms=500,
    )
    assert [each.command for each in found] == [fresh, held, by_policy]
    assert {each.partition for each in found} == {2}


def test_a_choice_means_what_it_names() -> None:
    """By the first digits of an id, narrowed by entity."""
    one, other = command(), command()
    nothing = Wanted(everything=False, findings=(), commands=(), incidents=(), entity=None)
    assert nothing.is_empty
    assert not nothing.has(one)
    for wanted in (
        replace(nothing, findings=(one.finding_id.hex(),)),
        replace(nothing, commands=(one.command_id.hex()[:8],)),
    ):
        assert wanted.has(one)
        assert not wanted.has(other)
        assert not replace(wanted, entity="others").has(one)
    everything = replace(nothing, everything=True)
    incident = replace(nothing, incidents=((b"i" * 16).hex(),))
    assert all(wanted.has(each) for wanted in (everything, incident) for each in (one, other))
