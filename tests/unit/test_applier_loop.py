"""The loop around the applier, with Kafka's clients in memory: pauses, patience, forged records, lost partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from app.applier.loop import COMMANDS_AT_ONCE
from app.codec.control import decode_control, encode_control
from app.core.command import WAITS_FOR_WORD, Outcome, RefusalReason
from app.core.errors import ContractViolation, Undecodable, Unready
from app.core.guard import Fence, Limits, Refused
from app.core.ledger import UNCHECKED_AMONG, LedgerKind
from app.core.status import Coverage, StatusReport
from app.core.switch import Control, Said
from app.ports import RowName, RowRead, Strain
from tests.property.applier_rig import APPROVALS, CODEC, STATUSES, TOPICS, Message, Rig
from tests.property.applier_world import ENTITY, KEY, POLICY, Killed, World, row
from tests.signatures import PLANNER, STRANGER, resume_word, signed, word_on


def test_without_a_word_nothing_is_carried_out() -> None:
    """The applier starts paused."""
    rig = Rig(World("new", "old"))
    rig.broker.command(rig.world.command("old", "new"))
    assert rig.run(5) == []
    assert rig.broker.committed == {}
    assert rig.world.value(rig.world.target) == "old"


def test_an_outcome_is_acknowledged_before_its_offset() -> None:
    """A lost delivery ends the process before anything is committed, and the command comes again."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))
    rig.sink.fail = "the broker is gone"
    with pytest.raises(Exception, match="the broker is gone"):
        rig.run(5)
    assert rig.broker.committed == {}


def test_commands_are_carried_out_in_order_and_committed() -> None:
    """Each has an outcome on the partition that it came from, whatever it says of itself."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    first, second = rig.world.command("old", "new"), rig.world.command("old", "new")
    rig.broker.command(first)
    rig.broker.command(second)
    outcomes = rig.run(3)
    assert [(o.outcome, o.reason) for o in outcomes] == [
        (Outcome.APPLIED, None),
        (Outcome.REFUSED, RefusalReason.ROW_MOVED),
    ]
    assert rig.broker.committed == {0: 2}
    assert {r.partition for r in rig.sink.sent} == {0}


def test_a_forged_record_is_quarantined_and_the_next_goes_on() -> None:
    """Bytes that are no command are kept with their place."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(b"forged")
    rig.broker.command(rig.world.command("old", "new"))
    assert [o.outcome for o in rig.run(3)] == [Outcome.APPLIED]
    (record,) = [r for r in rig.sink.sent if r.topic == TOPICS.quarantine]
    assert CODEC.read_quarantine(record.value).value == b"forged"
    assert rig.broker.committed == {0: 2}


def test_a_store_that_is_gone_is_waited_for() -> None:
    """The command in hand is kept, and goes through when the store is back; nothing is skipped."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))

    def world_turns(number: int) -> None:
        rig.world.target.is_reachable = number > 3

    assert [o.outcome for o in rig.run(60, world_turns)] == [Outcome.APPLIED]
    assert rig.broker.committed == {0: 1}


def test_a_command_that_the_applier_fails_at_is_told_as_an_error_and_the_next_goes_on() -> None:
    """By its id, with no row's value; its offset is committed, so that no start meets it again and again."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    first, second = rig.world.command("old", "new"), rig.world.command("old", "new")
    faults = iter([KeyError("secret")])

    def fail_once(name: str) -> None:
        if name == "row_written" and (fault := next(faults, None)):
            raise fault

    object.__setattr__(rig.loop.applier, "failpoint", fail_once)
    object.__setattr__(rig.loop.applier, "limits", Limits(rows_per_transaction=1))
    rig.broker.command(first)
    rig.broker.command(second)
    with capture_logs() as logs:
        outcomes = rig.run(3)
    assert [(o.outcome, o.reason) for o in outcomes] == [
        (Outcome.HELD, RefusalReason.APPLIER_FAILED),
        (Outcome.APPLIED, None),
    ]
    assert rig.broker.committed == {0: 2}
    (error,) = [line for line in logs if line["log_level"] == "error"]
    assert (error["repair_id"], error["reason"]) == (first.command_id, "applier_failed")
    assert "secret" not in str(logs) + str(outcomes)


