"""What app/agents rests on inside Faust, mode and aiokafka, and what they promise to nobody.

An upgrade that changes one of these must be noticed here and not by lost records. Most are behaviour; where a whole
worker would be needed to see it, the order of calls in the source is pinned instead.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter, deque
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState, TopicPartitionState
from aiokafka.errors import (
    IllegalGenerationError,
    KafkaError,
    NoError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from faust.assignor.partition_assignor import PartitionAssignor
from faust.stores import rocksdb
from faust.tables import base as table_base
from faust.tables.recovery import Recovery
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.app import AppT
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from app.agents.block_consumer import (
    Block,
    BlockConsumer,
    BlockConsumerThread,
    FetchEpoch,
    RawRecord,
    RawRecords,
)
from app.agents.kept_records import KeptRecords
from app.agents.run import records_to_copy

CONSUMER_HOOKS = {
    "getmany": ["self", "timeout"],
    "_add_gap": ["self", "tp", "offset_from", "offset_to"],
    "_filter_tps_with_pending_acks": ["self", "topics"],
    "force_commit": ["self", "topics", "start_new_transaction"],
    "_new_offset": ["self", "tp"],
    "_commit_offsets": ["self", "offsets", "start_new_transaction"],
    "on_partitions_assigned": ["self", "assigned", "generation_id"],
    "perform_seek": ["self"],
    "seek_wait": ["self", "partitions"],
    "_new_consumer_thread": ["self"],
}
THREAD_HOOKS = {
    "_create_worker_consumer": ["self", "transport"],
    "_fetch_records": ["self", "consumer", "active_partitions", "timeout", "max_records"],
    "verify_event_path": ["self", "now", "tp"],
}


ASKED = {
    (driver.Consumer, "_is_changelog_tp"): ["self", "tp"],
    (driver.Consumer, "_get_active_partitions"): ["self"],
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"): ["self"],
    (driver.AIOKafkaConsumerThread, "call_thread"): ["self", "fun", "args", "kwargs"],
    (aiokafka_fetcher.Fetcher, "_create_fetch_waiter"): ["self"],
    (aiokafka_fetcher.Fetcher, "fetched_records"): ["self", "partitions", "timeout", "max_records"],
    (SubscriptionState, "fetch_context"): ["self"],
    (PartitionAssignor, "assigned_standbys"): ["self"],
}


def _calls_in_order(function: Any, *calls: str) -> bool:  # noqa: ANN401 - any callable
    source = inspect.getsource(function)
    places = [source.index(call) for call in calls]
    return places == sorted(places)


@pytest.mark.parametrize("name", CONSUMER_HOOKS)
def test_the_consumer_still_calls_what_is_overridden(name: str) -> None:
    """Every hook is there, with the parameters that our override takes."""
    assert list(inspect.signature(getattr(driver.Consumer, name)).parameters) == CONSUMER_HOOKS[name]
    assert name in vars(BlockConsumer)


@pytest.mark.parametrize("name", THREAD_HOOKS)
def test_the_consumer_thread_still_calls_what_is_overridden(name: str) -> None:
    """Every hook is there, with the parameters that our override takes."""
    assert list(inspect.signature(getattr(driver.AIOKafkaConsumerThread, name)).parameters) == THREAD_HOOKS[name]
    assert name in vars(BlockConsumerThread)


class _Hangs:
    """A service in a thread that never comes to its end by itself."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def _start_thread(self) -> None:
        self.let_go.wait()


@pytest.mark.parametrize(("owner", "name"), ASKED)
def test_what_is_asked_of_them_is_still_there(owner: type, name: str) -> None:
    """Names that our overrides call and that no documentation has, with the parameters that they are given."""
    assert list(inspect.signature(getattr(owner, name)).parameters) == ASKED[owner, name]


