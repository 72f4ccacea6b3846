"""What people have said and been shown: words on batches, the switch and rehearsals, read from their topics' beginning.

The applier starts stopped: without an approver's signed `resume` nothing is written, also after a restart. A file on
this host stops it too, for whoever cannot reach Kafka. A word that is refused is kept in `refused` until somebody has
told of it; what was told is remembered as the consumer's committed offsets, so that a restart does not tell it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from app.applier.belief import Belief
from app.codec.control import KEY, decode_control
from app.core.approval import Word
from app.core.command import Approval, RefusalReason, RepairCommand
from app.core.errors import Undecodable, Unready
from app.core.pace import LogLags
from app.core.quarantine import Shards, shard_name
from app.core.rehearsal import Rehearsal
from app.core.signing import member_of
from app.core.status import StatusReport
from app.core.switch import Said, Switch
from app.core.trust import SignerRole

_ASK_S: Final = 10.0
_CATCH_UP_S: Final = 30.0
_AT_ONCE: Final = 500
_STAYS_KNOWN: Final = frozenset(
    {None, RefusalReason.APPROVAL_EXPIRED, RefusalReason.UNKNOWN_KEY, RefusalReason.OUTDATED_KEY}
)


class WordCodec(Protocol):
    """Reads people's words, and what was shown to people."""

    def read_approval(self, value: bytes | None) -> Approval:
        """Decode a person's word; `Undecodable` if it is none."""
        ...

    def read_rehearsal(self, value: bytes | None) -> Rehearsal:
        """Decode what came of trying a command; `Undecodable` if it is none."""
        ...

    def read_status(self, value: bytes | None) -> StatusReport:
        """Decode what a worker says of one table; `Undecodable` if it is none."""
        ...


class Ends(Protocol):
    """Asks the broker where partitions end."""

    def offsets(self, partitions: Iterable[tuple[str, int]], *, latest: bool) -> dict[tuple[str, int], int]:
        """Return the earliest or latest offsets; `Unready` if the broker does not answer."""
        ...


class Log(Protocol):
    """Writes log lines with declared fields."""

    def info(self, event: str, **fields: object) -> object:
        """Say what happened."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Say what somebody should look at."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Say what somebody must look at."""
        ...


@dataclass(frozen=True, slots=True)
class RefusedWord:
    """A person's word that is not heard, why, and where it stands. `name` is the batch, or what is switched."""

    name: bytes
    reason: RefusalReason
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class WordTopics:
    """The names of the topics that are read besides commands: of statuses only what comes from now on."""

    approvals: str
    control: str
    rehearsals: str
    statuses: str


