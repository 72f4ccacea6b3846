"""An ingest over memory: events are decoded from small JSON texts, blocks are made by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from app.adapters.kafka import MemorySink
from app.agents.block_consumer import Block, FetchEpoch, RawRecord
from app.agents.ingest import Ingest, Role, Source
from app.agents.rows import RowReader
from app.codec.blocks import unpack
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, Replica, StoreTable
from app.core.digest import Dialect, RowDigester
from app.core.errors import Undecodable, Unready
from app.core.event import ChangeEvent, Operation, Reading
from app.core.observation import Link, Mark, Observation
from app.core.published import QuarantinedRecord

KEY = bytes(range(32))
TARGETS = 2
COLUMN = {"pg": "id", "my": "id"}
CONTRACT = EntityContract(
    entity="items",
    version=1,
    number=7,
    key=(KeyField("id", FieldType(FieldKind.INT32), COLUMN),),
    fields=(Field("name", FieldType(FieldKind.STRING), {"pg": "name", "my": "name"}),),
    authority="pg",
    stores=(StoreTable("pg", "public.items", "pg.items", 1), StoreTable("my", "shop.items", "my.items", 1)),
    replicas=(Replica("my", 1000, 10_000),),
)


def text(operation: str, place: int, key: int | None = 1, after: Mapping[str, Any] | None = None, **more: Any) -> str:  # noqa: ANN401
    """Return a record of the bench's own format."""
    return json.dumps({"op": operation, "place": place, "key": key, "after": after, **more})


class BenchDecoder:
    """Reads what `text` wrote; anything else is undecodable. `silent` is how often a registry does not answer."""

    silent = 0

    def decode(self, key: bytes | None, value: bytes | None) -> ChangeEvent | None:
        """Read one record."""
        del key
        if value is None:
            return None
        if self.silent:
            self.silent -= 1
            raise Unready("no answer", where="registry")
        try:
            told = json.loads(value)
        except ValueError as error:
            raise Undecodable("json", "no JSON") from error
        return ChangeEvent(
            Operation(told["op"]),
            Reading(told.get("reading", 0)),
            "items",
            None if told["key"] is None else {"id": told["key"]},
            told.get("before"),
            told["after"],
            told["place"].to_bytes(16, "big") + b"\x01",
            told.get("tx", ""),
            0,
        )

    def key_of(self, key: bytes | None) -> Mapping[str, object] | None:
        """Read the key alone."""
        return None if key is None else {"id": int(key)}


class _NoCounts:
    def consumed(self, store: str, entity: str, records: int) -> None:
        """Count nothing."""

    def heard(self, store: str, at_wall_ms: int) -> None:
        """Note nothing."""

    def quarantined(self, store: str, reason: str) -> None:
        """Count nothing."""


@dataclass
class Bench:
    """One ingest and what it sent."""

    sink: MemorySink = field(default_factory=MemorySink)
    quarantined: list[QuarantinedRecord] = field(default_factory=list)
    waited: list[tuple[str, str]] = field(default_factory=list)
    decoder: BenchDecoder = field(default_factory=BenchDecoder)
    ends: list[tuple[str, int, int]] = field(default_factory=lambda: [("pg.items", 0, 99)])
    epoch: FetchEpoch = field(default_factory=lambda: FetchEpoch(1))

    def __post_init__(self) -> None:
        digester = RowDigester(CONTRACT, "pg", Dialect.POSTGRES_CDC, KEY)
        rows = RowReader(CONTRACT, "pg", digester, KEY, TARGETS)
        decoder = self.decoder
        self.ingest = Ingest(
            sources=[
                Source("pg.items", "pg", Role.TABLE, decoder, "items", rows),
                Source("pg.beacon", "pg", Role.BEACON, decoder),
                Source("my.ledger", "my", Role.LEDGER, decoder),
                Source("pg.signal", "pg", Role.SIGNAL, decoder),
            ],
            contracts=[CONTRACT],
            observations="observations",
            partitions=TARGETS,
            sink=self.sink,
            quarantine=self,
            watermarks=self._watermarks,
            counts=_NoCounts(),
            tell_waiting=lambda block, fault, _: self.waited.append((block.topic, fault.where)),
            wall_ms=lambda: 0,
        )

    async def _watermarks(self, store: str) -> list[tuple[str, int, int]]:
        assert store == "pg"
        return self.ends

    def put(self, record: QuarantinedRecord) -> None:
        """Take a record that could not be read."""
        self.quarantined.append(record)

    def block(self, begin: int, *texts: str | None, end: int | None = None, topic: str = "pg.items") -> Block:
        """Return a block whose records begin at `begin`; `end` is behind the last unless it is given."""
        records = [
            RawRecord(begin + n, 0, str(n + 1).encode(), None if t is None else t.encode(), ())
            for n, t in enumerate(texts)
        ]
        return Block(TP(topic, 0), begin, begin + len(texts) if end is None else end, records, self.epoch)

    def take(self, *blocks: Block) -> None:
        """Let the ingest read blocks."""

        async def stream() -> AsyncIterator[Block]:
            for block in blocks:
                yield block

        reads = self.ingest.beacons if blocks[0].topic == "pg.beacon" else self.ingest.tables
        asyncio.run(reads(stream()))

    def sent(self, target: int) -> list[Observation]:
        """Return what one receiver was sent."""
        return [unpack(r.value or b"") for r in self.sink.sent if r.partition == target]

    def links(self, target: int, topic: str = "pg.items") -> list[tuple[int, int]]:
        """Return the links that one receiver was sent of a topic, in order."""
        found: list[Link] = []
        for observation in self.sent(target):
            if isinstance(observation, Mark):
                found += observation.links
            elif hasattr(observation, "link"):
                found.append(observation.link)
        return [(link.begin, link.end) for link in found if link.topic == topic]