def test_a_changelogs_partition_is_known_by_the_tables_topics() -> None:
    """By it streams are told from changelogs, which are read otherwise."""
    consumer = SimpleNamespace(app=SimpleNamespace(tables=SimpleNamespace(changelog_topics={"state"})))
    found = [driver.Consumer._is_changelog_tp(consumer, TP(topic, 0)) for topic in ("state", "raw")]
    assert found == [True, False]


def test_the_standbys_are_those_of_the_last_assignment() -> None:
    """A standby's changelog is not read before the recovery of what is ours is over."""
    held = SimpleNamespace(_assignment=SimpleNamespace(standbys={"state": [1, 2]}))
    assert PartitionAssignor.assigned_standbys(held) == {TP("state", 1), TP("state", 2)}


async def _positions() -> list[tuple[bool, int | None]]:
    state = TopicPartitionState(None)
    before = state.has_valid_position
    state.reset_to(7)
    return [(before, None), (state.has_valid_position, state.position)]


def test_a_position_is_valid_once_it_is_known() -> None:
    """A partition without one is left out of a fetch's span: nobody knows where it would begin."""
    assert asyncio.run(_positions()) == [(False, None), (True, 7)]


async def _woken_waiter() -> tuple[bool, bool]:
    fetcher = SimpleNamespace(_loop=asyncio.get_running_loop(), _fetch_waiters=set())
    waiter = aiokafka_fetcher.Fetcher._create_fetch_waiter(fetcher)
    was_kept = waiter in fetcher._fetch_waiters
    waiter.cancel()
    await asyncio.wait([waiter])
    return was_kept, bool(fetcher._fetch_waiters)


def test_a_fetch_is_waited_for_by_a_future_that_goes_when_it_is_over() -> None:
    """Ours is cancelled when its time is over, and must not be left among those that the fetcher wakes."""
    assert asyncio.run(_woken_waiter()) == (True, False)


def test_a_message_of_an_earlier_generation_is_known_by_the_apps() -> None:
    """A span that was read before a rebalance is dropped by comparing the two."""
    assert AppT.consumer_generation_id == 0
    assert "consumer_generation_id" in inspect.getsource(Recovery)


def test_faust_waits_until_agents_are_idle_before_partitions_go() -> None:
    """With `stream_wait_empty`; and its index of acknowledged messages, which we keep empty, is a dict of sets."""
    assert "await self.wait_empty()" in inspect.getsource(faust_consumer.Consumer)
    assert "self._acked_index = defaultdict(set)" in inspect.getsource(faust_consumer.Consumer.__init__)


def test_a_consumers_thread_that_hangs_keeps_no_worker_from_ending() -> None:
    """Neither is it joined for ever, nor does the process wait for it."""
    service = _Hangs()
    thread = BlockConsumerThread.Worker(service)
    thread.patience_s = 0.01
    thread.start()
    try:
        stopping = threading.Thread(target=thread.stop, daemon=True)
        stopping.start()
        stopping.join(10)
        assert not stopping.is_alive()
        assert thread.is_alive()
        assert thread.daemon
    finally:
        service.let_go.set()
        thread.join()


def test_a_commit_asks_the_hooks_for_its_offsets() -> None:
    """The offsets are picked before anything is flushed: what is handed over later is not committed."""
    assert _calls_in_order(
        faust_consumer.Consumer._commit_tps, "_filter_committable_offsets(", "_handle_attached(", "_commit_offsets("
    )
    assert "_new_offset(tp)" in inspect.getsource(faust_consumer.Consumer._filter_committable_offsets)
    assert "_filter_tps_with_pending_acks(" in inspect.getsource(faust_consumer.Consumer.force_commit)


