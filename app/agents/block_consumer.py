"""Feed Faust whole blocks: one message per partition and fetch instead of one per record.

Faust's cost is per message, so a message that stands for thousands of records makes it vanish. Progress is what an
agent says of a block (`Block.done`), never Faust's own ack: Faust acks what it skips, and its compiled stream acks
around every hook. The committed offset of a partition is the end of the finished blocks at its head when the commit
before began: a commit writes what had changed by then (`Shard.flush_aged`). What must be safe before it is committed is
a list of steps that the app gives (`WorkerApp.before_commit`), each of which may raise and so crash.

Positions are the consumer's: transaction markers and aborted records occupy offsets, so the end of a block is where the
consumer stands and not "last record + 1", and a stretch without a record is a block without records. A block begins
where the consumer stood when it was taken. If the broker deleted records that were not read, the next block begins
above the end of the one before, and whoever keeps a chain sees the gap.

Stream partitions, and changelogs that this worker stands by for, are not fetched between an assignment and the end of
the recovery: Faust empties the queues at that end, and what was fetched before it would be lost for a partition that
nothing rewinds.

A recovery has the process for itself and is read in blocks of its own kind and size (`kept_records.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import faust
from aiokafka.consumer import fetcher as aiokafka_fetcher
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.threads import WorkerThread

from app.agents.kept_records import BlockFetch, KeptBlock, KeptRecords
from app.agents.side_by_side import SideBySide
from app.core.errors import Unready

FETCH_WAIT_S: Final = 0.25
"""How long one fetch may hold the lock that a seek waits for."""

_ASK_AGAIN_S: Final = 0.2
_BROKER_AWAY_S: Final = 300.0
"""As long as a producer waits for a broker; then nobody knows whether the group still counts on this worker."""

_BROKER_WAIT_MS: Final = 200
"""How long the broker may hold a fetch: partitions with data wait for those without in the same request."""

_PACKED_MAX: Final = 4
"""Records of a packed topic in one block, of some hundred rows each: more would hold up the other partitions."""

_BROKER_BYTES_MIN: Final = 1024 * 1024
"""What a fetch waits for, no longer than that: at a small load many small blocks would cost more than their rows."""


class RawRecord(NamedTuple):
    """One record as Kafka holds it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class RawRecords(aiokafka_fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """The records of one fetch as `RawRecord`: aiokafka's own have eleven fields and take twice as long to make."""

    def _consumer_record(self, tp: Any, record: Any) -> RawRecord:  # noqa: ANN401 - aiokafka is untyped
        del tp
        return RawRecord(record.offset, record.timestamp, record.key, record.value, tuple(record.headers))


class Block:
    """What the consumer read of one partition between the positions `begin` and `end`; `records` may be empty."""

    __slots__ = ("_epoch", "begin", "end", "finished", "partition", "records", "topic")

    def __init__(self, tp: TP, begin: int, end: int, records: list[RawRecord], epoch: FetchEpoch) -> None:
        self.topic: str = tp.topic
        self.partition: int = tp.partition
        self.begin = begin
        self.end = end
        self.records = records
        self.finished = False
        self._epoch = epoch

    def done(self) -> None:
        """Say that everything this block asked for was handed over: it may be committed after the next flush."""
        self.finished = True
        # A slow commit keeps many finished blocks, whose records nobody needs.
        self.records = []

    @property
    def epoch(self) -> int:
        """Which seek this block was read after: a higher one begins at the committed offset again."""
        return self._epoch.of_block

    @property
    def live(self) -> bool:
        """False once the consumer has sought elsewhere: the same records come again, perhaps to another worker."""
        return self._epoch.current


class FetchEpoch:
    """The time between two seeks of the consumer."""

    __slots__ = ("current", "of_block")

    def __init__(self, number: int) -> None:
        self.of_block = number
        self.current = True


class _Span(NamedTuple):
    begin: int
    end: int
    records: list[Any]  # as the class says that read them
    has_more: bool


class EndingThread(WorkerThread):  # type: ignore[misc]  # mode is untyped here
    """A thread that cannot keep a worker from ending.

    Faust joins its consumer's thread without a limit, and Python waits for every thread before a process ends: one
    that hangs in its client would leave a crashed worker standing, with its partitions taken and its port open.
    """

    patience_s: float = 5.0

    def __init__(self, service: Any, **kwargs: Any) -> None:  # noqa: ANN401 - mode's signature
        super().__init__(service, **kwargs)
        self.daemon = True

    def stop(self) -> None:
        """Wait for the thread's end, and not for long."""
        self.is_stopped.wait(self.patience_s)


class BlockConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is untyped here
    """The thread of the aiokafka consumer; it takes records together with the positions before and after them."""

    Worker = EndingThread

    def _create_worker_consumer(self, transport: Any) -> Any:  # noqa: ANN401 - aiokafka is untyped
        # Of this process, in which no other consumer reads by aiokafka.
        aiokafka_fetcher.PartitionRecords = self._records_of
        aiokafka_fetcher.FetchResult = BlockFetch
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for these; aiokafka reads them when the consumer starts.
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - pinned in tests/contract
        consumer._fetch_max_wait_ms = _BROKER_WAIT_MS  # noqa: SLF001 - pinned in tests/contract
        # Of one partition a fetch brings no more than its limit, and must not wait for more.
        limit_bytes = self.consumer.app.conf.consumer_max_fetch_size
        consumer._fetch_min_bytes = min(_BROKER_BYTES_MIN, limit_bytes)  # noqa: SLF001 - pinned in tests/contract
        return consumer

    def _records_of(self, tp: TP, *read: Any) -> RawRecords | KeptRecords:  # noqa: ANN401 - aiokafka is untyped
        return KeptRecords(tp, *read) if self._is_changelog(tp) else RawRecords(tp, *read)

    def _records_max(self, partitions: set[TP], of_streams: int | None) -> int | None:
        """Return how many records to take: from changelogs alone, as while they are recovered, as many as fit."""
        is_recovery = bool(partitions) and all(map(self._is_changelog, partitions))
        return self.consumer.app.recovered_rows_max if is_recovery else of_streams

    def _is_changelog(self, tp: TP) -> bool:
        return bool(self.consumer._is_changelog_tp(tp))  # noqa: SLF001 - pinned in tests/contract

    async def _fetch_records(
        self,
        consumer: Any,  # noqa: ANN401 - aiokafka is untyped
        active_partitions: set[TP] | None,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Mapping[TP, _Span]:
        fetcher = consumer._fetcher  # noqa: SLF001 - pinned in tests/contract
        max_records = self._records_max(active_partitions or set(), max_records)
        deadline = self.thread_loop.time() + (timeout or 0)
        with fetcher._subscriptions.fetch_context():  # noqa: SLF001 - pinned in tests/contract
            while self.consumer.flow_active and not fetcher._subscriptions.reassignment_in_progress:  # noqa: SLF001
                if consumer._closed or fetcher._closed:  # noqa: SLF001
                    raise driver.ConsumerStoppedError
                before = _positions(consumer, active_partitions)
                # Without a timeout this takes what is there and awaits nothing, so nobody can move a position
                # between the two readings.
                drained = await self._drained(fetcher, set(before), max_records)
                after = _positions(consumer, active_partitions)
                spans = {
                    TP(*tp): _Span(before[tp].at, reached.at, drained.get(tp, []), reached.has_more)
                    for tp, reached in after.items()
                    if tp in before
                }
                if any(span.begin != span.end for span in spans.values()):
                    return spans
                remaining = deadline - self.thread_loop.time()
                if remaining <= 0:
                    break
                waiter = fetcher._create_fetch_waiter()  # noqa: SLF001 - pinned in tests/contract
                await asyncio.wait([waiter], timeout=remaining)
                if waiter.done():
                    waiter.result()  # raises what the coordinator found, such as a missing right
                else:
                    waiter.cancel()
        return {}

    async def _drained(self, fetcher: Any, partitions: set[TP], max_records: int | None) -> dict[TP, list[Any]]:  # noqa: ANN401 - aiokafka is untyped
        """Take what was fetched: few packed records of each of their partitions, and records of the first others.

        A fetch that failed is raised, and what was taken before it is lost: the worker ends with it.
        """
        packed = {tp for tp in partitions if tp.topic in self.consumer.app.packed_topics}
        drained: dict[TP, list[Any]] = {}
        for tp in packed:
            drained |= await fetcher.fetched_records({tp}, timeout=0, max_records=_PACKED_MAX)
        # To ask for no partition is to ask for all.
        if others := partitions - packed:
            drained |= await fetcher.fetched_records(others, timeout=0, max_records=max_records)
        return drained

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: Faust calls a partition stuck that was quiet for minutes and has a record again.

        How far a worker is behind is told by its status and metrics.
        """
        del now, tp

    async def is_member(self) -> bool:
        """Ask the group's coordinator whether this consumer is still a member; wait for a broker that is away."""
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - pinned in tests/contract
        deadline = self.thread_loop.time() + _BROKER_AWAY_S
        # A heartbeat that fails otherwise was not answered; one that finds us unknown forgets the generation.
        while coordinator.generation >= 0 and not await coordinator._do_heartbeat():  # noqa: SLF001 - likewise
            if self.thread_loop.time() > deadline:
                return False
            await self.sleep(_ASK_AGAIN_S)
        return bool(coordinator.generation >= 0)


class _Position(NamedTuple):
    at: int
    has_more: bool  # the broker had more when it was last asked


def _positions(consumer: Any, wanted: set[TP] | None) -> dict[Any, _Position]:  # noqa: ANN401 - aiokafka is untyped
    subscription = consumer._subscription.subscription  # noqa: SLF001 - pinned in tests/contract
    assignment = None if subscription is None else subscription.assignment
    if assignment is None:
        return {}
    found = {}
    for tp in assignment.tps:
        if wanted is None or tp in wanted:
            state = assignment.state_value(tp)
            if state is not None and state.has_valid_position:
                found[tp] = _Position(state.position, (state.lso or 0) > state.position)
    return found


def _message(tp: TP, offset: int, timestamp_ms: int, block: Block | KeptBlock, generation: int) -> ConsumerMessage:
    return ConsumerMessage(
        tp.topic,
        tp.partition,
        offset,
        timestamp_ms / 1000,
        0,
        None,
        None,
        block,
        None,
        0,
        0,
        tp,
        generation_id=generation,
    )


class BlockConsumer(driver.Consumer):  # type: ignore[misc]  # Faust is untyped here
    """Faust's consumer, with blocks in place of records and the agents' word in place of acks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Faust's signature
        super().__init__(*args, **kwargs)
        self._fetch_lock = asyncio.Lock()
        self._epoch = FetchEpoch(0)
        self._open: dict[TP, deque[Block]] = {}
        self._aged: dict[TP, int] = {}
        self.starts: dict[TP, int] = {}
        """Where each stream partition of the present assignment was begun to be read."""

    def _new_consumer_thread(self) -> BlockConsumerThread:
        return BlockConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _fetchable(self) -> set[TP]:
        active: set[TP] = self._get_active_partitions()
        if self.app.tables.actives_ready:
            ahead: set[TP] = self.app.side_by_side.ahead()
            return active - ahead
        standbys = self.app.assignor.assigned_standbys()
        return {tp for tp in active if self._is_changelog_tp(tp) and tp not in standbys}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109 - Faust's
        """Yield one message per partition that moved; its value is a `Block`."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        # Awaits of the flow stand outside the lock, since a seek, which takes it, comes before the flow resumes.
        async with self._fetch_lock:
            epoch = self._epoch
            fetchable = self._fetchable() if self.flow_active else set()
            spans: Mapping[TP, _Span] = {}
            if fetchable:
                spans = await self._getmany(fetchable, min(timeout, FETCH_WAIT_S))
            generation = self.app.consumer_generation_id
        now_ms = time.time_ns() // 1_000_000
        if not fetchable:
            await self.sleep(0.02)
        for tp, span in (spans or {}).items():
            # What is dropped here is read again: each of these is followed by a seek.
            if not epoch.current or not self.flow_active or generation != self.app.consumer_generation_id:
                return
            if span.begin == span.end:
                self.app.side_by_side.read(tp, None, has_more=span.has_more, now_ms=now_ms)
                continue
            if self._is_changelog_tp(tp):
                kept = KeptBlock(tp.partition, span.begin, span.end, span.records)
                yield tp, _message(tp, span.end - 1, 0, kept, generation)
            else:
                newest_ms = span.records[-1].timestamp_ms if span.records else None
                self.app.side_by_side.read(tp, newest_ms, has_more=span.has_more, now_ms=now_ms)
                block = Block(tp, span.begin, span.end, span.records, epoch)
                self._open.setdefault(tp, deque()).append(block)
                yield tp, _message(tp, span.end - 1, newest_ms or 0, block, generation)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: the ends of blocks are the consumer's positions, so there are no gaps to remember."""

    def _filter_tps_with_pending_acks(self, topics: Iterable[Any] | None = None) -> Iterator[TP]:
        # Faust's own acks are not used and would grow without end.
        self._acked.clear()
        self._acked_index.clear()
        return (tp for tp in list(self._open) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        blocks = self._open.get(tp)
        end = self._aged.get(tp)
        while blocks and blocks[0].finished:
            end = blocks.popleft().end
        return end

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ANN401, FBT001, FBT002 - Faust's signature
        """Let agents finish what they have in hand, then commit."""
        for step in self.app.before_offsets:
            step()
        committed: bool = await super().force_commit(topics, start_new_transaction=start_new_transaction)
        return committed

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002 - Faust's signature
        # What a crash left half done is done again by the next start.
        if self.app.crashed:
            return False
        # A worker that was away for too long (paused, or busy through a whole rebalance) has lost its partitions to
        # others without having been told: what it still holds is old and would overwrite what they have written since.
        if not await self._thread.call_thread(self._thread.is_member):
            raise Unready(
                "the group has gone on without this worker, or does not answer",
                where=self.app.conf.id,
                hint="nothing was written; start it again",
            )
        epoch = self._epoch
        # What is done by now is covered by what the steps write at the next commit.
        covered, self._aged = self._aged, dict(offsets)
        for step in self.app.before_commit:
            await step()
        if not covered or not epoch.current:
            return False
        committed: bool = await super()._commit_offsets(covered, start_new_transaction=start_new_transaction)
        return committed

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Forget the blocks in hand first: what they wrote may be forgotten by the table, so they are not committed."""
        self._begin_epoch()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Go to the committed offsets, and to the earliest record where there is none.

        Faust and aiokafka leave a partition without a committed offset where it stands, even if what was read of it
        has been thrown away.
        """
        async with self._fetch_lock:
            self._begin_epoch()
            await super().perform_seek()
            streams = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
            earliest = await self.earliest_offsets(*streams) if streams else {}
            starts: dict[TP, int] = {}
            found: dict[TP, int] = {}
            for tp, first in earliest.items():
                committed = self._committed_offset.get(TP(*tp)) or 0
                if committed < first and committed:
                    self.log.error(
                        "%s[%d]: records %d to %d were deleted before they were read; what rests on them is unknown",
                        tp.topic,
                        tp.partition,
                        committed,
                        first,
                    )
                if committed < first or not committed:
                    starts[TP(*tp)] = first
                found[TP(*tp)] = max(committed, first)
            if starts:
                await self._thread.seek_wait(starts)
            self.starts = found

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek, and let nothing that was fetched before through."""
        async with self._fetch_lock:
            self._begin_epoch()
            await super().seek_wait(partitions)

    def _begin_epoch(self) -> None:
        self._epoch.current = False
        self._epoch = FetchEpoch(self._epoch.of_block + 1)
        self._open.clear()
        self._aged.clear()
        self.app.side_by_side.forget()

    @property
    def epoch(self) -> int:
        """The number of the present epoch: what `Block.epoch` is of the blocks that are live."""
        return self._epoch.of_block

    @property
    def has_uncommitted(self) -> bool:
        """Whether agents are done with something that is not committed yet: two commits cover it."""
        is_done = any(blocks and blocks[0].finished for blocks in self._open.values())
        return is_done or any(at > (self._committed_offset.get(tp) or 0) for tp, at in self._aged.items())

    def unfinished_blocks(self) -> int:
        """Return how many blocks were given to agents and not finished by them."""
        return sum(1 for blocks in self._open.values() for block in blocks if not block.finished)


class BlockTransport(driver.Transport):  # type: ignore[misc]  # Faust is untyped here
    """The aiokafka transport with consumers of blocks."""

    Consumer = BlockConsumer


class WorkerApp(faust.App):  # type: ignore[misc]  # Faust is untyped here
    """A Faust app over blocks. `before_commit` runs in order before offsets are committed; what raises crashes.

    `before_offsets` runs before it is looked at which offsets can be committed: so late may blocks be said to be done.
    `side_by_side` says which partitions are read next. `recovered_rows_max` bounds a block of a changelog. Records of
    `packed_topics` are blocks themselves, and come few at a time.
    """

    def __init__(self, *args: Any, recovered_rows_max: int, **kwargs: Any) -> None:  # noqa: ANN401 - Faust's signature
        self.before_offsets: list[Callable[[], None]] = []
        self.before_commit: list[Callable[[], Awaitable[None]]] = []
        self.side_by_side = SideBySide({})
        self.packed_topics: frozenset[str] = frozenset()
        self.recovered_rows_max = recovered_rows_max
        super().__init__(*args, **kwargs)

    def _new_transport(self) -> BlockTransport:
        return BlockTransport(self.conf.broker_consumer, self)
