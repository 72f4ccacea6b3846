"""What people have said: approvals and the switch, read from the beginning of their topics and followed.

The applier starts paused: without a word on the topic nothing is written. The last word stands, also after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from app.codec.control import Said, decode_control
from app.core.command import Approval
from app.core.errors import Undecodable, Unready

_ASK_S: Final = 10.0
_CATCH_UP_S: Final = 30.0
_AT_ONCE: Final = 500


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


class Words:
    """Approvals by command, and whether repairs are paused."""

    def __init__(
        self, consumer: Consumer, ends: Ends, approvals: str, control: str, codec: ApprovalCodec, log: Log
    ) -> None:
        self._consumer = consumer
        self._ends = ends
        self._approvals = approvals
        self._control = control
        self._codec = codec
        self._log = log
        self._partitions: list[TopicPartition] = []
        self._by_command: dict[bytes, Approval] = {}
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
            self._consumer.assign(self._partitions)
        except KafkaException as error:
            raise Unready(f"Kafka does not answer: {error.args[0].str()}", hint="is the broker up?") from error
        self.catch_up()

    def word_on(self, command_id: bytes) -> Approval | None:
        """Return the newest word on a command as far as it was read."""
        return self._by_command.get(command_id)

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
                    word = self._codec.read_approval(message.value())
                    self._by_command[word.command_id] = word
            except Undecodable as fault:
                self._log.warning("a word cannot be read", what=fault.what, security=3, **place)

    def _take_switch(self, value: bytes | None, place: dict[str, object]) -> None:
        control = decode_control(value)
        paused = control.said is Said.PAUSE
        if paused is not self.is_paused:
            self._log.info("repairs are " + control.said.value + "d", actor=control.by, **place)
        self.is_paused = paused

    def close(self) -> None:
        """Let the connection go."""
        self._consumer.close()