class _Answered:
    """A group's coordinator, as far as a heartbeat needs it, and the broker's answer."""

    group_id, member_id, generation, coordinator_id = "group", "member", 7, 1
    _do_heartbeat = GroupCoordinator._do_heartbeat
    reset_generation = GroupCoordinator.reset_generation

    def __init__(self, error: type[KafkaError]) -> None:
        self.error = error

    async def _send_req(self, _request: object) -> Any:  # noqa: ANN401 - aiokafka is untyped
        return SimpleNamespace(error_code=self.error.errno)

    def request_rejoin(self) -> None:
        """Nothing: nobody joins here."""

    def coordinator_dead(self) -> None:
        """Nothing: nobody looks for another."""


@pytest.mark.parametrize(
    ("error", "answered", "generation"),
    [
        (NoError, True, 7),
        (RebalanceInProgressError, True, 7),
        (NotCoordinatorForGroupError, False, 7),
        (UnknownMemberIdError, False, -1),
        (IllegalGenerationError, False, -1),
    ],
)
def test_a_heartbeat_tells_whether_the_group_knows_us(error: type[KafkaError], answered: bool, generation: int) -> None:  # noqa: FBT001
    """A member that was dropped has no generation afterwards; during a rebalance one is a member still."""
    coordinator: Any = _Answered(error)
    assert asyncio.run(coordinator._do_heartbeat()) is answered
    assert coordinator.generation == generation


def test_streams_are_emptied_before_the_sign_that_lets_them_be_fetched() -> None:
    """`actives_ready`, which opens fetching, is set after the last time that recovery empties the queues."""
    for function in (Recovery.on_recovery_completed, Recovery._resume_streams):
        assert _calls_in_order(function, "perform_seek()", "flow_control.resume()", "tables.on_actives_ready()")


def test_a_resumed_flow_empties_the_queues() -> None:
    """What was fetched before is thrown away: the reason why it must not be fetched."""

    async def emptied() -> bool:
        flow = FlowControlEvent(initially_suspended=False)
        queue: Any = ThrowableQueue(maxsize=4, flow_control=flow, clear_on_resume=True)
        queue.put_nowait(1)
        flow.resume()
        return bool(queue.empty())

    assert asyncio.run(emptied())


def test_seeking_to_committed_leaves_partitions_without_an_offset_where_they_stand() -> None:
    """A seek of aiokafka goes only where something was committed; our `perform_seek` does the rest."""
    assert "if offset and offset > 0:" in inspect.getsource(AIOKafkaConsumer.seek_to_committed)


def test_aiokafka_reads_isolation_and_wait_when_it_starts() -> None:
    """Faust has no setting for them, so they are set between construction and start."""
    source = inspect.getsource(AIOKafkaConsumer.start)
    assert "isolation_level=self._isolation_level" in source
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in source
    assert "fetch_min_bytes=self._fetch_min_bytes" in source


def test_a_fetch_tells_how_far_a_partition_can_be_read() -> None:
    """By it a partition that has more to give is told from one that was read to its end."""
    assert "tp_state.lso = lso" in inspect.getsource(aiokafka_fetcher.Fetcher)


class _Batch:
    """A record batch as aiokafka reads it, without records."""

    producer_id = 5
    is_control_batch = True
    is_transactional = True
    base_offset = 7
    next_offset = 8

    def validate_crc(self) -> bool:
        return True

    def __next__(self) -> Any:  # noqa: ANN401 - aiokafka is untyped
        raise AssertionError("nobody reads a marker's record outside read_committed")


class _Batches:
    def __init__(self, batches: list[_Batch]) -> None:
        self._batches = deque(batches)

    def has_next(self) -> bool:
        return bool(self._batches)

    def next_batch(self) -> _Batch:
        return self._batches.popleft()


class _State:
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def consumed_to(self, position: int) -> None:
        self.position = position


class _Assignment:
    active = True

    def __init__(self, state: _State) -> None:
        self._state = state

    def state_value(self, tp: TopicPartition) -> _State:
        del tp
        return self._state


