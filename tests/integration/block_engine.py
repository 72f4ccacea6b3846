"""The block engine alone, for tests: one group on one topic, and the workers that were started for it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app import topics
from app.adapters.kafka import KafkaClients
from app.adapters.rocks import RocksPartition
from app.adapters.rocks_options import RocksOptions
from app.core.state_identity import IDENTITY_KEY, STATE_FORMAT
from tests.integration.block_worker import PARTITIONS
from tests.integration.running_stack import running_stack

RECORDS = 40_000
KEYS = 3_000


class Engine:
    """One group on one topic, and the workers that were started for it."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.group = "e" + secrets.token_hex(4)
        self.topic = f"{self.group}-in"
        self.state_format = STATE_FORMAT
        self.clients = KafkaClients(bootstrap, {})
        self.admin = self.clients.admin("engine-test")
        self.admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.filled = 0
        self.truth: dict[int, dict[bytes, bytes]] = {p: {} for p in range(PARTITIONS)}

    @property
    def workers(self) -> str:
        """The workers' consumer group."""
        with patch.object(topics, "STATE_FORMAT", self.state_format):
            return topics.group_of(self.group)

    @property
    def changelog(self) -> str:
        """Where the workers keep their state."""
        with patch.object(topics, "STATE_FORMAT", self.state_format):
            return topics.changelog_of(self.group)

    def fill(self, records: int = RECORDS) -> None:
        """Write records of three thousand keys, and remember the last of each."""
        sink = self.clients.producer("fill")
        begin, self.filled = self.filled, self.filled + records
        for n in range(begin, self.filled):
            key, value = b"k%d" % (n * 7919 % KEYS), b"v%d" % n
            partition = hash(key) % PARTITIONS
            sink.send(self.topic, partition, key, value)
            self.truth[partition][key] = value
        sink.flush()

    def start(self, instance: str, *, sleep_ms: int = 20) -> subprocess.Popen[bytes]:
        """Start a worker."""
        arguments = [self.bootstrap, self.group, self.topic, instance, str(self.folder), str(sleep_ms)]
        arguments.append(str(self.state_format))
        with (self.folder / f"{instance}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.block_worker", *arguments], stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def ends(self) -> dict[int, int]:
        """Return the high watermarks."""
        consumer = self.clients.consumer("ends", "ends")
        try:
            return {
                p: consumer.get_watermark_offsets(TopicPartition(self.topic, p), timeout=10)[1]
                for p in range(PARTITIONS)
            }
        finally:
            consumer.close()

    def committed(self) -> dict[int, int]:
        """Return what the group has committed."""
        consumer = self.clients.consumer("committed", self.workers)
        try:
            places = consumer.committed([TopicPartition(self.topic, p) for p in range(PARTITIONS)], timeout=10)
            return {place.partition: max(0, place.offset) for place in places}
        except KafkaException as error:
            if error.args[0].code() in {KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR}:
                return {}
            raise
        finally:
            consumer.close()

    def blocks(self) -> dict[int, list[tuple[int, int]]]:
        """Return what was finished, by partition, in the order of positions."""
        found: dict[int, list[tuple[int, int]]] = {p: [] for p in range(PARTITIONS)}
        path = self.folder / "blocks.log"
        for line in path.read_text().splitlines() if path.exists() else ():
            _, partition, begin, end = line.split()
            found[int(partition)].append((int(begin), int(end)))
        return {p: sorted(spans) for p, spans in found.items()}

    def working(self) -> set[str]:
        """Return the workers that have finished a block."""
        path = self.folder / "blocks.log"
        return {line.split()[0] for line in path.read_text().splitlines()} if path.exists() else set()

    def finished(self) -> int:
        """Return how many positions were finished, redeliveries included."""
        return sum(end - begin for spans in self.blocks().values() for begin, end in spans)

    def until_all_is_committed(self) -> None:
        """Wait until the group has committed everything."""
        ends = self.ends()
        self.until(lambda: self.committed() == ends, within_s=120, why=f"commit of {ends}, not {self.committed()}")

    def until(self, claim: Callable[[], bool], *, within_s: float, why: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if claim():
                return
            time.sleep(0.1)
        logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log") if path.name != "blocks.log")
        raise AssertionError(f"not within {within_s} s: {why}\n{logs}")

    def assert_covered(self) -> None:
        """Every position of every partition was finished by somebody."""
        for partition, end in self.ends().items():
            reached = 0
            for begin, until in self.blocks()[partition]:
                assert begin <= reached, f"partition {partition}: nobody finished {reached} to {begin}"
                reached = max(reached, until)
            assert reached == end

    def state(self) -> dict[int, dict[bytes, bytes]]:
        """Return what the changelog says of every key: its newest value."""
        topic = self.changelog
        consumer = self.clients.consumer("state", "state")
        found: dict[int, dict[bytes, bytes]] = {p: {} for p in range(PARTITIONS)}
        try:
            for partition in range(PARTITIONS):
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                consumer.assign([TopicPartition(topic, partition, low)])
                while low < high:
                    record = consumer.poll(10)
                    assert record is not None
                    if record.key() != IDENTITY_KEY:
                        found[partition][record.key() or b""] = (record.value() or b"").split(b" ")[1]
                    low = (record.offset() or 0) + 1
            return found
        finally:
            consumer.close()

    def stop(self, process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
        """End a worker: by kill -9, or politely, which must give 0."""
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        code = process.wait(40)
        self.processes.remove(process)
        assert kill or code == 0

    def log(self, instance: str) -> str:
        """Return what a worker has said."""
        return (self.folder / f"{instance}.log").read_text()

    def databases(self, instance: str) -> list[Path]:
        """Return the folders of a worker's partitions."""
        return sorted((self.folder / instance).glob("**/state-*.db"))

    def on_disk(self, instance: str) -> dict[int, dict[bytes, bytes]]:
        """Return what a stopped worker holds of every key."""
        found = {}
        for partition, folder in enumerate(self.databases(instance)):
            database = RocksPartition(folder, RocksOptions(2**20, 2**20))
            items = database.items(b"", b"\xff")
            found[partition] = {key: value.split(b" ")[1] for key, value in items if key != IDENTITY_KEY}
            database.close()
        return found


@contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """Give an engine on the test stack's broker; end what is left of it."""
    bootstrap = os.environ.get("DRIFTLINE_TEST_BOOTSTRAP") or str(running_stack("kafka")["kafka"]["bootstrap"])
    made = Engine(bootstrap, folder)
    try:
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()
