"""The applier and its quarantined shards: counted, said, held, approved one by one, and let go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app import observe
from app.codec.control import decode_control
from app.core.command import RefusalReason, RepairCommand
from app.core.quarantine import shard_name
from app.core.signing import signed_form
from app.core.switch import Control, Said
from tests.property.applier_rig import TOPICS, Rig
from tests.property.applier_world import POLICY, World
from tests.signatures import ANNA, DEPLOYMENT, PLANNER

SHARD = shard_name("orders", "copy", 0)


def lifting(through: int, key: object = ANNA, shard: str = SHARD) -> Control:
    """Return a signed word that lifts a shard's quarantine."""
    word = Control(Said.RESUME, "anna", 0, lifts_through=through, key_id=key.key_id, shard=shard)  # type: ignore[attr-defined]
    return replace(word, signature=key.sign(signed_form(DEPLOYMENT, word)))  # type: ignore[attr-defined]


def again(world: World) -> RepairCommand:
    """Let the row drift once more, and return its repair."""
    world.target.put("orders", b"\x01key", {"value": "old", "note": "theirs"})
    return world.command("old", "new")


def rig_of(world: World) -> Rig:
    """Return a running loop."""
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    return rig


def drifts(rig: Rig, number: int) -> list[RefusalReason | None]:
    """Let the row drift and be repaired, once a turn; return the reasons of what became of it."""

    def turn(at: int) -> None:
        if at <= number:
            rig.broker.command(again(rig.world))

    return [o.reason for o in rig.run(number + 2, turn)]


def test_a_shard_that_drifts_too_much_is_stopped_and_said_so_once() -> None:
    """The limit's rows and the one beyond go; then a word on the topic, and from then on all is held."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    assert drifts(rig, 6) == [None] * 4 + [RefusalReason.QUARANTINED] * 2
    words = [decode_control(r.value) for r in rig.sink.sent if r.topic == TOPICS.control]
    assert [(w.said, w.by, w.why, w.shard) for w in words] == [(Said.PAUSE, "the applier", "drift", SHARD)]
    assert not rig.loop.words.is_stopped
    assert len(rig.world.target.ledger) == 4


def test_what_is_quarantined_is_shown_by_metrics() -> None:
    """How many shards of an entity, and how often the applier itself has done it."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=1)))
    told: dict[str, float] = {}
    rig.meter.set = lambda metric, value, **_: told.__setitem__(metric.name, value)  # type: ignore[method-assign]
    drifts(rig, 4)
    assert told[observe.SHARDS_QUARANTINED.name] == 1.0


def test_a_share_of_the_shard_trips_too() -> None:
    """The table has so many rows, a shard its part of them."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_percent=50.0)))
    rig.loop.partitions = 2
    rig.world.target.table_rows = lambda entity: 8 if entity else 0  # type: ignore[method-assign]
    assert drifts(rig, 5) == [None] * 3 + [RefusalReason.QUARANTINED] * 2


def test_other_shards_go_on() -> None:
    """A word on one of them holds up nobody else."""
    rig = rig_of(World("new", "old"))
    rig.broker.switch(Control(Said.PAUSE, "ada", 0, shard="orders/copy/1"))
    rig.broker.switch(Control(Said.PAUSE, "ada", 0, shard="others/copy/0"))
    assert drifts(rig, 2) == [None, None]


def test_a_person_repairs_within_a_quarantine() -> None:
    """What an approver has said yes to goes, so that a shard can be mended before it is let go on."""
    rig = rig_of(World("new", "old"))
    rig.broker.switch(Control(Said.PAUSE, "ada", 0, shard=SHARD))
    held, approved = again(rig.world), again(rig.world)

    def turn(at: int) -> None:
        if at == 1:
            rig.broker.approve(approved)
            rig.broker.command(held)
        if at == 2:
            rig.broker.command(approved)

    assert [o.reason for o in rig.run(5, turn)] == [RefusalReason.QUARANTINED, None]
    assert list(rig.world.target.ledger) == [approved.command_id]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (lifting(1), None),
        (lifting(0), RefusalReason.QUARANTINED),  # said before the quarantine, and played again
        (lifting(99), RefusalReason.QUARANTINED),  # of words that nobody has said yet
        (lifting(1, PLANNER), RefusalReason.QUARANTINED),
        (lifting(1, shard="orders/copy/1"), RefusalReason.QUARANTINED),
        (replace(lifting(1), shard=SHARD, why="altered"), RefusalReason.QUARANTINED),
        (Control(Said.RESUME, "eve", 0, lifts_through=1, shard=SHARD), RefusalReason.QUARANTINED),
    ],
)
def test_a_quarantine_is_lifted_by_an_approvers_word_on_it_alone(word: Control, reason: RefusalReason | None) -> None:
    """Whatever else claims to lift it changes nothing, and lets nothing else go on either."""
    rig = rig_of(World("new", "old"))
    rig.broker.switch(Control(Said.PAUSE, "ada", 0, shard=SHARD))
    rig.broker.switch(word)
    command = again(rig.world)
    rig.broker.command(command)
    assert [o.reason for o in rig.run(4) if o.command_id == command.command_id] == [reason]


def test_an_applier_that_slept_over_a_quarantine_does_not_commit() -> None:
    """It had looked before it was stopped; what it is told when it wakes counts, and its transaction leaves nothing."""
    rig = rig_of(World("new", "old"))
    command = again(rig.world)

    def sleeps(step: str) -> None:
        if step == "before_commit":
            rig.broker.switch(Control(Said.PAUSE, "another applier", 0, shard=SHARD))

    object.__setattr__(rig.loop.applier, "failpoint", sleeps)
    rig.broker.command(command)
    assert [o.reason for o in rig.run(4)] == [RefusalReason.QUARANTINED]
    assert rig.world.value(rig.world.target) == "old"
    assert rig.world.target.ledger == {}