def _marker_only(state: _State) -> Any:  # noqa: ANN401 - aiokafka is untyped
    at = TopicPartition("t", 0)
    records = aiokafka_fetcher.PartitionRecords(
        at, _Batches([_Batch()]), [], 7, None, None, True, aiokafka_fetcher.READ_UNCOMMITTED
    )
    return aiokafka_fetcher.FetchResult(at, assignment=_Assignment(state), partition_records=records, backoff=0)


def test_a_marker_moves_the_position_without_a_record() -> None:
    """A transaction's marker occupies an offset, so a block's end is the position and not the last record's offset."""
    state = _State(7)
    assert _marker_only(state).getall(10) == []
    assert state.position == 8


def test_taking_what_is_there_awaits_nothing() -> None:
    """Between the positions before and after a fetch nobody may run, or a block could claim what it does not hold."""

    class Subscriptions:
        reassignment_in_progress = False

        def is_assigned(self, tp: TopicPartition) -> bool:
            del tp
            return True

    fetcher: Any = aiokafka_fetcher.Fetcher.__new__(aiokafka_fetcher.Fetcher)
    fetcher._subscriptions = Subscriptions()
    fetcher._records = {TopicPartition("t", 0): _marker_only(_State(7))}
    fetcher._wait_consume_future = None
    fetching = fetcher.fetched_records({TopicPartition("t", 0)}, timeout=0, max_records=5)
    with pytest.raises(StopIteration) as stop:
        fetching.send(None)
    assert stop.value.value == {}


def test_a_fetch_makes_its_records_by_the_class_and_the_method_that_are_exchanged() -> None:
    """Records are made once, as `RawRecord`, with what aiokafka read of them, and taken by a class of ours."""

    class Read:
        offset, timestamp, key, value, headers = 7, 1_000, b"k", None, (("h", b"1"),)

    assert "partition_records = PartitionRecords(" in inspect.getsource(aiokafka_fetcher.Fetcher._proc_fetch_request)
    assert "self._consumer_record(tp, record)" in inspect.getsource(aiokafka_fetcher.PartitionRecords._unpack_records)
    made = RawRecords._consumer_record(RawRecords.__new__(RawRecords), TopicPartition("t", 0), Read())
    assert made == RawRecord(7, 1_000, b"k", None, (("h", b"1"),))
    assert "FetchResult(" in inspect.getsource(aiokafka_fetcher.Fetcher._proc_fetch_request)
    assert "is FetchResult:" in inspect.getsource(aiokafka_fetcher.Fetcher.fetched_records)


def _reading_thread() -> Any:  # noqa: ANN401 - a thread without a consumer
    thread = BlockConsumerThread.__new__(BlockConsumerThread)
    consumer = driver.Consumer.__new__(driver.Consumer)
    consumer.app = SimpleNamespace(tables=SimpleNamespace(changelog_topics={"changelog"}), recovered_rows_max=9)
    thread.consumer = consumer
    return thread


def test_a_changelogs_records_are_read_as_what_a_table_needs() -> None:
    """And every other topic's as what an agent needs."""
    thread = _reading_thread()
    read: tuple[Any, ...] = (_Batches([]), [], 7, None, None, True, aiokafka_fetcher.READ_UNCOMMITTED)
    assert isinstance(thread._records_of(TopicPartition("changelog", 0), *read), KeptRecords)
    assert isinstance(thread._records_of(TopicPartition("observations", 0), *read), RawRecords)


def test_only_a_recovery_reads_in_blocks_of_its_own_size() -> None:
    """A changelog that is read beside streams has its turn as they have."""
    thread = _reading_thread()
    changelogs, stream = {TP("changelog", 0), TP("changelog", 1)}, TP("observations", 0)
    assert thread._records_max(changelogs, 5) == 9
    assert thread._records_max({*changelogs, stream}, 5) == 5
    assert thread._records_max(set(), 5) == 5


def test_topic_partitions_of_faust_and_aiokafka_are_the_same_keys() -> None:
    """Positions are read with the one and looked up with the other."""
    assert {TopicPartition("t", 1): "x"}[TP("t", 1)] == "x"