class Words:
    """What was said of commands, whether repairs may go on, and how far change capture is behind."""

    def __init__(
        self,
        consumer: Consumer,
        ends: Ends,
        topics: WordTopics,
        codec: WordCodec,
        log: Log,
        belief: Belief,
        now_wall_ms: Callable[[], int],
        panic_file: Path,
        lags: LogLags,
    ) -> None:
        self._consumer = consumer
        self._ends = ends
        self._topics = topics
        self._codec = codec
        self._log = log
        self._partitions: list[TopicPartition] = []
        self._belief = belief
        self._now_wall_ms = now_wall_ms
        self._by_member: dict[bytes, list[Word]] = {}
        self._asked: dict[bytes, dict[bytes, Approval]] = {}
        self._rehearsed: dict[bytes, int] = {}
        self._answered: dict[tuple[bytes, bytes], int] = {}
        self._heard: set[tuple[int, bytes]] = set()
        self._told: dict[tuple[str, int], int] = {}
        self._panic_file = panic_file
        self.lags = lags
        self._switch = Switch()
        self.shards = Shards()
        self.refused: list[RefusedWord] = []

    @property
    def is_stopped(self) -> bool:
        """Tell whether nothing may be written, by what was read so far and by the file on this host."""
        return not self._switch.is_on or self._panic_file.exists()

    def asks_to_stop(self) -> bool:
        """Look now whether somebody has said stop."""
        self.poll()
        return self.is_stopped

    def is_quarantined(self, command: RepairCommand) -> bool:
        """Tell whether repairs stop in a command's shard, by what was read so far."""
        return self.shards.is_quarantined(shard_name(command.entity, command.target, command.partition))

    def start(self) -> None:
        """Read everything that was said so far; `Unready` while the topics cannot be read."""
        try:
            known = self._consumer.list_topics(timeout=_ASK_S).topics
            self._partitions = []
            topics = self._topics
            statuses: list[TopicPartition] = []
            for topic in (topics.approvals, topics.control, topics.rehearsals, topics.statuses):
                if topic not in known or known[topic].error is not None:
                    raise Unready(f"there is no topic {topic}", hint="`driftline init` makes the topics")
                found, first = (statuses, OFFSET_END) if topic == topics.statuses else (self._partitions, 0)
                found += [TopicPartition(topic, p, first) for p in known[topic].partitions]
            places = [TopicPartition(p.topic, p.partition) for p in self._partitions]
            told = self._consumer.committed(places, timeout=_ASK_S)
            self._told = {(p.topic, p.partition): max(0, p.offset) for p in told}
            self._consumer.assign(self._partitions + statuses)
        except KafkaException as error:
            raise Unready(f"Kafka does not answer: {error.args[0].str()}", hint="is the broker up?") from error
        self.catch_up()

    def words_on(self, command: RepairCommand) -> Sequence[Word]:
        """Return what was said of exactly this command, as far as it was read."""
        # Mostly nobody has said anything, and to name the member is dear.
        return self._by_member.get(member_of(self._belief.deployment, command), ()) if self._by_member else ()

    def asked_of(self, command: RepairCommand) -> Sequence[bytes]:
        """Return the batches that are to be rehearsed now, that exactly this command is in and was not tried for."""
        member, now_ms = member_of(self._belief.deployment, command), self._now_wall_ms()
        return [
            batch_id
            for batch_id, word in self._asked.get(member, {}).items()
            if now_ms < word.expires_at_ms and self._answered.get((batch_id, member), -1) < word.said_at_ms
        ]

    def rehearsed_at_ms(self, command: RepairCommand) -> int | None:
        """Return when exactly this command was first rehearsed, as far as it was read; None if it was not."""
        return self._rehearsed.get(member_of(self._belief.deployment, command))

    def were_told(self) -> None:
        """Note that somebody has told of all that was refused so far."""
        ends = {(refused.topic, refused.partition): refused.offset + 1 for refused in self.refused}
        self.refused.clear()
        if ends:
            self._told |= ends
            offsets = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]
            self._consumer.commit(offsets=offsets, asynchronous=False)

    def poll(self) -> None:
        """Take what has come, without waiting."""
        self._take(self._consumer.consume(_AT_ONCE, timeout=0))

    def catch_up(self) -> None:
        """Read up to the present end; `Unready` if that takes too long."""
        deadline = time.monotonic() + _CATCH_UP_S
        try:
            # Asked on another connection: on the consumer's own, each question waits behind a fetch.
            left = self._ends.offsets([(p.topic, p.partition) for p in self._partitions], latest=True)
            left = {at: end for at, end in left.items() if end > 0}
            while left:
                self._take(self._consumer.consume(_AT_ONCE, timeout=0.005))
                for reached in self._consumer.position(self._partitions):
                    if reached.offset >= left.get((reached.topic, reached.partition), reached.offset + 1):
                        del left[reached.topic, reached.partition]
                if time.monotonic() > deadline:
                    raise Unready("approvals cannot be read to their end", hint="is the broker up?")
        except KafkaException as error:
            raise Unready(f"Kafka does not answer: {error.args[0].str()}", hint="is the broker up?") from error

    def _take(self, messages: list[Any]) -> None:
        for message in messages:
            if message.error() is not None:
                continue
            place = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
            try:
                if message.topic() == self._topics.control:
                    self._take_switch(message.value(), place, message.offset())
                elif message.topic() == self._topics.statuses:
                    self.lags.take(self._codec.read_status(message.value()))
                elif message.topic() == self._topics.rehearsals:
                    self._see(self._codec.read_rehearsal(message.value()))
                else:
                    self._hear(self._codec.read_approval(message.value()), message.partition(), message.offset())
            except Undecodable as fault:
                self._log.warning("a word cannot be read", what=fault.what, security=3, **place)

    def _hear(self, word: Approval, partition: int, offset: int) -> None:
        """Take a word in. One whose key or time does not count stays known, so that an outcome can say why."""
        no = self._belief.refusal_of(word, self._now_wall_ms())
        said = (partition, word.signature)
        if said in self._heard and (no is None or word.rehearses):
            no = RefusalReason.REPLAYED
        elif word.rehearses and no in {None, RefusalReason.APPROVAL_EXPIRED}:
            # One that is over was answered in its time, or nobody was there to answer.
            self._heard.add(said)
            for member in word.members:
                self._asked.setdefault(member, {})[word.batch_id] = word
            return
        if no is not None:
            self._refuse(RefusedWord(word.batch_id, no, self._topics.approvals, partition, offset))
        if no not in _STAYS_KNOWN or word.rehearses:
            return
        self._heard.add(said)
        is_genuine = no in {None, RefusalReason.APPROVAL_EXPIRED}
        heard = Word(word.key_id, word.approved, word.said_at_ms, word.expires_at_ms, is_genuine)
        for member in word.members:
            words = self._by_member.setdefault(member, [])
            # The same word stands in every partition that it speaks of.
            if heard not in words:
                words.append(heard)

    def _see(self, shown: Rehearsal) -> None:
        """Note when a command was first tried, and what it was last tried for."""
        self._rehearsed.setdefault(shown.member, shown.at_ms)
        self._answered[shown.batch_id, shown.member] = shown.at_ms

    def _refuse(self, refused: RefusedWord) -> None:
        if refused.offset >= self._told.get((refused.topic, refused.partition), 0):
            self.refused.append(refused)

    def _take_switch(self, value: bytes | None, place: dict[str, object], offset: int) -> None:
        word = decode_control(value)
        if word.said is Said.RESUME:
            no = self._belief.distrust(SignerRole.APPROVER, word, self._now_wall_ms())
            if no is not None:
                self._refuse(RefusedWord(KEY, no, self._topics.control, 0, offset))
                return
        if word.shard:
            self._log.warning("a shard is told of", what=word.said.value, reason=word.why, actor=word.by, **place)
            if self.shards.after(word, offset) or word.said is Said.RESUME:
                return
        before, self._switch = self._switch, self._switch.after(word, offset)
        if before.is_on is not self._switch.is_on:
            self._log.info("repairs go on" if self._switch.is_on else "repairs are stopped", actor=word.by, **place)

    def close(self) -> None:
        """Let the connection go."""
        self._consumer.close()
