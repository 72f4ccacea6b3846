"""Just enough of Kafka's protocol to ask whether a broker is up, make topics and read a topic's newest records.

The command-line tools need a JVM start for each of these, a second or two each; a Kafka client is not in the standard
library. Reads only what brokers without compression hold; big-endian everywhere; one connection per question.
"""

import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stack_parts.failure import StackError

TIMEOUT_S = 10.0
_CREATE_TOPICS, _METADATA, _FETCH, _LIST_OFFSETS = 19, 3, 1, 2
_TOPIC_EXISTS = 36
_UNKNOWN_TOPIC = 3
_NOT_LED = frozenset({5, 6})
_CONTROL_BATCH = 0x20
_COMPRESSION = 0x07
_FETCH_BYTES_MAX = 16 * 1024 * 1024


class NotLed(StackError):
    """A partition that has no leader yet: its topic was made a moment ago, or the broker has just started."""


@dataclass(frozen=True)
class NewTopic:
    """A topic to make."""

    name: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KafkaRecord:
    """One record's key and value."""

    offset: int
    key: bytes | None
    value: bytes | None


class _Reader:
    def __init__(self, answer: bytes) -> None:
        self._bytes, self._at = answer, 0

    def left(self) -> int:
        return len(self._bytes) - self._at

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(">" + form, self._bytes, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def take(self, count: int) -> bytes:
        if count < 0 or count > self.left():
            raise StackError("the broker's answer is cut short")
        self._at += count
        return self._bytes[self._at - count : self._at]

    def text(self) -> str:
        count = self.number("h")
        return "" if count < 0 else self.take(count).decode()

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004
                return (value >> 1) ^ -(value & 1)
            shift += 7

    def varbytes(self) -> bytes | None:
        count = self.varint()
        return None if count < 0 else self.take(count)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded


def _ask(address: tuple[str, int], api: int, version: int, body: bytes) -> _Reader:
    request = struct.pack(">hhi", api, version, 1) + _text("driftline-stack") + body
    with socket.create_connection(address, timeout=TIMEOUT_S) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _receive(connection, 4))
        answer = _Reader(_receive(connection, size))
    answer.number("i")
    return answer


def _receive(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            raise ConnectionError("the broker closed the connection")
        parts += part
    return bytes(parts)


def topics(address: tuple[str, int]) -> dict[str, int]:
    """Every topic with its number of partitions; raises OSError while no broker answers or none is registered."""
    answer = _ask(address, _METADATA, 1, struct.pack(">i", -1))
    brokers = answer.number("i")
    for _ in range(brokers):
        answer.number("i"), answer.text(), answer.number("i"), answer.text()
    if not brokers:
        raise ConnectionError("no broker has registered")
    answer.number("i")
    found = {}
    for _ in range(answer.number("i")):
        answer.number("h")
        name = answer.text()
        answer.number("b")
        found[name] = answer.number("i")
        for _ in range(found[name]):
            answer.number("h"), answer.number("i"), answer.number("i")
            for _ in range(2):
                answer.take(4 * answer.number("i"))
    return found


def create_topics(address: tuple[str, int], wanted: list[NewTopic]) -> list[str]:
    """Make the topics that do not exist yet and return their names; an existing one is left as it is."""
    if not wanted:
        return []
    body = struct.pack(">i", len(wanted))
    for topic in wanted:
        body += _text(topic.name) + struct.pack(">ihi", topic.partitions, 1, 0) + struct.pack(">i", len(topic.settings))
        body += b"".join(_text(name) + _text(value) for name, value in topic.settings.items())
    answer = _ask(address, _CREATE_TOPICS, 2, body + struct.pack(">ib", int(TIMEOUT_S * 1000), 0))
    answer.number("i")
    made = []
    for _ in range(answer.number("i")):
        name, code, what = answer.text(), answer.number("h"), answer.text()
        if code == 0:
            made.append(name)
        elif code != _TOPIC_EXISTS:
            raise StackError(f"Kafka refused to make topic {name}: {what or code}")
    return made


def end_offset(address: tuple[str, int], topic: str, partition: int) -> int:
    """The high watermark of a partition; `NotLed` while nobody can tell it."""
    body = struct.pack(">ibi", -1, 0, 1) + _text(topic) + struct.pack(">iiq", 1, partition, -1)
    answer = _ask(address, _LIST_OFFSETS, 2, body)
    answer.number("i"), answer.number("i"), answer.text(), answer.number("i"), answer.number("i")
    code = answer.number("h")
    answer.number("q")
    if code:
        failure = NotLed if code in _NOT_LED else StackError
        raise failure(f"Kafka does not tell the end of {topic}[{partition}]: error {code}")
    return answer.number("q")


def read(address: tuple[str, int], topic: str, partition: int, offset: int) -> list[KafkaRecord]:
    """The records of a partition from `offset` to its last stable one, as many as one answer holds.

    Those of aborted transactions are among them: good for finding a marker, not for counting.
    """
    body = struct.pack(">iiiib", -1, 200, 1, _FETCH_BYTES_MAX, 1)
    body += struct.pack(">i", 1) + _text(topic) + struct.pack(">iiqi", 1, partition, offset, _FETCH_BYTES_MAX)
    answer = _ask(address, _FETCH, 4, body)
    answer.number("i")
    if not answer.number("i"):
        return []
    answer.text(), answer.number("i"), answer.number("i")
    code = answer.number("h")
    if code == _UNKNOWN_TOPIC:
        return []
    if code:
        raise StackError(f"Kafka refused to read {topic}[{partition}]: error {code}")
    answer.number("q"), answer.number("q")
    for _ in range(max(0, answer.number("i"))):
        answer.number("q"), answer.number("q")
    return [record for record in _records(answer.take(answer.number("i"))) if record.offset >= offset]


def _records(batches: bytes) -> Iterator[KafkaRecord]:
    reader = _Reader(batches)
    while reader.left() >= 12:  # noqa: PLR2004
        base, size = reader.number("q"), reader.number("i")
        if size > reader.left():
            return
        batch = _Reader(reader.take(size))
        batch.take(4 + 1 + 4)
        flags = batch.number("h")
        batch.take(4 + 8 + 8 + 8 + 2 + 4)
        count = batch.number("i")
        if flags & _CONTROL_BATCH:
            continue
        if flags & _COMPRESSION:
            raise StackError("this reader knows no compression", "leave producer.compression.type at none")
        for _ in range(count):
            batch.varint(), batch.take(1), batch.varint()
            offset = base + batch.varint()
            key, value = batch.varbytes(), batch.varbytes()
            for _ in range(batch.varint()):
                batch.varbytes(), batch.varbytes()
            yield KafkaRecord(offset, key, value)