def test_a_pause_during_an_outage_is_heeded_when_the_store_is_back() -> None:
    """The command in hand waits for the word like any other."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))

    def world_turns(number: int) -> None:
        rig.world.target.is_reachable = number > 6
        if number == 4:
            rig.broker.say(Said.PAUSE)

    assert rig.run(60, world_turns) == []
    assert rig.world.value(rig.world.target) == "old"
    assert rig.broker.committed == {}


def test_a_stop_while_a_store_is_gone_leaves_the_command_uncommitted() -> None:
    """What was not carried out comes again at the next start."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))

    def world_turns(number: int) -> None:
        rig.world.target.is_reachable = number < 1

    assert rig.run(4, world_turns) == []
    assert rig.broker.committed == {}


def test_a_pause_between_two_commands_keeps_the_second() -> None:
    """It is carried out after the word that lets it, not before and not never."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    first, second = rig.world.command("old", "new"), rig.world.command("old", "new")
    rig.broker.command(first)
    rig.broker.command(second)
    seen: list[int] = []

    def pause_after_the_first(name: str) -> None:
        if name == "committed":
            rig.broker.say(Said.PAUSE)

    object.__setattr__(rig.loop.applier, "failpoint", pause_after_the_first)

    def world_turns(number: int) -> None:
        seen.append(sum(1 for r in rig.sink.sent if r.topic == TOPICS.outcomes))
        if number == 6:
            rig.broker.say(Said.RESUME)

    assert len(rig.run(12, world_turns)) == 2
    assert seen[5] == 1
    assert rig.broker.committed == {0: 2}


@pytest.mark.parametrize("word", [Said.PANIC, Said.PAUSE])
@pytest.mark.parametrize("step", ["received", "row_locked", "row_written", "before_commit"])
def test_a_stop_behind_a_command_stops_what_is_being_written(step: str, word: Said) -> None:
    """Read at any step before the commit, nothing is written and no ledger row left; lifted, the same command goes."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))
    panics: list[str] = []

    def panic_once(name: str) -> None:
        if name == step and not panics:
            panics.append(name)
            rig.broker.say(word)

    object.__setattr__(rig.loop.applier, "failpoint", panic_once)
    seen: list[tuple[object, int]] = []

    def world_turns(number: int) -> None:
        seen.append((rig.world.value(rig.world.target), len(rig.world.target.ledger)))
        if number == 20:
            rig.broker.say(Said.RESUME)

    assert [o.outcome for o in rig.run(60, world_turns)] == [Outcome.APPLIED]
    assert set(seen[:20]) == {("old", 0)}
    assert panics == [step]


def test_a_table_that_cannot_be_counted_ends_no_applier() -> None:
    """A share of its rows as the limit of a quarantine needs it; without, the limit is left and the outcome told."""
    rig = Rig(World("new", "old", replace(POLICY, quarantine_percent=1.0)))

    def gone(entity: str) -> int:
        raise Refused(RefusalReason.TABLE_DIFFERS, entity)

    rig.world.target.table_rows = gone  # type: ignore[method-assign] # of this store alone
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))
    assert [o.outcome for o in rig.run(3)] == [Outcome.APPLIED]


def test_a_file_on_this_host_stops_it_too(tmp_path: Path) -> None:
    """For whoever cannot reach Kafka; taken away, the command in hand goes."""
    panic_file = tmp_path / "panic"
    rig = Rig(World("new", "old"), panic_file)
    panic_file.touch()
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))
    written: list[object] = []

    def world_turns(number: int) -> None:
        written.append(rig.world.value(rig.world.target))
        if number == 5:
            panic_file.unlink()

    assert [o.outcome for o in rig.run(20, world_turns)] == [Outcome.APPLIED]
    assert set(written[:5]) == {"old"}


