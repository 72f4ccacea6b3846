"""Look things up in Kafka beside the main stream: single records, ends of partitions, offsets of other groups."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # documented, not listed

from app.adapters.kafka import KafkaClients
from app.core.errors import Unready

Spot = tuple[str, int, int]
"""Topic, partition, offset."""

_REQUEST_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.1
_OF_LEADERS: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """One record that was looked up."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class KafkaReader:
    """Reads few records here and there. One look-up at a time; it commits nothing and joins no group."""

    def __init__(self, clients: KafkaClients, client: str) -> None:
        self._consumer: Consumer = clients.consumer(
            client,
            f"{client}-never-commits",
            {"queued.max.messages.kbytes": 1024, "fetch.message.max.bytes": 65_536, "fetch.wait.max.ms": 20},
        )
        self._one_at_a_time = threading.Lock()

    def connect(self) -> None:
        """Connect ahead of the first look-up, which would else take too long. Blocks; a dead broker is fine."""
        with contextlib.suppress(KafkaException):
            self._consumer.list_topics(timeout=_REQUEST_S)

    def read(self, ranges: Mapping[tuple[str, int], tuple[int, int]], wait_s: float) -> list[FoundRecord]:
        """Return the records in [begin, end) of each partition, as far as they come within `wait_s`. Blocks."""
        with self._one_at_a_time:
            wanted = {at: span for at, span in ranges.items() if span[0] < span[1]}
            if not wanted:
                return []
            deadline = time.monotonic() + wait_s
            found: list[FoundRecord] = []
            try:
                self._consumer.assign([TopicPartition(topic, p, begin) for (topic, p), (begin, _) in wanted.items()])
                while wanted and (left := deadline - time.monotonic()) > 0:
                    record = self._consumer.poll(min(left, 0.05))
                    if record is not None and record.error() is None:
                        at = (record.topic() or "", record.partition() or 0)
                        offset = record.offset() or 0
                        if at in wanted and offset < wanted[at][1]:
                            found.append(FoundRecord(*at, offset, record.key(), record.value()))
                    self._drop_finished(wanted)
            except KafkaException as error:
                raise Unready(f"cannot read records: {error}", where="Kafka") from error
            finally:
                self._consumer.unassign()
            return found

    def _drop_finished(self, wanted: dict[tuple[str, int], tuple[int, int]]) -> None:
        for place in self._consumer.position([TopicPartition(*at) for at in wanted]):
            at = (place.topic, place.partition)
            # The position is behind markers of transactions too, which are no records.
            if place.offset >= wanted[at][1]:
                del wanted[at]

    def several(self, spots: Sequence[Spot], wait_s: float) -> dict[Spot, FoundRecord]:
        """Return single records of unlike partitions; those that are gone or do not come in time are absent. Blocks."""
        found = self.read({(topic, p): (offset, offset + 1) for topic, p, offset in spots}, wait_s)
        return {(record.topic, record.partition, record.offset): record for record in found}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


class KafkaEnds:
    """Asks the broker where partitions begin and end."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

    async def high_watermarks(self, partitions: Sequence[tuple[str, int]]) -> list[Spot]:
        """Return the high watermarks, uncommitted records and markers included; `Unready` if the broker cannot say."""
        asked = self._admin.list_offsets(
            {TopicPartition(*at): _LATEST for at in partitions},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_REQUEST_S,
        )
        try:
            answers = await asyncio.gather(*(asyncio.wrap_future(answer) for answer in asked.values()))
        except KafkaException as error:
            await asyncio.to_thread(self._learn_leaders)
            raise Unready(f"cannot ask for the ends of partitions: {error}", where="Kafka") from error
        return [(at.topic, at.partition, answer.offset) for at, answer in zip(asked, answers, strict=True)]

    def _learn_leaders(self) -> None:
        """Learn the partitions' leaders anew. Blocks.

        After a leader has changed, if only by a broker's restart, the client goes on to ask in the name of the old
        epoch and is refused for as long as it lives: its admin requests do not learn from their own refusal.
        """
        with contextlib.suppress(KafkaException):
            self._admin.list_topics(timeout=_REQUEST_S)

    def offsets(self, partitions: Iterable[tuple[str, int]], *, latest: bool) -> dict[tuple[str, int], int]:
        """Return the earliest or latest committed offsets; a leader that is not known yet is waited for. Blocks."""
        spec = dict.fromkeys((TopicPartition(*at) for at in partitions), _LATEST if latest else _EARLIEST)
        deadline = time.monotonic() + _REQUEST_S
        while True:
            asked = self._admin.list_offsets(
                spec, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_REQUEST_S
            )
            try:
                return {(at.topic, at.partition): answer.result().offset for at, answer in asked.items()}
            except KafkaException as error:
                self._learn_leaders()
                if error.args[0].code() not in _OF_LEADERS or time.monotonic() > deadline:
                    raise Unready(f"cannot ask for the ends of partitions: {error}", where="Kafka") from error
                time.sleep(_LOOK_AGAIN_S)

    def topic_id(self, topic: str) -> str:
        """Return the broker's own id of a topic; one that was made again has another. Blocks.

        A topic that was made a moment ago is not yet known to every broker: it is waited for.
        """
        deadline = time.monotonic() + _REQUEST_S
        while True:
            asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=_REQUEST_S)
            try:
                return str(asked[topic].result().topic_id)
            except KafkaException as error:
                is_unknown = error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
                if not is_unknown or time.monotonic() > deadline:
                    raise Unready(f"cannot describe topic {topic}: {error}", where="Kafka") from error
                time.sleep(_LOOK_AGAIN_S)

    def partitions_of(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions each of these topics has; those that do not exist are absent. Blocks."""
        try:
            known = self._admin.list_topics(timeout=_REQUEST_S).topics
        except KafkaException as error:
            raise Unready(f"cannot list topics: {error}", where="Kafka") from error
        return {topic: len(known[topic].partitions) for topic in topics if topic in known}


class KafkaGroups:
    """Asks where other groups are, by consumers that bear a group's name and never join it.

    The admin client's question does the same and aborts the whole process if the broker goes away at the wrong moment
    (librdkafka's issue 4605, of every admin request to a coordinator).
    """

    def __init__(self, clients: KafkaClients, client: str) -> None:
        self._clients = clients
        self._client = client
        self._consumers: dict[str, Consumer] = {}

    def committed(self, group: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int | None]:
        """Return where a group is, None where it has committed nothing; `Unready` if the broker cannot say. Blocks."""
        if group not in self._consumers:
            self._consumers[group] = self._clients.consumer(self._client, group)
        try:
            places = self._consumers[group].committed([TopicPartition(*at) for at in partitions], timeout=_REQUEST_S)
        except KafkaException as error:
            raise Unready(f"cannot ask for the offsets of group {group}: {error}", where="Kafka") from error
        return {(at.topic, at.partition): at.offset if at.offset >= 0 and at.error is None else None for at in places}
