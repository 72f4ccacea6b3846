"""The loop around the applier, with Kafka's clients in memory: pauses, patience, forged records, lost partitions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from app.adapters.kafka import MemorySink
from app.adapters.logs import log
from app.applier.loop import ApplierLoop, Topics
from app.applier.words import Words
from app.codec.control import Control, Said, decode_control, encode_control
from app.codec.records import FixedSchemas, RecordCodec
from app.core.command import Approval, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.errors import Undecodable
from app.observe import NoMeter
from tests.property.applier_world import World

CODEC = RecordCodec("d", FixedSchemas())
TOPICS = Topics("d.repairs.v1", "d.outcomes.v1", "d.quarantine.v1")


class Message:
    """One Kafka record as a consumer gives it."""

    def __init__(self, topic: str, partition: int, offset: int, value: bytes | None) -> None:
        self._told = (topic, partition, offset, value)

    def topic(self) -> str:
        """Return its topic."""
        return self._told[0]

    def partition(self) -> int:
        """Return its partition."""
        return self._told[1]

    def offset(self) -> int:
        """Return its offset."""
        return self._told[2]

    def value(self) -> bytes | None:
        """Return its value."""
        return self._told[3]

    def key(self) -> bytes:
        """Return its key."""
        return b"key"

    def error(self) -> None:
        """No record of these tests is an error."""


class Broker:
    """Two consumers' worth of Kafka: commands for the loop, words for the applier."""

    def __init__(self) -> None:
        self.commands: list[Message] = []
        self.words: list[Message] = []
        self.committed: dict[int, int] = {}
        self.is_held_back = False
        self.turns = 0
        self.is_asked_for_ends = False
        self.on_turn: Callable[[int], None] = lambda _turn: None

    def command(self, command: RepairCommand | bytes, partition: int = 0) -> None:
        """Put a record on the topic of commands."""
        value = command if isinstance(command, bytes) else CODEC.command(command)
        self.commands.append(Message(TOPICS.repairs, partition, len(self.commands), value))

    def say(self, said: Said) -> None:
        """Put a word on the topic of control."""
        self.words.append(Message("d.control.v1", 0, 0, encode_control(Control(said, "anna", 0))))

    def approve(self, command: RepairCommand) -> None:
        """Put an approval on its topic."""
        word = Approval(command.command_id, "anna", True, 0, b"", b"", 0)
        self.words.append(Message("d.approvals.v1", 0, 0, CODEC.approval(word)))


class CommandConsumer:
    """The loop's consumer."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def subscribe(self, _topics: list[str], **callbacks: Callable[[object, list[TopicPartition]], None]) -> None:
        """Assign at once."""
        callbacks["on_assign"](self, [TopicPartition(TOPICS.repairs, 0)])

    def assign(self, _partitions: list[TopicPartition]) -> None:
        """Take an assignment."""

    def assignment(self) -> list[TopicPartition]:
        """Return what is assigned."""
        return [TopicPartition(TOPICS.repairs, 0)]

    def pause(self, _partitions: list[TopicPartition]) -> None:
        """Give nothing any more."""
        self.broker.is_held_back = True

    def resume(self, _partitions: list[TopicPartition]) -> None:
        """Give again."""
        self.broker.is_held_back = False

    def consume(self, count: int, timeout: float) -> list[Message]:
        """Return what is there; each call is a turn of the world, and takes a moment while nothing may be given."""
        self.broker.turns += 1
        self.broker.on_turn(self.broker.turns)
        if self.broker.is_held_back:
            time.sleep(min(timeout, 0.02))
            return []
        given, self.broker.commands[:count] = self.broker.commands[:count], []
        return given

    def commit(self, offsets: list[TopicPartition], **_how: object) -> None:
        """Note what is committed."""
        self.broker.committed |= {p.partition: p.offset for p in offsets}

    def close(self) -> None:
        """Let go."""


class WordConsumer(CommandConsumer):
    """The consumer of words."""

    def consume(self, count: int, timeout: float) -> list[Message]:
        """Return what people said since."""
        del timeout
        given, self.broker.words[:count] = self.broker.words[:count], []
        return given

    def offsets(self, partitions: object, *, latest: bool) -> dict[tuple[str, int], int]:
        """There is nothing that `consume` would not give at once."""
        del partitions, latest
        self.broker.is_asked_for_ends = True
        return {}


class Rig:
    """A loop on a world of two memory stores."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broker = Broker()
        self.sink = MemorySink()
        heard: Any = WordConsumer(self.broker)
        words: Any = Words(heard, heard, "d.approvals.v1", "d.control.v1", CODEC, log())
        applier = world.applier()
        world.words = words._by_command
        self.loop = ApplierLoop(
            applier=applier,
            words=words,
            consumer=CommandConsumer(self.broker),  # type: ignore[arg-type] # what the loop calls of it
            sink=self.sink,
            codec=CODEC,
            topics=TOPICS,
            meter=NoMeter(),
            log=log(),
            stopping=threading.Event(),
        )
        object.__setattr__(applier, "word_on", words.word_on)

    def run(self, turns: int, on_turn: Callable[[int], None] = lambda _turn: None) -> list[CommandOutcome]:
        """Let the loop turn so often; return the outcomes that were acknowledged."""

        def turn(number: int) -> None:
            on_turn(number)
            if number >= turns:
                self.loop.stopping.set()

        self.broker.on_turn = turn
        self.loop.run()
        sent = self.sink.sent[: self.sink.flushed]
        return [CODEC.read_outcome(r.value) for r in sent if r.topic == TOPICS.outcomes]


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


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{}", b'{"said": "go"}', b"[" * 5_000, b"\xff"])
def test_a_word_that_is_none_is_refused(value: bytes | None) -> None:
    """Whatever else stands on the topic switches nothing."""
    with pytest.raises(Undecodable):
        decode_control(value)


def test_a_word_comes_back_as_it_was_said() -> None:
    """Who, when and why are kept."""
    control = Control(Said.PAUSE, "anna", 7, "a rollout")
    assert decode_control(encode_control(control)) == control
