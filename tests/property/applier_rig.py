"""The loop around the applier on two memory stores, with Kafka's clients in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from app.adapters.kafka import MemorySink
from app.adapters.logs import log
from app.applier.belief import Belief
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
APPROVALS = "d.approvals.v1"
STATUSES = "d.status.v1"
TOPICS = Topics("d.repairs.v1", "d.outcomes.v1", "d.quarantine.v1", "d.control.v1", "d.rehearsals.v1")


class Message:
    """One Kafka record as a consumer gives it."""

    def __init__(self, topic: str, partition: int, offset: int, value: bytes | None, key: bytes = b"key") -> None:
        self._told = (topic, partition, offset, value)
        self._key = key

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
        return self._key

    def error(self) -> KafkaError | None:
        """Return what is wrong: with a record, nothing."""
        return None


class Broker:
    """Kafka as far as the applier reads it: commands for the loop, and words, which stay."""

    def __init__(self) -> None:
        self.commands: list[Message] = []
        self.words: list[Message] = []
        self.switched = 0
        self.told: dict[tuple[str, int], int] = {}
        self.committed: dict[int, int] = {}
        self.is_held_back = False
        self.turns = 0
        self.on_turn: Callable[[int], None] = lambda _turn: None

    def command(self, command: RepairCommand | bytes, partition: int = 0) -> None:
        """Put a record on the topic of commands."""
        if not isinstance(command, bytes):
            command = CODEC.command(command if command.signature else signed(command))
        self.commands.append(Message(TOPICS.repairs, partition, len(self.commands), command))

    def say(self, said: Said) -> None:
        """Put a word on the topic of control, as the command line does."""
        self.switch(resume_word(self.switched - 1) if said is Said.RESUME else Control(said, "anna", 0))

    def switch(self, word: Control | bytes) -> None:
        """Put a word on the topic of control as it stands."""
        value = word if isinstance(word, bytes) else encode_control(word)
        self.words.append(Message(TOPICS.control, 0, self.switched, value))
        self.switched += 1

    def approve(self, command: RepairCommand) -> None:
        """Put an approval on its topic."""
        self.hear(CODEC.approval(word_on([command])))

    def hear(self, value: bytes) -> None:
        """Put a record on the topic of people's words."""
        self.words.append(Message(APPROVALS, 0, self.ends()[APPROVALS, 0], value))

    def ends(self) -> dict[tuple[str, int], int]:
        """Return where the topics of words end."""
        ends = {(topic, 0): 0 for topic in (APPROVALS, TOPICS.control, TOPICS.rehearsals)}
        return ends | {(word.topic(), 0): word.offset() + 1 for word in self.words}


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
    """A consumer of words of some topics, and what asks the broker for their ends."""

    def __init__(self, broker: Broker, *topics: str) -> None:
        super().__init__(broker)
        self.topics = topics
        self.at = 0
        self.begins: dict[str, int] = {}

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Begin at offsets."""
        self.at, self.begins = 0, {p.topic: p.offset for p in partitions}

    def list_topics(self, timeout: float) -> SimpleNamespace:
        """Return all topics, of one partition each."""
        del timeout
        known = SimpleNamespace(error=None, partitions={0: None})
        return SimpleNamespace(topics=dict.fromkeys((*self.topics, STATUSES), known))

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """Return what was committed of partitions."""
        del timeout
        told = self.broker.told
        return [TopicPartition(p.topic, p.partition, told.get((p.topic, p.partition), -1_001)) for p in partitions]

    def consume(self, count: int, timeout: float) -> list[Message]:
        """Return what people said since."""
        del timeout
        given: list[Message] = []
        while self.at < len(self.broker.words) and len(given) < count:
            word = self.broker.words[self.at]
            self.at += 1
            if word.topic() in self.topics and word.offset() >= self.begins[word.topic()]:
                given.append(word)
        return given

    def commit(self, offsets: list[TopicPartition], **_how: object) -> None:
        """Note what was told."""
        self.broker.told |= {(p.topic, p.partition): p.offset for p in offsets}

    def offsets(self, partitions: object, *, latest: bool) -> dict[tuple[str, int], int]:
        """Return where topics end."""
        del partitions, latest
        return self.broker.ends()

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return up to where words were given."""
        given = {(word.topic(), 0): word.offset() + 1 for word in self.broker.words[: self.at]}
        return [TopicPartition(p.topic, p.partition, given.get((p.topic, p.partition), -1_001)) for p in partitions]


class Counts(NoMeter):
    """Keeps what was counted as an alarm, as often as it was, and the paces."""

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
        if metric is REPAIR_ALARMS:
            self.alarms += [labels["reason"]] * int(amount)


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
    """A loop on a world of two memory stores; on the broker of an earlier one it is the applier that comes after it."""

    def __init__(
        self,
        world: World,
        panic_file: Path = Path("/nonexistent/panic"),
        *,
        broker: Broker | None = None,
        belief: Belief = BELIEF,
    ) -> None:
        self.world = world
        self.broker = broker or Broker()
        self.broker.turns, self.broker.is_held_back = 0, False
        self.sink = EchoSink(self.broker)
        self.meter = Counts()
        control: Any = WordConsumer(self.broker, TOPICS.control)
        others: Any = WordConsumer(self.broker, APPROVALS, TOPICS.rehearsals, STATUSES)
        applier = world.applier()
        object.__setattr__(applier, "belief", belief)
        words: Any = Words(
            control,
            others,
            control,
            WordTopics(APPROVALS, TOPICS.control, TOPICS.rehearsals, STATUSES),
            CODEC,
            log(),
            belief,
            applier.now_wall_ms,
            panic_file,
            LogLags([(ENTITY, "copy")], 1),
        )
        words.start()
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
