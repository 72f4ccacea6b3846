"""A worker under test: a real broker, a real worker process, and change streams written here in Debezium's shape."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app.adapters.kafka import KafkaClients
from app.adapters.registry import RegisteredSchemas, Registry
from app.adapters.seal import make_key
from app.adapters.signing import PLANNER_KEY, SIGNERS, make_signing_key, signer_line, trust
from app.codec.contract_file import number_of
from app.codec.records import FixedSchemas, RecordCodec
from app.core.digest import keyed_hash, partition_of
from app.core.published import PublishedFinding
from app.core.status import StatusReport
from app.core.trust import SignerRole
from tests.integration.avro_frames import AvroFrames
from tests.integration.running_stack import running_stack

PROJECT = Path(__file__).resolve().parents[2]
PARTITIONS = 4
ROWS = 200
_CONTRACT = """
entity: items
version: 1
authority: {store: pg, table: public.items}
replicas:
  - store: my
    table: shop.items
    window_ms: 1000
    repair: {mode: apply, deletes: true, deletes_wait: true}
key:
  id: {type: int32}
fields:
  name: {type: string, nullable: false}
  price: {type: decimal, scale: 2, nullable: false}
"""


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class WorkerWorld:
    """One deployment with topics of its own; `window_ms` is a second.

    With a registry, what `pg` writes is Avro and ours is registered there; without one it is JSON.
    """

    bootstrap: str
    folder: Path
    registry_url: str | None = None
    prefix: str = field(default_factory=lambda: "t" + secrets.token_hex(4))
    lsn: int = 1_000
    place: int = 1_000
    beats: int = 0
    started_s: float = field(default_factory=time.monotonic)
    acknowledged_ms: int = 0
    more_of_contract: str = ""

    def __post_init__(self) -> None:
        self.clients = KafkaClients(self.bootstrap, {})
        self.sink = self.clients.producer("world")
        self._lock = threading.Lock()
        self._write_files()
        admin: AdminClient = self.clients.admin("world")
        wanted = [NewTopic(self.topic(store, table), 1 if "driftline" in table else 3, 1) for store, table in _TABLES]
        for made in admin.create_topics(wanted).values():
            made.result()
        self.registry = None if self.registry_url is None else Registry(self.registry_url)
        self.avro = None if self.registry is None else AvroFrames(self.registry)
        book = FixedSchemas() if self.registry is None else RegisteredSchemas(self.registry, self.prefix)
        self.codec = RecordCodec(self.prefix, book)

    def close(self) -> None:
        """Let the connections go."""
        if self.registry is not None:
            self.registry.close()

    def topic(self, store: str, table: str) -> str:
        """Return the CDC topic of a table."""
        return f"{self.prefix}{store}.{table}"

    def _write_files(self) -> None:
        for name in ("keys", "contracts"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for key in ("digest.key", "seal.key", "ledger.key"):
            make_key(self.folder / "keys" / key)
        keys = self.folder / "keys"
        make_signing_key(
            keys / PLANNER_KEY,
            lambda key: trust(keys / SIGNERS, signer_line(SignerRole.PLANNER, "worker", key.public_key)),
        )
        (self.folder / "placeholder").write_text("__test_left_out__\n")
        (self.folder / "contracts" / "items.yaml").write_text(_CONTRACT + self.more_of_contract)

    def settings_file(self, worker: str, own: Mapping[str, object] | None = None) -> Path:
        """Write the settings of one worker; `own` are more of its own settings."""
        told: dict[str, Any] = {
            "deployment": self.prefix,
            "bootstrap": self.bootstrap,
            "keys_dir": "keys",
            "state_dir": "state",
            "contracts_dir": "contracts",
            "placeholder_file": "placeholder",
            "partitions": PARTITIONS,
            **({} if self.registry_url is None else {"registry_url": self.registry_url}),
            "stall_after_ms": 5000,
            "worker": {"http_port": free_port(), "instance_id": worker, **(own or {})},
            "stores": {
                store: {
                    "kind": kind,
                    "topic_prefix": self.prefix + store,
                    "converter": "avro" if store == "pg" and self.registry_url else "json",
                    "host": "127.0.0.1",
                    "port": 1,
                    "database": "shop",
                }
                for store, kind in (("pg", "postgres"), ("my", "mariadb"))
            },
        }
        path = self.folder / f"{worker}.yaml"
        path.write_text(json.dumps(told))
        return path

    # -- what the stores' connectors write -----------------------------------------------------------------------

    def _send(self, store: str, table: str, key: dict[str, Any], value: dict[str, Any] | None, partition: int) -> None:
        pack = self.avro.frame if self.avro is not None and store == "pg" else _json
        self.sink.send(self.topic(store, table), partition, pack(key), None if value is None else pack(value))

    def _source(self, store: str, table: str, *, snapshot: bool) -> dict[str, Any]:
        schema, _, name = table.partition(".")
        common: dict[str, Any] = {"snapshot": "true" if snapshot else "false", "ts_ms": 0, "table": name}
        if store == "pg":
            # All rows of a snapshot stand at the snapshot's own place.
            before, self.lsn = self.lsn, self.lsn + (0 if snapshot else 10)
            return {
                **common,
                "db": "shop",
                "schema": schema,
                "lsn": self.lsn,
                "txId": self.lsn,
                "sequence": json.dumps([str(before), str(self.lsn)]),
            }
        self.place += 0 if snapshot else 10
        return {
            **common,
            "db": schema,
            "file": "binlog.000001",
            "pos": self.place,
            "row": 0,
            "gtid": f"0-1-{self.place}",
        }

    def change(
        self,
        store: str,
        number: int,
        row: tuple[str, str] | None,
        *,
        snapshot: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Write one change of `items`: name and price, or None for a delete; `more` are columns added since."""
        with self._lock:
            value = self._change(store, number, row, more or {}, snapshot=snapshot)
            table = "public.items" if store == "pg" else "shop.items"
            self._send(store, table, {"id": number}, value, number % 3)

    def learn(self, more: Mapping[str, str]) -> None:
        """Register the schema that changes of `pg` have with more columns, before the first is written."""
        assert self.avro is not None
        with self._lock:
            self.avro.learn(self._change("pg", 0, ("", ""), more, snapshot=False))

    def _change(
        self, store: str, number: int, row: tuple[str, str] | None, more: Mapping[str, str], *, snapshot: bool
    ) -> dict[str, Any]:
        after = None if row is None else {"id": number, "name": row[0], "price": row[1], **more}
        return {
            "before": {"id": number, "name": "", "price": "0"} if row is None else None,
            "after": after,
            "source": self._source(store, "public.items" if store == "pg" else "shop.items", snapshot=snapshot),
            "op": "d" if row is None else "r" if snapshot else "u",
            "ts_ms": 0,
        }

    def beacon(self, *, snapshot: bool = False) -> None:
        """Write one beacon into both logs."""
        with self._lock:
            now_ms = int((time.monotonic() - self.started_s) * 1000) + 1
            self.beats += 1
            for store, table in (("pg", "driftline.driftline_beacon"), ("my", "driftline.driftline_beacon")):
                after = {
                    "store_id": store,
                    "writer_epoch": 1,
                    "sequence": self.beats,
                    "issued_at_ms": now_ms,
                    "previous_acknowledged_ms": self.acknowledged_ms,
                    "server": f"server-{store}",
                    "wall_at": 0,
                }
                source = self._source(store, table, snapshot=snapshot)
                value = {
                    "before": None,
                    "after": after,
                    "source": source,
                    "op": "r" if snapshot else "u",
                    "ts_ms": 0,
                }
                self._send(store, table, {"store_id": store}, value, 0)
            self.acknowledged_ms = now_ms
        self.sink.check()

    @contextmanager
    def beacons(self) -> Iterator[None]:
        """Write beacons five times a second."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(0.2):
                self.beacon()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    # -- the worker ----------------------------------------------------------------------------------------------

    def start(
        self,
        worker: str = "worker-1",
        own: Mapping[str, object] | None = None,
        before: Sequence[str] = (),
        elsewhere: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a worker process, by way of the command `before`; its log goes to a file in the folder.

        `elsewhere` is another machine: a folder that gets the settings, the contracts and the secrets, and no more.
        """
        path = self.settings_file(worker, own)
        if elsewhere is not None:
            for name in ("keys", "contracts"):
                shutil.copytree(self.folder / name, elsewhere / name)
            shutil.copy(self.folder / "placeholder", elsewhere)
            path = Path(shutil.copy(path, elsewhere))
        with (self.folder / f"{worker}.log").open("ab") as log:
            return subprocess.Popen(
                [*before, sys.executable, "-m", "app", "--config", str(path), "worker"],
                cwd=PROJECT,
                stdout=log,
                stderr=log,
            )

    @contextmanager
    def worker(self, name: str = "worker-1") -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker; it must end with 0 when it is told to."""
        process = self.start(name)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
        assert process.returncode == 0, self.log(name)

    def log(self, worker: str = "worker-1") -> str:
        """Return the end of a worker's log."""
        return (self.folder / f"{worker}.log").read_text()[-4000:]

    def told(self, event: str, worker: str = "worker-1") -> list[dict[str, Any]]:
        """Return the lines of a worker's log that tell of an event, as the worker wrote them."""
        lines = (self.folder / f"{worker}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and f'"{event}"' in line]

    # -- what came of it -----------------------------------------------------------------------------------------

    def records(self, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
        """Return all records of a topic: partition, key, value."""
        consumer: Consumer = self.clients.consumer("look", "look-" + secrets.token_hex(4))
        try:
            metadata = consumer.list_topics(topic, timeout=10).topics[topic]
            found = []
            for partition in metadata.partitions:
                at = TopicPartition(topic, partition, 0)
                low, high = consumer.get_watermark_offsets(at, timeout=10)
                consumer.assign([TopicPartition(topic, partition, low)])
                position = low
                while position < high:
                    record = consumer.poll(5.0)
                    assert record is not None, f"{topic}[{partition}] stops at {position} of {high}"
                    assert record.error() is None
                    found.append((partition, record.key(), record.value()))
                    position = (record.offset() or 0) + 1
            return found
        finally:
            consumer.close()

    def findings(self) -> list[PublishedFinding]:
        """Return all findings."""
        return [self.codec.read_finding(value) for _, _, value in self.records(f"{self.prefix}.drifts.v1")]

    def statuses(self) -> dict[tuple[str, int], StatusReport]:
        """Return the newest report of each store and partition."""
        reports = [self.codec.read_status(value) for _, _, value in self.records(f"{self.prefix}.status.v1")]
        return {(report.store, report.partition): report for report in reports}

    def until(self, claim: Callable[[], bool], *, within_s: float, why: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if claim():
                return
            time.sleep(0.2)
        raise AssertionError(f"not within {within_s} s: {why}\n{self.log()}")

    def covered(self) -> bool:
        """Whether everything is covered and proven in all partitions."""
        try:
            reports = self.statuses()
        except (KeyError, KafkaException):
            return False
        mine = [report for (store, _), report in reports.items() if store == "my"]
        return len(mine) == PARTITIONS and all(r.verified_through_ms is not None for r in mine)

    def unknown(self) -> bool:
        """Whether anything is unknown at the moment."""
        return any(report.unknown_keys for report in self.statuses().values())

    def findings_entity(self) -> int:
        """Return the entity's number."""
        return number_of("items")

    def key_hash(self, number: int, entity: int) -> tuple[bytes, int]:
        """Return the keyed hash of a row's key and its partition."""
        key = (0x80 + (number.bit_length() + 7) // 8).to_bytes(1, "big") + number.to_bytes(
            (number.bit_length() + 7) // 8, "big"
        )
        hashed = keyed_hash((self.folder / "keys" / "digest.key").read_bytes(), entity, key)
        return hashed, partition_of(hashed, PARTITIONS)


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


_TABLES = (
    ("pg", "public.items"),
    ("my", "shop.items"),
    ("pg", "driftline.driftline_beacon"),
    ("my", "driftline.driftline_beacon"),
    ("pg", "driftline.driftline_ledger"),
    ("my", "driftline.driftline_ledger"),
    ("pg", "driftline.driftline_signal"),
    ("my", "driftline.driftline_signal"),
)


@contextmanager
def two_agreeing_stores(folder: Path, more_of_contract: str = "") -> Iterator[WorkerWorld]:
    """Give a world on the test stack's broker whose two stores agree on two hundred rows; beacons are written."""
    bootstrap = os.environ.get("DRIFTLINE_TEST_BOOTSTRAP") or str(running_stack("kafka")["kafka"]["bootstrap"])
    made = WorkerWorld(bootstrap, folder, more_of_contract=more_of_contract)
    for number in range(1, ROWS + 1):
        for store in ("pg", "my"):
            made.change(store, number, (f"name {number}", "1.50"), snapshot=True)
    made.beacon(snapshot=True)
    made.sink.flush()
    with made.beacons():
        yield made