def _inserted_and_unchecked(authority: str = "newer") -> World:
    """Return a world whose applier died behind an insert's commit, and what its authority has since."""
    world = World("new", None)

    def die(name: str) -> None:
        if name == "committed":
            raise Killed(name)

    with pytest.raises(Killed):
        world.applier(die).carry_out(world.command(None, "new"))
    world.authority.put(ENTITY, KEY, row(authority))
    return world


@pytest.mark.parametrize(
    ("authority", "end", "left"),
    [
        ("newer", (Outcome.INVERTED, RefusalReason.AUTHORITY_MOVED), None),
        ("new", (Outcome.APPLIED, None), "new"),
    ],
)
def test_the_check_that_a_crash_left_is_made_when_repairs_go_on_and_not_before(
    authority: str, end: tuple[Outcome, RefusalReason | None], left: object
) -> None:
    """An applier that was never told to go on writes nothing, no ledger row either, whatever the last one left."""
    world = _inserted_and_unchecked(authority)
    before = dict(world.target.ledger)
    assert Rig(world).run(5) == []
    assert (world.value(world.target), world.target.ledger) == ("new", before)
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    assert [(o.outcome, o.reason) for o in rig.run(5)] == [end]
    assert world.value(world.target) == left
    assert len(world.target.ledger) > len(before)


@pytest.mark.parametrize("flags", [Fence(0, is_stopped=True), Fence(0, is_another_server=True)])
def test_an_insert_is_not_taken_back_while_the_target_says_no(flags: Fence) -> None:
    """The inverse is a write like any other; once the flag is lowered it is made."""
    world = _inserted_and_unchecked()
    world.target.flags = flags
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    seen: list[tuple[object, int]] = []

    def world_turns(number: int) -> None:
        seen.append((world.value(world.target), len(world.target.ledger)))
        if number == 5:
            world.target.flags = Fence(0)

    assert [o.outcome for o in rig.run(60, world_turns)] == [Outcome.INVERTED]
    assert set(seen[:5]) == {("new", 1)}
    assert world.value(world.target) is None


def test_an_insert_of_an_applier_that_is_fenced_off_stays_and_is_told() -> None:
    """No token comes back: the check says why the insert stands, and compare judges the row."""
    world = _inserted_and_unchecked()
    world.target.flags = Fence(1)
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    assert [(o.outcome, o.reason) for o in rig.run(5)] == [(Outcome.APPLIED, RefusalReason.FENCED)]
    assert world.value(world.target) == "new"


def _raising(fault: Exception) -> Callable[[object], Any]:
    def fail(_rows: object) -> object:
        raise fault

    return fail


@pytest.mark.parametrize("step", ["read", "begin"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Undecodable("wrong_key", "no key of this entity"), RefusalReason.UNREADABLE),
        (ContractViolation("no contract puts this entity here"), RefusalReason.OUTSIDE_CONTRACT),
        (Refused(RefusalReason.TABLE_DIFFERS), RefusalReason.TABLE_DIFFERS),
        (KeyError("secret"), RefusalReason.APPLIER_FAILED),
    ],
)
def test_a_check_that_cannot_be_made_any_more_hinders_no_start(
    step: str, fault: Exception, reason: RefusalReason
) -> None:
    """The key has another type, the table is gone: the check says so, the insert stays, and nobody asks again."""
    world = _inserted_and_unchecked()
    object.__setattr__(world.authority if step == "read" else world.target, step, _raising(fault))
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    (outcome,) = rig.run(5)
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, reason)
    assert outcome.detail == getattr(fault, "what", outcome.detail)
    assert outcome.detail.startswith("KeyError in app.") is isinstance(fault, KeyError)
    assert world.value(world.target) == "new"
    assert world.target.unchecked_inserts(9) == []


