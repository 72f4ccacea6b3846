"""A whole worker on a real broker; the change streams are written by the test."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]  # documented, not listed

from app.cli.exit_codes import ExitCode
from app.codec.aggregates import decode_aggregate
from app.core.finding import DriftKind, Finding, Stage, Verdict
from app.core.status import owners
from tests.integration.worker_world import PROJECT, WorkerWorld, two_agreeing_stores

pytestmark = pytest.mark.stack


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WorkerWorld]:
    """Give a world whose two stores agree on two hundred rows."""
    with two_agreeing_stores(tmp_path) as made:
        yield made


def _stages(world: WorkerWorld) -> list[tuple[Stage, DriftKind | None, tuple[str, ...]]]:
    return [(f.finding.stage, f.finding.kind, f.finding.differing_columns) for f in world.findings()]


def test_a_rogue_update_is_found_named_planned_and_resolved(world: WorkerWorld) -> None:
    """From a change in the replica's log to a drift with the field's name, a command, and its end."""
    with world.worker():
        world.until(world.covered, within_s=60, why="coverage")
        assert world.findings() == []
        world.change("my", 7, ("rogue", "1.50"))
        world.until(lambda: bool(world.findings()), within_s=20, why="a finding")
        assert _stages(world)[0][:2] == (Stage.CONFIRMED, DriftKind.DIFFERENT)
        repairs = f"{world.prefix}.repairs.v1"
        world.until(lambda: len(world.records(repairs)) == 1, within_s=20, why="a command")
        # Looking the rows up is bounded in time, so on a busy machine a later record may be the first to name it.
        assert {names for _, _, names in _stages(world) if names} == {("name",)}
        world.change("my", 7, ("name 7", "1.50"))
        world.until(lambda: _stages(world)[-1][0] is Stage.RESOLVED, within_s=20, why="the end of the drift")
    assert len({f.finding.finding_id for f in world.findings()}) == 1


def test_a_worker_killed_with_9_tells_each_drift_once_more_at_most_and_no_other(world: WorkerWorld) -> None:
    """Killed while changes stream in: honest rows stay quiet, and damages before and after are all found."""
    worker = world.start()
    try:
        world.until(world.covered, within_s=60, why="coverage")
        for round_ in range(3):
            for number in range(1, 100):
                for store in ("pg", "my"):
                    world.change(store, number, (f"round {round_}", "2.50"))
            world.change("my", 150 + round_, None)
            world.sink.flush()
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            worker = world.start()
        damaged = {world.key_hash(150 + n, world.findings_entity())[0] for n in range(3)}
        world.until(
            lambda: {f.key_hash for f in world.findings()} == damaged, within_s=60, why="three findings of three rows"
        )
        world.until(lambda: not world.unknown(), within_s=30, why="no unknown")
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
    found = world.findings()
    assert {f.finding.kind for f in found} == {DriftKind.MISSING}
    assert len({f.finding.finding_id for f in found}) == 3


def test_partitions_that_are_added_while_it_runs_end_the_worker_with_a_word(world: WorkerWorld) -> None:
    """Rows in a partition that nobody states would be missed; started again it says the same and does not begin."""
    worker = world.start()
    try:
        world.until(world.covered, within_s=60, why="coverage")
        topic = world.topic("my", "shop.items")
        admin = world.clients.admin("adds")
        (made,) = admin.create_partitions([NewPartitions(topic, 4)]).values()
        made.result()
        assert worker.wait(30) == ExitCode.COULD_NOT_RUN
        assert f"topic {topic} has 4 partitions, not 3" in world.log()
        assert world.start("worker-2").wait(30) == ExitCode.COULD_NOT_RUN
        assert f"topic {topic} has 4 partitions, not 3" in world.log("worker-2")
        assert world.findings() == []
    finally:
        worker.kill()


_AGGREGATES = """
aggregates:
  revenue: {sum: price}
  names: {distinct: name}
