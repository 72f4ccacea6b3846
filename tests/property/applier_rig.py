"""The loop around the applier on two memory stores, with Kafka's clients in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition

from app.adapters.kafka import MemorySink
from app.adapters.logs import log
from app.applier.loop import ApplierLoop, Topics
from app.applier.rehearse import Rehearsing
from app.applier.words import Words, WordTopics
from app.codec.control import decode_control, encode_control
from app.codec.records import FixedSchemas, RecordCodec
from app.core.command import CommandOutcome, RepairCommand
from app.core.pace import LogLags
from app.core.rehearsal import Rehearsal
from app.core.switch import Control, Said
from app.observe import REPAIR_ALARMS, REPAIR_PACE, Metric, NoMeter
from tests.property.applier_world import ENTITY, World
from tests.signatures import BELIEF, resume_word, signed, word_on

CODEC = RecordCodec("d", FixedSchemas())
STATUSES = "d.status.v1"
TOPICS = Topics("d.repairs.v1", "d.outcomes.v1", "d.quarantine.v1", "d.control.v1", "d.rehearsals.v1")


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
        self.heard: list[bytes] = []
        self.switched = 0
        self.told: list[int] = []
        self.committed: dict[int, int] = {}
        self.is_held_back = False
        self.turns = 0
        self.is_asked_for_ends = False
        self.on_turn: Callable[[int], None] = lambda _turn: None

    def command(self, command: RepairCommand | bytes, partition: int = 0) -> None:
        """Put a record on the topic of commands."""
        if not isinstance(command, bytes):
            command = CODEC.command(command if command.signature else signed(command))
        self.commands.append(Message(TOPICS.repairs, partition, len(self.commands), command))

    def say(self, said: Said) -> None:
        """Put a word on the topic of control, as the command line does."""
        self.switch(resume_word(self.switched - 1) if said is Said.RESUME else Control(said, "anna", 0))

    def switch(self, word: Control) -> None:
        """Put a word on the topic of control as it stands."""
        self.words.append(Message("d.control.v1", 0, self.switched, encode_control(word)))
        self.switched += 1

    def approve(self, command: RepairCommand) -> None:
        """Put an approval on its topic."""
        self.hear(CODEC.approval(word_on([command])))

    def hear(self, value: bytes) -> None:
        """Put a record on the topic of people's words."""
        self.words.append(Message("d.approvals.v1", 0, len(self.heard), value))
        self.heard.append(value)


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

    def commit(self, offsets: list[TopicPartition], **_how: object) -> None:
        """Note what was told."""
        self.broker.told += [p.offset for p in offsets]

    def offsets(self, partitions: object, *, latest: bool) -> dict[tuple[str, int], int]:
        """Return where control ends."""
        del partitions, latest
        self.broker.is_asked_for_ends = True
        return {(TOPICS.control, 0): self.broker.switched}

    def position(self, _partitions: object) -> list[TopicPartition]:
        """`consume` gives at once whatever there is."""
        return [TopicPartition(TOPICS.control, 0, self.broker.switched)]


class Counts(NoMeter):
    """Keeps what was counted as an alarm, and the paces."""

    def __init__(self) -> None:
        self.alarms: list[str] = []
        self.paces: list[float] = []

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Keep a pace."""
        del labels
        if metric is REPAIR_PACE:
            self.paces.append(value)

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Keep an alarm's reason."""
        if metric is REPAIR_ALARMS and amount:
            self.alarms.append(labels["reason"])


class EchoSink(MemorySink):
    """A sink whose words of control come back to the applier, as a broker brings them."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self.broker = broker

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Keep one record, and bring a word of control or a rehearsal back."""
        super().send(topic, partition, key, value, headers)
        if topic == TOPICS.control:
            self.broker.switch(decode_control(value))
        elif topic == TOPICS.rehearsals:
            self.broker.words.append(Message(topic, partition, len(self.sent), value))


class Rig:
    """A loop on a world of two memory stores."""

    def __init__(self, world: World, panic_file: Path = Path("/nonexistent/panic")) -> None:
        self.world = world
        self.broker = Broker()
        self.sink = EchoSink(self.broker)
        self.meter = Counts()
        heard: Any = WordConsumer(self.broker)
        applier = world.applier()
        words: Any = Words(
            heard,
            heard,
            WordTopics("d.approvals.v1", TOPICS.control, TOPICS.rehearsals, STATUSES),
            CODEC,
            log(),
            BELIEF,
            applier.now_wall_ms,
            panic_file,
            LogLags([(ENTITY, "copy")], 1),
        )
        self.loop = ApplierLoop(
            applier=applier,
            rehearsing=Rehearsing(applier),
            words=words,
            consumer=CommandConsumer(self.broker),  # type: ignore[arg-type] # what the loop calls of it
            sink=self.sink,
            codec=CODEC,
            topics=TOPICS,
            meter=self.meter,
            log=log(),
            stopping=threading.Event(),
        )
        object.__setattr__(applier, "words_on", words.words_on)
        object.__setattr__(applier, "rehearsed_at_ms", words.rehearsed_at_ms)
        object.__setattr__(applier, "is_stopped", words.asks_to_stop)
        object.__setattr__(applier, "is_quarantined", words.is_quarantined)

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

    def rehearsals(self) -> list[Rehearsal]:
        """Return what was told of commands that were tried."""
        sent = self.sink.sent[: self.sink.flushed]
        return [CODEC.read_rehearsal(r.value) for r in sent if r.topic == TOPICS.rehearsals]
