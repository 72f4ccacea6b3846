"""Heads: how far each chain of a ledger and each topic that keeps all had come when a person looked, and signed it.

Whoever cuts off a ledger's end and makes the topic of outcomes anew leaves nothing in either that tells of it. What was
written down and kept where they do not reach does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from app.core.chain import Break, Finding
from app.core.ledger import LedgerRow

ChainEnd = tuple[str, int, int, bytes]
"""Store, partition, sequence and link of the last row of a chain."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What stood where at `at_ms` (wall clock), by the word of the person whom the key belongs to.

    `topics`: topic, the broker's id of it, partition and the offset behind its last record.
    """

    at_ms: int
    chains: tuple[ChainEnd, ...]
    topics: tuple[tuple[str, str, int, int], ...]
    key_id: bytes = b""
    signature: bytes = b""

    def topics_cut(self, ends: Mapping[tuple[str, int], int], ids: Mapping[str, str]) -> Iterator[tuple[str, Finding]]:
        """Yield the partitions of topics that are other ones by now, or end before where they ended then."""
        for topic, known_as, partition, offset in self.topics:
            if offset and (ids.get(topic) != known_as or ends.get((topic, partition), 0) < offset):
                yield topic, Finding(Break.HEAD_GONE, partition, offset, b"")


class ChainEnds:
    """Sees one store's ledger go by: where its chains end, and which older heads do not stand in it."""

    def __init__(self, store: str, older: Iterable[Heads]) -> None:
        self._store = store
        self._older = {chain[1:] for heads in older for chain in heads.chains if chain[0] == store}
        self._newest: dict[int, LedgerRow] = {}

    def see(self, row: LedgerRow) -> None:
        """See the next row, by partition and sequence."""
        self._older.discard((row.partition, row.sequence, row.chain))
        if row.partition >= 0:
            self._newest[row.partition] = row

    def chains(self) -> Iterator[ChainEnd]:
        """Yield where the chains end, as `Heads` has it."""
        for partition, row in self._newest.items():
            yield self._store, partition, row.sequence, row.chain

    def gone(self) -> Iterator[Finding]:
        """Yield the older heads that were not seen."""
        for partition, sequence, _ in sorted(self._older):
            yield Finding(Break.HEAD_GONE, partition, sequence, b"")
