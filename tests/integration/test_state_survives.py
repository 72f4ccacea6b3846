"""State that is deleted, damaged, foreign or lost, on a real broker: it is rebuilt, or the worker says why not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, not listed
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from tests.integration.block_engine import Engine, running_engine
from tests.integration.block_worker import PARTITIONS

pytestmark = pytest.mark.stack
SOME = 8_000
REBUILT = "read again from its changelog"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Give an engine whose worker has folded some records and was stopped."""
    with running_engine(tmp_path) as made:
        _fold_some(made)
        yield made


def _fold_some(engine: Engine) -> None:
    engine.fill(SOME)
    worker = engine.start("w1", sleep_ms=0)
    engine.until_all_is_committed()
    engine.stop(worker)


def _flip_a_byte_of_each_table(database: Path) -> None:
    tables = list(database.glob("*.sst"))
    assert tables
    for table in tables:
        content = bytearray(table.read_bytes())
        # Early in the file are the blocks of data; the end is checked when the file is opened.
        content[len(content) // 3] ^= 0xFF
        table.write_bytes(content)


def _truncate_the_tables(database: Path) -> None:
    for table in database.glob("*.sst"):
        os.truncate(table, table.stat().st_size // 2)


def _remove_the_manifest(database: Path) -> None:
    for manifest in database.glob("MANIFEST-*"):
        manifest.unlink()


@pytest.mark.parametrize("damage", [_flip_a_byte_of_each_table, _truncate_the_tables, _remove_the_manifest])
def test_a_damaged_state_is_deleted_and_rebuilt(engine: Engine, damage: Callable[[Path], None]) -> None:
    """What the disk does not give back as it was written is never used: the truth comes from the changelog."""
    # RocksDB's log becomes tables when a database is opened again.
    _fold_some(engine)
    damage(engine.databases("w1")[0])
    engine.fill(SOME)
    worker = engine.start("w1", sleep_ms=0)

    def told() -> bool:
        return REBUILT in engine.log("w1")

    engine.until(lambda: told() or worker.poll() is not None, within_s=60, why="notice of the damage")
    if not told():
        # Found while it worked: it ended, and the next start knows.
        engine.processes.remove(worker)
        worker = engine.start("w1", sleep_ms=0)
        engine.until(told, within_s=60, why="a rebuilding that is told")
    engine.until_all_is_committed()
    engine.stop(worker)
    assert engine.state() == engine.on_disk("w1") == engine.truth
    engine.assert_covered()


def _halve(log: Path) -> None:
    os.truncate(log, log.stat().st_size // 2)


def _lose_its_end(log: Path) -> None:
    os.truncate(log, log.stat().st_size - 5)


def _lose_it_all(log: Path) -> None:
    os.truncate(log, 0)


def _find_zeros_at_its_end(log: Path) -> None:
    size = log.stat().st_size
    os.truncate(log, size * 2 // 3)
    os.truncate(log, size)


@pytest.mark.parametrize("cut", [_halve, _lose_its_end, _lose_it_all, _find_zeros_at_its_end])
def test_what_a_power_cut_takes_of_rocksdbs_log_is_read_from_the_changelog(
    engine: Engine, cut: Callable[[Path], None]
) -> None:
    """The log is never synced, and offsets are committed: the state knows how far it is, and nothing is missing."""
    engine.fill(SOME)
    worker = engine.start("w1", sleep_ms=0)
    engine.until_all_is_committed()
    engine.stop(worker, kill=True)
    logs = [log for database in engine.databases("w1") for log in database.glob("*.log") if log.stat().st_size]
    assert len(logs) == PARTITIONS
    for log in logs:
        cut(log)
    assert engine.on_disk("w1") != engine.truth
    _fold_some(engine)
    assert engine.on_disk("w1") == engine.truth


def test_a_deleted_state_is_rebuilt(engine: Engine) -> None:
    """One folder is gone: its partition is read again, the others are not."""
    shutil.rmtree(engine.databases("w1")[2])
    _fold_some(engine)
    assert engine.state() == engine.on_disk("w1") == engine.truth


def test_a_foreign_state_is_deleted_and_rebuilt(engine: Engine) -> None:
    """Two partitions' folders were exchanged, as a hasty restore may do: both are noticed."""
    first, second = engine.databases("w1")[:2]
    first.rename(first.with_name("aside"))
    second.rename(first)
    first.with_name("aside").rename(second)
    _fold_some(engine)
    assert engine.log("w1").count("foreign") == 2
    assert engine.state() == engine.on_disk("w1") == engine.truth


def test_a_state_of_another_format_is_made_anew_and_the_old_one_left_to_go_back_to(engine: Engine) -> None:
    """A version with another format reads everything again; the version before it goes on where it had been."""
    before, kept, ours = engine.finished(), engine.state(), engine.state_format
    engine.state_format = ours + 1
    _fold_some(engine)
    assert engine.log("w1").count("foreign") == PARTITIONS
    assert engine.state() == engine.on_disk("w1") == engine.truth
    assert engine.finished() == before + 2 * SOME
    engine.state_format = ours
    assert engine.state() == kept != engine.truth
    _fold_some(engine)
    assert engine.state() == engine.on_disk("w1") == engine.truth
    assert engine.finished() == before + 4 * SOME


def _delete_the_changelog(engine: Engine) -> None:
    engine.admin.delete_topics([engine.changelog])[engine.changelog].result()
    engine.until(
        lambda: engine.changelog not in engine.admin.list_topics(timeout=5).topics, within_s=20, why="no topic"
    )


def _make_the_changelog_again(engine: Engine) -> None:
    _delete_the_changelog(engine)
    engine.admin.create_topics([NewTopic(engine.changelog, PARTITIONS, 1)])[engine.changelog].result()
    # Somebody's records, so that it is not empty.
    sink = engine.clients.producer("somebody")
    for partition in range(PARTITIONS):
        sink.send(engine.changelog, partition, b"k", b"1 v")
    sink.flush()


def _truncate_the_changelog(engine: Engine) -> None:
    # The broker deletes no records of a topic that is only compacted.
    policy = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ConfigResource.Type.TOPIC, engine.changelog, incremental_configs=[policy])
    engine.admin.incremental_alter_configs([topic])[topic].result()
    cut = [TopicPartition(engine.changelog, partition, 300) for partition in range(PARTITIONS)]
    for done in engine.admin.delete_records(cut).values():
        done.result()


@pytest.mark.parametrize(
    ("loss", "folder"),
    [(_delete_the_changelog, "lost"), (_make_the_changelog_again, "kept"), (_truncate_the_changelog, "lost")],
)
def test_a_changelog_that_lost_something_stops_the_worker(
    engine: Engine, loss: Callable[[Engine], None], folder: str
) -> None:
    """Committed offsets say that rows were folded which nobody remembers: nothing goes on."""
    before = engine.finished()
    loss(engine)
    if folder == "lost":
        shutil.rmtree(engine.folder / "w1")
    engine.fill(SOME)
    worker = engine.start("w1", sleep_ms=0)
    assert worker.wait(60) != 0
    engine.processes.remove(worker)
    assert "StateLost" in engine.log("w1")
    assert engine.finished() == before