@pytest.mark.parametrize("is_dropped", ["entity", "replica", "authority"])
def test_an_insert_that_no_contract_knows_any_more_is_not_taken_back(is_dropped: str) -> None:
    """It is told once, as outside the contract; where nothing may be written by it, nothing is deleted either."""
    world = _inserted_and_unchecked()
    rig = Rig(world)
    applier = rig.loop.applier
    contract = applier.contracts[ENTITY]
    left = {
        "entity": {},
        "replica": {ENTITY: replace(contract, replicas=())},
        "authority": {ENTITY: replace(contract, authority="nowhere")},
    }
    object.__setattr__(applier, "contracts", left[is_dropped])
    rig.broker.say(Said.RESUME)
    assert [(o.outcome, o.reason) for o in rig.run(5)] == [(Outcome.APPLIED, RefusalReason.OUTSIDE_CONTRACT)]
    assert world.value(world.target) == "new"
    assert world.target.unchecked_inserts(9) == []


def test_a_check_that_cannot_be_made_keeps_no_other_from_being_made() -> None:
    """Of rows that were inserted together, the one that can be read is taken back as ever."""
    world, other = World("new", None), b"\x01other"
    world.put(other, "new", None)

    def die(name: str) -> None:
        if name == "committed":
            raise Killed(name)

    commands = [world.command(None, "new"), world.command(None, "new", other)]
    with pytest.raises(Killed):
        world.applier(die).carry_out_all(commands)
    world.authority.put(ENTITY, other, None)
    read = world.authority.read

    def read_some(rows: Sequence[RowName]) -> list[RowRead]:
        if (ENTITY, KEY) in rows:
            raise Undecodable("wrong_key", "no key of this entity")
        return read(rows)

    world.authority.read = read_some  # type: ignore[method-assign] # of this store alone
    assert [(o.outcome, o.reason) for o in world.applier().carry_out_all(commands)] == [
        (Outcome.APPLIED, RefusalReason.UNREADABLE),
        (Outcome.INVERTED, RefusalReason.AUTHORITY_MOVED),
    ]


@pytest.mark.parametrize("word", [Said.PANIC, Said.PAUSE])
@pytest.mark.parametrize("step", ["inverse_begun", "inverse_written"])
def test_a_stop_while_an_insert_is_taken_back_leaves_it_for_later(step: str, word: Said) -> None:
    """Read before the inverse's commit, nothing is written; lifted, the check is made."""
    world = _inserted_and_unchecked()
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    stops: list[str] = []

    def stop_once(name: str) -> None:
        if name == step and not stops:
            stops.append(name)
            rig.broker.say(word)

    object.__setattr__(rig.loop.applier, "failpoint", stop_once)
    seen: list[tuple[object, int]] = []

    def world_turns(number: int) -> None:
        seen.append((world.value(world.target), len(world.target.ledger)))
        if number == 20:
            rig.broker.say(Said.RESUME)

    assert [o.outcome for o in rig.run(60, world_turns)] == [Outcome.INVERTED]
    assert set(seen[:20]) == {("new", 1)}
    assert stops == [step]


@pytest.mark.parametrize("is_written", [False, True])
def test_an_insert_whose_row_somebody_holds_is_taken_back_when_they_let_go(is_written: bool) -> None:  # noqa: FBT001 - by name
    """A lock passes: nothing is recorded that would end the check, and what its holder wrote stands."""
    world = _inserted_and_unchecked()
    let_go = world.target.hold(ENTITY, KEY)
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    seen: list[tuple[object, int]] = []

    def world_turns(number: int) -> None:
        seen.append((world.value(world.target), len(world.target.ledger)))
        if number == 10:
            let_go()
            if is_written:
                world.target.put(ENTITY, KEY, row("theirs"))

    moved = (Outcome.APPLIED, RefusalReason.ROW_MOVED), "theirs"
    end = moved if is_written else ((Outcome.INVERTED, RefusalReason.AUTHORITY_MOVED), None)
    assert [((o.outcome, o.reason), world.value(world.target)) for o in rig.run(60, world_turns)] == [end]
    assert set(seen[:10]) == {("new", 1)}