"""


def test_figures_of_a_killed_worker_are_those_of_the_rows_and_tell_what_is_wrong(tmp_path: Path) -> None:
    """Sums and distinct counts of real topics: wrong by one row before a kill -9, right again after its repair."""
    with two_agreeing_stores(tmp_path, _AGGREGATES) as world:
        worker = world.start()
        try:
            world.until(world.covered, within_s=60, why="coverage")
            world.until(lambda: set(_aggregates(world).values()) == {Verdict.AGREE}, within_s=60, why="agreement")
            for number in range(1, 60):
                for store in ("pg", "my"):
                    world.change(store, number, (f"name {number}", "2.50"))
            world.change("my", 7, ("name 7", "9.99"))
            world.until(lambda: _aggregates(world).get("revenue") is Verdict.DRIFT, within_s=30, why="a wrong sum")
            assert _aggregates(world).get("names") is Verdict.AGREE
            # A drift is told when the broker has the state that says so, which is a commit later than the status.
            world.until(
                lambda: any(f.finding.kind is DriftKind.AGGREGATE for f in world.findings()), within_s=30, why="a drift"
            )
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            world.change("my", 7, ("name 7", "2.50"))
            worker = world.start()
            world.until(lambda: set(_aggregates(world).values()) == {Verdict.AGREE}, within_s=60, why="the end")
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(30)
        told = _wrong_figures(world)
    assert {f.stage for f in told} == {Stage.CONFIRMED, Stage.RESOLVED}
    assert {(f.differing_columns, f.finding_id) for f in told} == {(("revenue",), told[0].finding_id)}


def _wrong_figures(world: WorkerWorld) -> list[Finding]:
    """Return what was told of groups."""
    return [f.finding for f in world.findings() if f.finding.kind is DriftKind.AGGREGATE]


def _aggregates(world: WorkerWorld) -> dict[str, Verdict]:
    """Return the newest word on each aggregate; nothing while its topic is being made."""
    try:
        words = [decode_aggregate(value) for _, _, value in world.records(f"{world.prefix}.aggregates.v1")]
    except (KeyError, KafkaException):
        return {}
    return {word.aggregate: word.verdict for word in words}


def test_partitions_move_between_workers_without_a_missed_or_doubled_verdict(world: WorkerWorld) -> None:
    """A second one joins from another machine, the first is killed: damages before, between and after are told once."""
    workers = [world.start()]
    try:
        world.until(world.covered, within_s=60, why="coverage")
        world.change("my", 11, ("rogue", "1.50"))
        workers.append(world.start("worker-2", elsewhere=world.folder / "elsewhere"))
        world.until(lambda: _instances(world) == {"worker-1", "worker-2"}, within_s=60, why="two owners")
        for number in range(20, 24):
            world.change("my", number, ("rogue", "1.50"))
        world.until(lambda: len(_told(world)) == 5, within_s=60, why="five damages")
        workers[0].kill()
        workers[0].wait()
        for number in range(30, 34):
            world.change("my", number, ("rogue", "1.50"))
        world.until(lambda: _instances(world) == {"worker-2"}, within_s=60, why="one owner")
        world.until(lambda: len(_told(world)) == 9, within_s=60, why="nine damages")
        world.until(lambda: not world.unknown(), within_s=30, why="no unknown")
    finally:
        workers[-1].send_signal(signal.SIGTERM)
        workers[-1].wait(30)
        workers[0].kill()
    damaged = {world.key_hash(n, world.findings_entity())[0] for n in (11, *range(20, 24), *range(30, 34))}
    assert _told(world) == damaged
    assert len({f.finding.finding_id for f in world.findings()}) == len(damaged)


def _instances(world: WorkerWorld) -> set[str]:
    return {worker.instance for worker in owners(world.statuses().values())}


def _told(world: WorkerWorld) -> set[bytes]:
    return {found.key_hash for found in world.findings()}


def test_unreadable_records_go_to_quarantine_and_the_partition_goes_on(world: WorkerWorld) -> None:
    """An undecodable value and a null key are kept with their bytes; a damage behind them is found."""
    topic = world.topic("my", "shop.items")
    with world.worker():
        world.until(world.covered, within_s=60, why="coverage")
        world.change("my", 3, ("name 3", "1.50"))
        world.sink.send(topic, 1, b'{"id": 4}', b"\xff\xfe no json")
        world.sink.send(topic, 1, None, b'{"op": "u"}')
        world.change("my", 7, ("rogue", "1.50"))
        world.sink.flush()
        quarantine = f"{world.prefix}.quarantine.v1"
        world.until(lambda: len(world.records(quarantine)) == 2, within_s=20, why="two records in quarantine")
        kept = [world.codec.read_quarantine(value) for _, _, value in world.records(quarantine)]
        assert kept[0].value == b"\xff\xfe no json"
        assert all(record.topic == topic and record.reason for record in kept)
        world.until(lambda: bool(world.findings()), within_s=20, why="the damage behind them")


def test_a_dead_broker_is_told_with_its_address(tmp_path: Path) -> None:
    """Nothing is lost by a broker that is away at start: the worker says so, waits, and ends with a hint."""
    world = WorkerWorld.__new__(WorkerWorld)
    world.bootstrap, world.folder, world.prefix = "127.0.0.1:1", tmp_path, "t"
    world._write_files()
    command = [sys.executable, "-m", "app", "--config", str(world.settings_file("worker-1")), "worker"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=150, check=False)
    told = ended.stderr.decode()
    assert ended.returncode == 2
    assert "127.0.0.1:1" in told
    assert "hint" in told
