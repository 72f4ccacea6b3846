"""How many bytes topics hold at the broker, as they went over the wire. The protocol tells it, librdkafka does not."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import Final

from app.core.errors import Unready

_DESCRIBE_LOG_DIRS: Final = 35
_VERSION: Final = 1
_TIMEOUT_S: Final = 10.0
_PARTITIONS_MAX: Final = 16
"""No topic of the bench has more partitions."""


class _Answer:
    """Reads big-endian values one after the other."""

    def __init__(self, told: bytes) -> None:
        self._told = told
        self._at = 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f">{form}", self._told, self._at)
        self._at += struct.calcsize(f">{form}")
        return int(value)

    def text(self) -> str:
        length = self.number("h")
        self._at += length
        return self._told[self._at - length : self._at].decode()


def topic_bytes(bootstrap: str, topics: Iterable[str]) -> dict[str, int]:
    """Return the bytes of each topic, all its partitions together, at the first of these brokers."""
    found = dict.fromkeys(topics, 0)
    answer = _Answer(_ask(bootstrap.split(",", maxsplit=1)[0], list(found)))
    answer.number("i")  # throttled for
    for _ in range(answer.number("i")):
        error, folder = answer.number("h"), answer.text()
        if error:
            raise Unready(f"the broker does not tell sizes: error {error}", where=folder)
        for _ in range(answer.number("i")):
            topic = answer.text()
            for _ in range(answer.number("i")):
                answer.number("i")  # partition
                found[topic] += answer.number("q")
                answer.number("q")  # lag of a replica
                answer.number("?")  # whether it is being moved
    return found


def _ask(address: str, topics: list[str]) -> bytes:
    """Ask for more partitions than there are: the answer leaves out those that do not exist."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
            client = b"driftline-bench"
            head = struct.pack(">hhih", _DESCRIBE_LOG_DIRS, _VERSION, 1, len(client)) + client
            body = struct.pack(">i", len(topics)) + b"".join(_wanted(topic) for topic in topics)
            connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
            with connection.makefile("rb") as answer:
                length, _ = struct.unpack(">ii", answer.read(8))
                return answer.read(length - 4)
    except (OSError, struct.error) as error:
        raise Unready(f"the broker does not tell sizes: {error}", where=address) from error


def _wanted(topic: str) -> bytes:
    name = topic.encode()
    partitions = range(_PARTITIONS_MAX)
    return struct.pack(">h", len(name)) + name + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