def test_a_row_that_is_held_for_ever_keeps_no_stop_and_no_end_waiting() -> None:
    """What waits to be taken back is told to nobody; a panic is heard meanwhile, and so is the process's end."""
    world = _inserted_and_unchecked()
    world.target.hold(ENTITY, KEY)
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    rig.broker.command(world.command("new", "newer"))

    def world_turns(number: int) -> None:
        if number == 10:
            rig.broker.say(Said.PANIC)

    assert rig.run(40, world_turns) == []
    assert rig.loop.words.is_stopped
    assert (rig.broker.committed, len(world.target.ledger)) == ({}, 1)


def test_what_keeps_one_insert_from_being_taken_back_keeps_no_other_of_its_transaction() -> None:
    """Those that nobody holds are gone at once; all are told together, when the last one is."""
    world = World(None, None)
    keys = [bytes([number]) for number in range(3)]
    for key in keys:
        world.put(key, "new", None)
    let_go: list[Callable[[], None]] = []

    def move(name: str) -> None:
        if name == "committed" and not let_go:
            let_go.append(world.target.hold(ENTITY, keys[0]))
            for key in keys:
                world.authority.put(ENTITY, key, None)

    rig = Rig(world)
    object.__setattr__(rig.loop.applier, "failpoint", move)
    rig.broker.say(Said.RESUME)
    for key in keys:
        rig.broker.command(world.command(None, "new", key))
    left: list[list[object]] = []

    def world_turns(number: int) -> None:
        left.append([world.value(world.target, key) for key in keys])
        if number == 10:
            let_go[0]()

    assert [o.outcome for o in rig.run(60, world_turns)] == [Outcome.INVERTED] * 3
    assert left[9] == ["new", None, None]
    assert world.target.rows == {}


def test_an_insert_that_the_role_may_not_delete_is_told_as_an_error() -> None:
    """No waiting helps, so that a person hears of it: by the outcome, however often it is told, and by the log."""
    world = _inserted_and_unchecked()
    world.target.may_delete = False
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    with capture_logs() as lines:
        (outcome,) = rig.run(5)
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, RefusalReason.NO_RIGHT)
    assert "delete it by hand or switch deletes on" in outcome.detail
    (check,) = [each for each in world.target.ledger.values() if each.kind is LedgerKind.CHECK]
    assert (check.outcome, check.reason) == (Outcome.APPLIED, RefusalReason.NO_RIGHT)
    assert [line["log_level"] for line in lines if line["event"] == "command applied"] == ["error"]
    assert world.value(world.target) == "new"


def test_a_flag_in_the_target_holds_commands() -> None:
    """Without Kafka, by whoever may write the target's own table."""
    rig = Rig(World("new", "old"))
    rig.world.target.flags = Fence(0, is_stopped=True)
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))
    assert [(o.outcome, o.reason) for o in rig.run(3)] == [(Outcome.HELD, RefusalReason.STOPPED)]
    assert rig.world.target.ledger == {}


@pytest.mark.parametrize(
    ("resume", "reasons"),
    [
        (Control(Said.RESUME, "anna", 0, lifts_through=0), ["forged"]),
        (resume_word(0, STRANGER), ["unknown_key"]),
        (resume_word(0, PLANNER), ["wrong_role"]),
        (resume_word(0, deployment="other"), ["forged"]),
        (replace(resume_word(-1), lifts_through=0), ["forged"]),
        (resume_word(-1), []),  # said before the panic, and played again after it
        (resume_word(99), []),  # speaks of stops that nobody has said yet
    ],
)
def test_a_panic_is_lifted_by_an_approvers_word_on_it_alone(resume: Control, reasons: list[str]) -> None:
    """Whatever else claims to lift it is an alarm or changes nothing."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.PANIC)
    rig.broker.switch(resume)
    rig.broker.command(rig.world.command("old", "new"))
    told = rig.run(5)
    assert [o.reason.value for o in told if o.reason] == rig.meter.alarms == reasons
    assert rig.world.value(rig.world.target) == "old"


def test_forgeries_stop_the_applier_until_a_person_has_looked() -> None:
    """It says so on the topic itself; what was true behind them is carried out after an approver's word."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    for _ in range(12):
        rig.broker.command(signed(rig.world.command("old", "new"), STRANGER))
    rig.broker.command(rig.world.command("old", "new"))
    stopped: list[tuple[bool, object]] = []

    def world_turns(number: int) -> None:
        stopped.append((rig.loop.words.is_stopped, rig.world.value(rig.world.target)))
        if number == 10:
            rig.broker.say(Said.RESUME)

    told = rig.run(20, world_turns)
    assert [o.reason for o in told] == [RefusalReason.UNKNOWN_KEY] * 12 + [None]
    assert stopped[9] == (True, "old")
    words = [decode_control(r.value) for r in rig.sink.sent if r.topic == TOPICS.control]
    assert [(word.said, word.by, word.why) for word in words] == [(Said.PAUSE, "the breaker", "forgeries")]


