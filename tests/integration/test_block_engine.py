"""The block engine on a real broker, through kill -9, rebalances, transactions, and the loss of its disk."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.integration.block_engine import RECORDS, Engine, running_engine
from tests.integration.block_worker import PARTITIONS

pytestmark = pytest.mark.stack


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Give an engine; end what is left of it."""
    with running_engine(tmp_path) as made:
        yield made


def test_kill_9_loses_nothing_and_the_state_is_rebuilt_from_the_changelog(engine: Engine) -> None:
    """Killed twice in the middle, once with its disk lost: every record is finished, and the state is the truth."""
    engine.fill()
    for round_, share in enumerate((0.2, 0.5)):
        worker = engine.start("w1")
        engine.until(lambda wanted=share * RECORDS: engine.finished() > wanted, within_s=90, why="progress")  # type: ignore[misc]
        engine.stop(worker, kill=True)
        if round_:
            shutil.rmtree(engine.folder / "w1")
    worker = engine.start("w1", sleep_ms=0)
    engine.until_all_is_committed()
    engine.stop(worker)
    engine.assert_covered()
    assert engine.state() == engine.truth


def test_workers_that_come_and_go_lose_nothing(engine: Engine) -> None:
    """Two start together without a committed offset, one leaves, one is killed: no record is skipped."""
    engine.fill()
    first, second = engine.start("w1"), engine.start("w2")
    engine.until(lambda: engine.finished() > 0.3 * RECORDS, within_s=90, why="progress")
    engine.stop(second)
    third = engine.start("w3")
    engine.until(lambda: engine.finished() > 0.6 * RECORDS, within_s=90, why="progress")
    engine.stop(third, kill=True)
    engine.until_all_is_committed()
    engine.stop(first)
    engine.assert_covered()
    assert engine.state() == engine.truth


def test_a_standby_takes_over_with_what_it_has_kept(engine: Engine) -> None:
    """Two workers; one is killed: the other reads no changelog from its beginning, loses nothing, and is quick."""
    engine.fill()
    first = engine.start("w1", sleep_ms=0)
    engine.start("w2", sleep_ms=0)

    def is_shared() -> bool:
        engine.fill(500)  # there must be something left for the second when it comes
        return {"w1", "w2"} <= engine.working()

    engine.until(is_shared, within_s=60, why="work shared by two")
    engine.until_all_is_committed()
    told = len(engine.log("w2").splitlines())
    engine.stop(first, kill=True)
    engine.fill(2_000)
    engine.until_all_is_committed()
    lines = [json.loads(line) for line in engine.log("w2").splitlines()[told:] if line.startswith("{")]
    recovered = [line for line in lines if line["event"] == "the state was read from its changelog"]
    engine.stop(engine.processes[0])
    # The group may be arranged more than once, and a recovery with nothing to read is over before anybody looks.
    assert sum(line["count"] for line in recovered) < 0.2 * RECORDS
    assert all(line["elapsed_ms"] < 5_000 for line in recovered)
    engine.assert_covered()
    assert engine.state() == engine.truth


def test_markers_of_transactions_are_committed_and_aborted_records_are_not_seen(engine: Engine) -> None:
    """A partition that ends in markers is read to its end: the ends of blocks are positions, not offsets of records."""
    producer = Producer({"bootstrap.servers": engine.bootstrap, "transactional.id": engine.group})
    producer.init_transactions(10)
    for n in range(6):
        producer.begin_transaction()
        for partition in range(PARTITIONS):
            producer.produce(engine.topic, key=b"k", value=b"v%d" % n, partition=partition)
        if n % 2:
            producer.abort_transaction(10)
        else:
            producer.commit_transaction(10)
    worker = engine.start("w1", sleep_ms=0)
    engine.until_all_is_committed()
    engine.stop(worker)
    engine.assert_covered()
    assert engine.state() == {p: {b"k": b"v4"} for p in range(PARTITIONS)}


def test_a_worker_that_lost_its_partitions_while_it_slept_overwrites_nothing(engine: Engine) -> None:
    """Stopped for longer than its session lasts and then waked: what it held is old, and it ends without writing it."""
    engine.fill()
    sleeper = engine.start("w1")
    engine.until(lambda: engine.finished() > 0.1 * RECORDS, within_s=90, why="progress")
    sleeper.send_signal(signal.SIGSTOP)
    heir = engine.start("w2", sleep_ms=0)
    engine.until_all_is_committed()
    sleeper.send_signal(signal.SIGCONT)
    engine.until(lambda: sleeper.poll() is not None, within_s=60, why="the end of the worker that slept")
    assert sleeper.returncode != 0
    engine.processes.remove(sleeper)
    engine.stop(heir)
    engine.assert_covered()
    assert engine.state() == engine.truth