def test_recovery_swallows_what_a_table_raises() -> None:
    """So the table itself must crash the app, or recovery would go on past what it could not apply."""
    assert "except Exception as ex:" in inspect.getsource(Recovery._slurp_changelogs.fun)


def test_a_table_makes_its_store_through_the_hook() -> None:
    """`BulkTable` puts its own store in there."""
    assert "self._new_store_by_url(" in inspect.getsource(table_base.Collection._new_store)
    assert rocksdb.Store.offset_key == b"__faust\0offset__"


def test_the_end_of_a_recovery_ignores_what_a_table_raises() -> None:
    """So the store itself must crash the app and not return, or work would begin on a state that is none."""
    assert "self.data.on_recovery_completed(" in inspect.getsource(table_base.Collection.on_recovery_completed)
    assert _calls_in_order(
        Recovery.on_recovery_completed, "table.on_recovery_completed(", "asyncio.wait(callback_coros)", "perform_seek()"
    )


def test_what_a_table_raises_in_a_rebalance_crashes_the_app() -> None:
    """There the store may simply refuse."""
    source = inspect.getsource(faust.App._on_partitions_assigned)
    assert "self.tables.on_rebalance" in source
    assert "await self.crash(exc)" in source


def test_a_promoted_standby_is_neither_revoked_nor_assigned_anew() -> None:
    """Its changelog stays in the assignment: the store asks the assignor who owns what, and keeps nothing over it."""
    source = inspect.getsource(faust.App._update_assignment)
    assert "revoked = self._assignment - assigned" in source
    assert "newly_assigned = assigned - self._assignment" in source


def test_recovery_reads_from_the_persisted_offset_to_the_end_of_the_changelog() -> None:
    """A block's message offset is its end less one, which is what recovery compares with the highwater."""
    assert "value - 1 if value is not None else -1" in inspect.getsource(Recovery._build_highwaters)
    assert "offset > seen_offset" in inspect.getsource(Recovery._slurp_changelogs.fun)


def test_faust_knows_how_far_a_copy_is() -> None:
    """By its own count a copy of which nothing was read yet lacks nothing, so ours is by what it counts with."""
    recovery = Recovery.__new__(Recovery)
    begun, empty, done = TP("changelog", 0), TP("changelog", 1), TP("changelog", 2)
    recovery.standby_tps = {begun, empty, done}
    recovery.standby_highwaters = Counter({begun: 99, empty: -1, done: 9, TP("changelog", 3): 7})
    recovery.standby_offsets = Counter({begun: -1, empty: -1, done: 12})
    assert begun not in recovery.standby_remaining()
    app: Any = SimpleNamespace(tables=SimpleNamespace(recovery=recovery))
    assert records_to_copy(app) == 100
    recovery.standby_offsets[begun] = 59
    assert records_to_copy(app) == 40


def _consumer(blocks: list[Block]) -> BlockConsumer:
    consumer: BlockConsumer = BlockConsumer.__new__(BlockConsumer)
    consumer._open, consumer._aged = {TP("t", 0): deque(blocks)}, {}
    return consumer


def test_the_committed_offset_is_the_end_of_the_finished_blocks_at_the_head() -> None:
    """A finished block behind an unfinished one does not count, and an empty one counts with its end."""
    epoch = FetchEpoch(1)
    blocks = [Block(TP("t", 0), begin, begin + 10, [], epoch) for begin in (0, 10, 20, 30)]
    consumer = _consumer(blocks)
    assert consumer._new_offset(TP("t", 0)) is None
    blocks[0].done()
    blocks[1].done()
    blocks[3].done()
    assert consumer._new_offset(TP("t", 0)) == 20
    assert consumer._new_offset(TP("t", 0)) is None
    blocks[2].done()
    assert consumer._new_offset(TP("t", 0)) == 40