def test_a_row_that_two_writers_fight_over_is_left_to_a_person_and_others_go_on() -> None:
    """An application puts back what each repair writes: after a few the row is held, until somebody says yes to one."""
    rig = Rig(World("new", "old"))
    object.__setattr__(rig.loop.applier, "limits", Limits(same_row_per_hour=3))
    rig.world.put(b"other", "right", "wrong")
    rig.broker.say(Said.RESUME)
    commands = []

    def put_back(turn: int) -> None:
        if turn <= 6:
            rig.world.target.put(ENTITY, KEY, row("old"))
            commands.append(rig.world.command("old", "new"))
            rig.broker.command(commands[-1])
        if turn == 7:
            rig.broker.command(rig.world.command("wrong", "right", b"other"))
            rig.broker.approve(commands[-1])
            rig.broker.command(commands[-1])

    outcomes = rig.run(9, put_back)
    reasons = [o.reason for o in outcomes]
    assert reasons == [None] * 3 + [RefusalReason.OSCILLATES] * 3 + [None] * 2
    assert [rig.world.value(rig.world.target, key) for key in (KEY, b"other")] == ["new", "right"]
    assert RefusalReason.OSCILLATES in WAITS_FOR_WORD


def test_a_mass_of_drifts_stops_repairs_by_one_word() -> None:
    """A wrong mapping went live: what the budget lets go is all that is written, also in the minutes after it."""
    world = World("new", "old")
    rig = Rig(world)
    object.__setattr__(rig.loop.applier, "limits", Limits(writes_per_minute=20))
    rig.broker.say(Said.RESUME)
    keys = [number.to_bytes(16, "big") for number in range(700)]
    for key in keys:
        world.put(key, "new", "old")

    def turn(number: int) -> None:
        if number == 1:
            for key in keys[:600]:
                rig.broker.command(replace(world.command("old", "new", key), expires_at_ms=10**6))
        if number == 3:
            world.now_ms += 60_000
            for key in keys[600:]:
                rig.broker.command(replace(world.command("old", "new", key), expires_at_ms=10**6))

    outcomes = rig.run(6, turn)
    assert sum(o.outcome is Outcome.APPLIED for o in outcomes) == 20
    assert {o.reason for o in outcomes} == {None, RefusalReason.OVER_BUDGET}
    assert sum(world.value(world.target, key) == "new" for key in keys) == 20
    said = [decode_control(r.value) for r in rig.sink.sent if r.topic == TOPICS.control]
    assert [(word.said, word.why) for word in said] == [(Said.PAUSE, "mass")]


