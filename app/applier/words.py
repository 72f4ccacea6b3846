"""What people have said: words on batches and the switch, read from the beginning of their topics and followed.

The applier starts paused: without a word on the topic nothing is written. The last switch stands, also after a restart.
A word on a batch that is refused is kept in `refused` until somebody has told of it; what was told is remembered as the
consumer's committed offsets, so that a restart does not tell it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from app.applier.belief import Belief
from app.codec.control import Said, decode_control
from app.core.approval import Word
from app.core.command import Approval, RefusalReason, RepairCommand
from app.core.errors import Undecodable, Unready
from app.core.signing import member_of

_ASK_S: Final = 10.0
_CATCH_UP_S: Final = 30.0
_AT_ONCE: Final = 500
_STAYS_KNOWN: Final = frozenset(
    {None, RefusalReason.APPROVAL_EXPIRED, RefusalReason.UNKNOWN_KEY, RefusalReason.OUTDATED_KEY}
)


class ApprovalCodec(Protocol):
    """Reads approvals."""

    def read_approval(self, value: bytes | None) -> Approval:
        """Decode a person's word; `Undecodable` if it is none."""
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
    """A person's word that is not heard, why, and where it stands."""

    word: Approval
    reason: RefusalReason
    partition: int
    offset: int


class Words:
    """What was said of commands, and whether repairs are paused."""

    def __init__(
        self,
        consumer: Consumer,
        ends: Ends,
        approvals: str,
        control: str,
        codec: ApprovalCodec,
        log: Log,
        belief: Belief,
        now_wall_ms: Callable[[], int],
    ) -> None:
        self._consumer = consumer
        self._ends = ends
        self._approvals = approvals
        self._control = control
        self._codec = codec
        self._log = log
        self._partitions: list[TopicPartition] = []
        self._belief = belief
        self._now_wall_ms = now_wall_ms
        self._by_member: dict[bytes, list[Word]] = {}
        self._heard: set[tuple[int, bytes]] = set()
        self._told: dict[int, int] = {}
        self.refused: list[RefusedWord] = []
        self.is_paused = True

    def start(self) -> None:
        """Read everything that was said so far; `Unready` while the topics cannot be read."""
        try:
            known = self._consumer.list_topics(timeout=_ASK_S).topics
            self._partitions = []
            for topic in (self._approvals, self._control):
                if topic not in known or known[topic].error is not None:
                    raise Unready(f"there is no topic {topic}", hint="`driftline init` makes the topics")
                self._partitions += [TopicPartition(topic, p, 0) for p in known[topic].partitions]
            spoken = [p for p in self._partitions if p.topic == self._approvals]
            told = self._consumer.committed([TopicPartition(p.topic, p.partition) for p in spoken], timeout=_ASK_S)
            self._told = {p.partition: max(0, p.offset) for p in told}
            self._consumer.assign(self._partitions)
        except KafkaException as error:
            raise Unready(f"Kafka does not answer: {error.args[0].str()}", hint="is the broker up?") from error
        self.catch_up()

    def words_on(self, command: RepairCommand) -> Sequence[Word]:
        """Return what was said of exactly this command, as far as it was read."""
        return self._by_member.get(member_of(self._belief.deployment, command), ())

    def were_told(self) -> None:
        """Note that somebody has told of all that was refused so far."""
        ends = {refused.partition: refused.offset + 1 for refused in self.refused}
        self.refused.clear()
        if ends:
            self._told |= ends
            offsets = [TopicPartition(self._approvals, partition, end) for partition, end in ends.items()]
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
                if message.topic() == self._control:
                    self._take_switch(message.value(), place)
                else:
                    self._hear(self._codec.read_approval(message.value()), message.partition(), message.offset())
            except Undecodable as fault:
                self._log.warning("a word cannot be read", what=fault.what, security=3, **place)

    def _hear(self, word: Approval, partition: int, offset: int) -> None:
        """Take a word in. One whose key or time does not count stays known, so that an outcome can say why."""
        no = self._belief.refusal_of(word, self._now_wall_ms())
        said = (partition, word.signature)
        if no is None and said in self._heard:
            no = RefusalReason.REPLAYED
        if no is not None and offset >= self._told.get(partition, 0):
            self.refused.append(RefusedWord(word, no, partition, offset))
        if no not in _STAYS_KNOWN:
            return
        self._heard.add(said)
        is_genuine = no in {None, RefusalReason.APPROVAL_EXPIRED}
        heard = Word(word.key_id, word.approved, word.said_at_ms, word.expires_at_ms, is_genuine)
        for member in word.members:
            words = self._by_member.setdefault(member, [])
            # The same word stands in every partition that it speaks of.
            if heard not in words:
                words.append(heard)

    def _take_switch(self, value: bytes | None, place: dict[str, object]) -> None:
        control = decode_control(value)
        paused = control.said is Said.PAUSE
        if paused is not self.is_paused:
            self._log.info("repairs are " + control.said.value + "d", actor=control.by, **place)
        self.is_paused = paused

    def close(self) -> None:
        """Let the connection go."""
        self._consumer.close()
