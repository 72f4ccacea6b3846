"""The applier and its quarantined shards: counted, said, held, approved one by one, and let go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app import observe
from app.adapters.signing import SigningKey
from app.codec.control import decode_control
from app.core.command import RefusalReason, RepairCommand
from app.core.errors import Unready
from app.core.shard import shard_name
from app.core.signing import signed_form
from app.core.switch import Control, Said
from tests.property.applier_rig import TOPICS, Rig
from tests.property.applier_world import POLICY, World
from tests.signatures import ANNA, DEPLOYMENT, PLANNER, STRANGER, signed

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


def in_one_poll(
    rig: Rig, rows: int, *, unit: str = "", partition: int = 0, key: SigningKey | None = None
) -> list[RepairCommand]:
    """Let as many rows drift and their repairs come together, those of a `unit` from one source transaction."""
    told = []
    for _ in range(rows):
        name = b"row%d" % rig.world.drifts
        rig.world.put(name, "new", "old")
        command = replace(rig.world.command("old", "new", name, unit), partition=partition)
        told.append(signed(command, key) if key else command)
        rig.broker.command(told[-1], partition)
    return told


def stopped_shards(rig: Rig) -> list[str]:
    """Return the shards that the applier itself has stopped, in order."""
    words = [decode_control(r.value) for r in rig.sink.sent if r.topic == TOPICS.control]
    return [word.shard for word in words if word.by == "the applier"]


def test_of_many_rows_in_one_poll_no_more_go_than_of_one_a_turn() -> None:
    """A statement that damaged two hundred rows: the limit's rows and the one beyond go, the others wait."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    in_one_poll(rig, 200)
    assert [o.reason for o in rig.run(3)] == [None] * 4 + [RefusalReason.QUARANTINED] * 196
    assert stopped_shards(rig) == [SHARD]
    assert len(rig.world.target.ledger) == 4
    assert rig.broker.committed == {0: 200}


def test_of_many_rows_in_one_poll_no_more_go_than_the_share_of_their_shard() -> None:
    """Eight rows in two shards, of which each bears half."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_percent=50.0)))
    rig.loop.partitions = 2
    rig.world.target.table_rows = lambda entity: 8 if entity else 0  # type: ignore[method-assign]
    in_one_poll(rig, 20)
    assert [o.reason for o in rig.run(3)] == [None] * 3 + [RefusalReason.QUARANTINED] * 17


def test_what_drifts_in_another_shard_of_the_same_poll_goes() -> None:
    """Each shard has its own count, whatever goes into one transaction."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    for n in range(20):
        in_one_poll(rig, 1, partition=0 if n % 5 else 1)
    outcomes = rig.run(3)
    assert [o.reason for o in outcomes if o.partition] == [None] * 4
    assert [o.reason for o in outcomes if not o.partition] == [None] * 4 + [RefusalReason.QUARANTINED] * 12
    assert stopped_shards(rig) == [SHARD, shard_name("orders", "copy", 1)]


def test_rows_of_one_source_transaction_all_go_where_the_last_of_them_tips() -> None:
    """It is written whole, as the row that tips is when it stands alone; what comes behind it waits."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    in_one_poll(rig, 4, unit="9:1")
    in_one_poll(rig, 2)
    assert [o.reason for o in rig.run(3)] == [None] * 4 + [RefusalReason.QUARANTINED] * 2
    assert rig.world.steps.count("committed") == 1


@pytest.mark.parametrize("before", [0, 1, 3])
def test_rows_of_one_source_transaction_that_are_too_many_all_wait(before: int) -> None:
    """Nothing of it is written: it is not torn, and what a policy does not bear is a person's to decide."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    in_one_poll(rig, before)
    in_one_poll(rig, 5, unit="9:1")
    in_one_poll(rig, 1)
    assert [o.reason for o in rig.run(3)] == [None] * before + [RefusalReason.QUARANTINED] * 6
    assert stopped_shards(rig) == [SHARD]
    assert len(rig.world.target.ledger) == before


def test_rows_of_it_in_other_shards_wait_with_them_and_others_there_go() -> None:
    """One shard is stopped, and no half of the transaction is written in the other."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    in_one_poll(rig, 5, unit="9:1")
    in_one_poll(rig, 1, unit="9:1", partition=1)
    in_one_poll(rig, 1, partition=1)
    assert [o.reason for o in rig.run(3)] == [RefusalReason.QUARANTINED] * 6 + [None]
    assert stopped_shards(rig) == [SHARD]


def test_what_a_person_has_approved_goes_beside_what_waits() -> None:
    """Alone or of a source transaction that is too large: a person has decided about this row."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    approved = [*in_one_poll(rig, 6, unit="9:1")[2:4], *in_one_poll(rig, 2)[1:]]
    for command in approved:
        rig.broker.approve(command)
    done = [o.command_id for o in rig.run(3) if o.reason is None]
    assert done == [command.command_id for command in approved]
    assert stopped_shards(rig) == [SHARD]


def test_what_others_put_among_rows_of_a_source_transaction_holds_them_up_no_more_than_it_counts() -> None:
    """Who may write the topic could stop a shard by it, or have a true row wait for a person."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    in_one_poll(rig, 3, unit="9:1")
    in_one_poll(rig, 8, unit="9:1", key=STRANGER)
    in_one_poll(rig, 1, unit="9:1")
    assert [o.reason for o in rig.run(3)] == [None] * 3 + [RefusalReason.UNKNOWN_KEY] * 8 + [None]
    assert stopped_shards(rig) == [SHARD]


@pytest.mark.parametrize(("of_ours", "stopped"), [(0, []), (1, [SHARD])])
def test_what_is_held_for_a_shard_has_a_word_on_it(of_ours: int, stopped: list[str]) -> None:
    """Planned by another contract a row does not count; where one waits all the same, a person is told why."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_rows=3)))
    for command in in_one_poll(rig, 5, unit="9:1"):
        rig.broker.commands.pop(0)
        rig.broker.command(replace(command, contract_version=2))
    in_one_poll(rig, of_ours, unit="9:1")
    expected = [RefusalReason.OUTSIDE_CONTRACT] * 5 + [RefusalReason.QUARANTINED] * of_ours
    assert [o.reason for o in rig.run(3)] == expected
    assert stopped_shards(rig) == stopped


def test_told_to_end_while_nobody_knows_the_shards_size_it_begins_nothing() -> None:
    """Without that there is no limit to go by."""
    rig = rig_of(World("new", "old", replace(POLICY, quarantine_percent=50.0)))

    def is_gone(entity: str) -> int:
        rig.loop.stopping.set()
        raise Unready("gone", where=entity)

    rig.world.target.table_rows = is_gone  # type: ignore[method-assign]
    in_one_poll(rig, 20)
    assert rig.run(3) == []
    assert (rig.world.target.ledger, rig.broker.committed) == ({}, {})


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