def test_a_batch_that_a_person_approved_takes_its_minutes_and_opens_no_breaker() -> None:
    """Four hundred deletes at twenty a minute: held and sent again, and nobody has to say resume."""
    world = World("new", "old", replace(POLICY, deletes_wait=True))
    rig = Rig(world)
    object.__setattr__(rig.loop.applier, "limits", Limits(deletes_per_minute=20))
    rig.broker.say(Said.RESUME)
    keys = [number.to_bytes(16, "big") for number in range(400)]
    for key in keys:
        world.put(key, None, "extra")
    commands = [replace(world.command("extra", None, key), expires_at_ms=10**6) for key in keys]
    rig.broker.hear(CODEC.approval(word_on(commands)))

    def turn(number: int) -> None:
        if number in {1, 4}:
            world.now_ms += 60_000
            for command in commands:
                rig.broker.command(command)

    outcomes = rig.run(9, turn)
    assert {o.reason for o in outcomes} == {None, RefusalReason.OVER_RATE}
    assert sum(world.value(world.target, key) is None for key in keys) == 40
    assert [r for r in rig.sink.sent if r.topic == TOPICS.control] == []


class Trouble(Message):
    """What a consumer gives instead of a record."""

    def __init__(self, code: int) -> None:
        super().__init__(TOPICS.repairs, 0, 0, None)
        self.code = code

    def error(self) -> KafkaError:
        """Return it."""
        return KafkaError(self.code)


def test_an_applier_whose_place_another_took_ends() -> None:
    """Else it would hear words and tell of them for ever, and be given no command; other trouble passes."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.commands.append(Trouble(KafkaError._TRANSPORT))
    assert rig.run(3) == []
    rig.broker.commands.append(Trouble(KafkaError._FATAL))
    with pytest.raises(Unready, match="start the applier again"):
        Rig(rig.world, broker=rig.broker).run(3)


def test_a_word_that_came_just_now_is_read_before_saying_no() -> None:
    """The planner may have heard of an approval before the applier has."""
    world = World(None, "extra")
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    command = replace(world.command("extra", None), needs_approval=True)
    rig.broker.command(command)
    rig.broker.approve(command)
    assert [o.outcome for o in rig.run(3)] == [Outcome.APPLIED]


def test_a_partition_that_was_taken_away_is_left_to_its_new_owner() -> None:
    """Commands in hand of a lost partition are neither carried out nor committed."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"), partition=1)
    rig.loop._lost.add((TOPICS.repairs, 1))
    assert rig.run(3) == []
    assert rig.broker.committed == {}


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b'{"said": "go"}',
        b"[" * 5_000,
        b"\xff",
        b'{"said": "resume", "by": "a", "at_ms": 1, "key_id": 7}',
        b'{"said": "pause", "by": "\\ud800", "at_ms": 1}',
        b'{"said": "pause", "by": "a", "at_ms": 1, "why": "\\udfff"}',
        b'{"said": "pause", "by": "a", "at_ms": 1, "shard": "\\ud800/my/3"}',
    ],
)
def test_a_word_that_is_none_is_refused(value: bytes | None) -> None:
    """Whatever else stands on the topic switches nothing."""
    with pytest.raises(Undecodable):
        decode_control(value)


def test_half_a_character_on_the_topic_of_control_stops_no_applier() -> None:
    """A record that stands there for good would end every start; those around it are heard."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    word = replace(resume_word(0), by="half")
    record = encode_control(word).replace(b'"half"', b'"\\ud800"')
    rig.broker.words.append(Message(TOPICS.control, 0, rig.broker.switched, record))
    rig.broker.switched += 1
    rig.broker.command(rig.world.command("old", "new"))
    assert [o.outcome for o in rig.run(5)] == [Outcome.APPLIED]


def test_a_word_comes_back_as_it_was_said() -> None:
    """Who, when and why are kept, and with a resume what it lifts and whose signature it bears."""
    for control in (Control(Said.PAUSE, "anna", 7, "a rollout"), resume_word(4711)):
        assert decode_control(encode_control(control)) == control


def test_a_refused_word_is_told_once_and_remembered_over_a_restart() -> None:
    """As an outcome under its batch's id, and an alarm; the offset says what was told."""
    rig = Rig(World(None, "extra"))
    rig.broker.say(Said.RESUME)
    word = word_on([rig.world.command("extra", None)], STRANGER)
    rig.broker.hear(CODEC.approval(word))
    (told,) = rig.run(3)
    assert (told.command_id, told.outcome, told.reason) == (word.batch_id, Outcome.REFUSED, RefusalReason.UNKNOWN_KEY)
    assert rig.meter.alarms == ["unknown_key"]
    assert rig.broker.told[APPROVALS, 0] == 1
    assert Rig(rig.world, broker=rig.broker).run(3) == []


