"""How far the records of `observations` tell one receiver that the change topics were read.

Each record begins with its format (1), then MessagePack: an array of a number that names its shape and its members.
Links [begin, end) of one partition of changes make a chain: one that begins at or below what was reached extends it,
one that begins above has a gap before it and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

Link = tuple[str, int, int, int]
"""Topic, partition, begin, end."""

_ROWS, _TRUNCATED, _MARK, _BARRIER, _LEDGER, _SLICE = 1, 2, 3, 4, 5, 7
_TAG_AT = 2  # behind the format and the array's head


class _Rows(msgspec.Struct, array_like=True):
    # Only the head is read: the columns behind it are the product's business.
    tag: int
    entity: int
    store: int
    link: Link


class _Mark(msgspec.Struct, array_like=True):
    tag: int
    links: list[Link]


class _Barrier(msgspec.Struct, array_like=True):
    tag: int
    store: str
    epoch: int
    sequence: int
    issued_at_ms: int
    previous_acknowledged_ms: int
    place: bytes
    streamed: bool
    server: str
    link: Link


_READ_ROWS = msgspec.msgpack.Decoder(_Rows)
_READ_MARK = msgspec.msgpack.Decoder(_Mark)
_READ_BARRIER = msgspec.msgpack.Decoder(_Barrier)


def links_of(value: bytes) -> Sequence[Link]:
    """Return the links that a record of `observations` carries."""
    tag, body = value[_TAG_AT], memoryview(value)[1:]
    if tag in {_ROWS, _TRUNCATED, _LEDGER, _SLICE}:
        return (_READ_ROWS.decode(body).link,)
    if tag == _MARK:
        return _READ_MARK.decode(body).links
    return (_READ_BARRIER.decode(body).link,) if tag == _BARRIER else ()


@dataclass
class Chains:
    """What one receiver was told of each partition of changes; all begin at offset 0."""

    reached: dict[tuple[str, int], int] = field(default_factory=dict)

    def take(self, links: Sequence[Link]) -> None:
        """Take in the links of one record."""
        for topic, partition, begin, end in links:
            held = self.reached.get((topic, partition), 0)
            if begin <= held:
                self.reached[topic, partition] = max(held, end)
