"""What becomes of records that cannot be read, or not yet."""

from __future__ import annotations

from collections.abc import Iterable

from app.adapters.kafka import KafkaSink
from app.adapters.logs import error_fields, log
from app.agents.block_consumer import Block
from app.codec.records import RecordCodec
from app.core.errors import Undecodable, Unready
from app.core.published import Provenance, QuarantinedRecord
from app.settings import StoreSettings


class QuarantineTopic:
    """Keeps records of others, bytes and reason, where a person can look at them."""

    def __init__(self, sink: KafkaSink, codec: RecordCodec, topic: str, stores: Iterable[StoreSettings]) -> None:
        self._sink = sink
        self._codec = codec
        self._topic = topic
        self._tasks = {store.name: store.connector_task for store in stores}

    def put(self, record: QuarantinedRecord) -> None:
        """Send a record to quarantine and say so."""
        key = f"{record.topic}/{record.partition}/{record.offset}".encode()
        headers = [
            ("reason", record.reason.encode()),
            ("topic", record.topic.encode()),
            ("partition", str(record.partition).encode()),
            ("offset", str(record.offset).encode()),
        ]
        came_by = Provenance(checker="", checker_version=0, connector_task=self._tasks.get(record.store, ""))
        self._sink.send(self._topic, 0, key, self._codec.quarantine(record, came_by), headers)
        log().warning(
            "a record went to quarantine",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=record.reason,
            what=record.what,
        )


def log_undecodable(block: Block, offset: int, fault: Undecodable) -> None:
    """Say that a record of our own topics cannot be read; there is nothing to keep of it."""
    log().error(
        "a record of ours cannot be read",
        topic=block.topic,
        partition=block.partition,
        offset=offset,
        reason=fault.reason,
        **error_fields(fault),
    )


def log_waiting(block: Block, fault: Unready, again_in_s: float) -> None:
    """Say that a block is held until what it needs answers again."""
    log().warning(
        "a partition waits",
        topic=block.topic,
        partition=block.partition,
        offset=block.begin,
        again_in_ms=int(again_in_s * 1_000),
        **error_fields(fault),
    )