class PacedRig(Rig):
    """Forty rows to be repaired one by one, ten a second at most, on a clock of which each turn is a second."""

    def __init__(self) -> None:
        super().__init__(World("new", "old"))
        self.clock_ms = 0
        self.loop.monotonic_ms = lambda: self.clock_ms
        object.__setattr__(self.loop.applier, "limits", Limits(rows_per_transaction=1, writes_per_second=10))
        self.broker.say(Said.RESUME)
        for number in range(40):
            key = b"key%d" % number
            self.world.put(key, "new", "old")
            self.broker.command(self.world.command("old", "new", key))
        self.written: list[int] = []

    def turns(self, count: int, on_turn: Callable[[int], None] = lambda _turn: None) -> list[int]:
        """Let so many turns go by; return how many rows were written by each."""

        def turn(number: int) -> None:
            self.clock_ms += 1_000
            self.written.append(len(self.world.target.ledger))
            on_turn(number)

        self.run(count, turn)
        return self.written


def test_a_healthy_target_is_repaired_at_its_full_pace() -> None:
    """A second's worth at once, then ten a second."""
    written = PacedRig().turns(7)
    assert max(after - before for before, after in pairwise(written)) <= 12
    assert written[-1] == 40


@pytest.mark.parametrize("cause", ["it answers slowly", "its replicas are behind", "its log is behind"])
def test_a_target_that_does_not_bear_it_is_not_repaired_until_it_does(cause: str) -> None:
    """Nothing is refused or lost, and it goes on by itself; the pace is shown while it is less than full."""
    rig = PacedRig()

    def be(*, well: bool) -> None:
        behind_ms = 0 if well else 30_001
        if cause == "its log is behind":
            report = StatusReport("orders", "copy", False, 0, Coverage.COVERED, 0, 0, behind_ms, 0)
            rig.broker.words.append(Message(STATUSES, 0, 0, CODEC.status(report)))
        elif cause == "its replicas are behind":
            rig.world.target.strained = Strain(1.0, behind_ms)
        else:
            rig.world.target.strained = Strain(1.0 if well else 500.0)

    def world_turns(number: int) -> None:
        if number in {2, 16}:
            be(well=number == 16)

    written = rig.turns(45, world_turns)
    assert 11 <= written[8] <= written[11] == written[15] <= written[8] + 3
    assert written[-1] == 40
    assert rig.meter.paces[0] == rig.meter.paces[-1] == 1.0
    assert min(rig.meter.paces) == 0
    assert rig.broker.committed == {0: 40}


@pytest.mark.parametrize("word", [Said.PAUSE, Said.PANIC])
def test_a_stop_is_heard_while_a_slow_target_is_spared(word: Said) -> None:
    """In the turn in which it is said: no row is written any more."""
    rig = PacedRig()

    def world_turns(number: int) -> None:
        if number == 2:
            rig.world.target.strained = Strain(500.0)
        elif number == 5:
            rig.broker.say(word)

    written = rig.turns(20, world_turns)
    assert written[-1] == written[5] < 40


def test_a_process_that_is_told_to_end_does_not_wait_for_the_pace() -> None:
    """It ends in the turn in which it is told; what is left comes again."""
    rig = PacedRig()
    rig.world.target.strained = Strain(1.0, 10**6)
    written = rig.turns(8)
    assert len(written) == 8
    assert (written[-1], rig.broker.committed) == (0, {})


def test_what_an_applier_has_in_hand_is_looked_through_at_the_next_start() -> None:
    """Each insert of it may have its own row in the ledger and one of its check behind it."""
    assert UNCHECKED_AMONG >= 2 * COMMANDS_AT_ONCE
