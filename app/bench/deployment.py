"""A deployment of the bench's own: settings, contract and keys in a folder, topics of its own, a worker process."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app import topics
from app.adapters.kafka import KafkaClients
from app.adapters.seal import KEY_FILES, make_key
from app.bench.declaration import ENTITY, contract_declared, stores_declared
from app.bench.envelopes import Side
from app.bench.load import Load
from app.bench.process_cost import cpu_s, peak_rss_bytes
from app.bench.store_log import BEACON, ITEMS, OWN_SCHEMA, PARTITIONS, SchemaIds, schemas_of
from app.bench.tiny_registry import TinyRegistry
from app.core.errors import Unready
from app.core.store import Converter, StoreKind
from app.observe import Metric

QUIET: Final = {"log_level": "2"}
"""What librdkafka has to say is raised by its calls; its own lines would stand between the figures."""

_READY_S: Final = 600.0
_END_S: Final = 60.0
_LOG_TAIL: Final = 2_000


@dataclass(slots=True)
class WorkerProcess:
    """A running worker."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def cpu_s(self) -> float:
        """The CPU seconds that it has used, all its threads together."""
        return cpu_s(self.process.pid)

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory that it has had resident."""
        return peak_rss_bytes(self.process.pid)

    def check(self) -> None:
        """Raise `Unready` with the end of its log if it has ended."""
        if self.process.poll() is not None:
            told = f"the worker ended with {self.process.returncode}:\n{self.newest_lines()}"
            raise Unready(told, where=str(self.log))

    def newest_lines(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]

    def is_ready(self) -> bool:
        """Whether its partitions are assigned and their state is recovered."""
        return _answers(f"http://127.0.0.1:{self.port}/readyz")

    def until_ready(self) -> None:
        """Wait until its partitions are assigned and their state is recovered."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            self.check()
            if self.is_ready():
                return
            time.sleep(0.02)
        raise Unready(f"the worker is not ready after {_READY_S:.0f} s", where=str(self.log))

    def gauge(self, metric: Metric) -> float:
        """Return what a gauge without labels shows; 0 before the worker has set it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return next(float(line.split(" ")[1]) for line in lines if line.startswith(f"{metric.name} "))

    def stop(self) -> None:
        """Let it finish what it has in hand; it must end with 0."""
        self.process.send_signal(signal.SIGTERM)
        try:
            ended = self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Unready("the worker does not end", where=str(self.log)) from None
        if ended:
            self.check()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


@dataclass(slots=True)
class Deployment:
    """One deployment over the topics of two stores that agree. `close` takes its topics away."""

    bootstrap: str
    folder: Path
    load: Load
    name: str = field(default_factory=lambda: f"bench-{secrets.token_hex(4)}")
    sides: tuple[Side, Side] = field(init=False)
    registry: TinyRegistry | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.sides = (
            Side("pg", StoreKind.POSTGRES, "public", f"{self.name}-pg"),
            Side("my", StoreKind.MARIADB, "shop", f"{self.name}-my"),
        )
        if self.load.converter is Converter.AVRO:
            self.registry = TinyRegistry()
        self._write_files()
        self._make_topics()

    # -- names ---------------------------------------------------------------------------------------------------

    @property
    def clients(self) -> KafkaClients:
        """What makes clients of the broker."""
        return KafkaClients(self.bootstrap, QUIET)

    @property
    def group(self) -> str:
        """The consumer group of the workers."""
        return topics.group_of(self.name)

    @property
    def item_topics(self) -> list[str]:
        """The topics of the two compared tables."""
        return [side.topic(f"{side.schema}.{ITEMS}") for side in self.sides]

    @property
    def beacon_topics(self) -> list[str]:
        """The topics of the beacons."""
        return [side.topic(f"{OWN_SCHEMA}.{BEACON}") for side in self.sides]

    @property
    def changelog(self) -> str:
        """The topic that the workers' state is recovered from."""
        return topics.changelog_of(self.name)

    @property
    def digest_key(self) -> bytes:
        """The key of the digests."""
        return (self.folder / "keys" / KEY_FILES[0]).read_bytes()

    @property
    def state_folder(self) -> Path:
        """Where the workers keep their state."""
        return self.folder / "state"

    def ids_of(self, side: Side) -> SchemaIds | None:
        """Return under which ids a side's schemas are registered; None for JSON."""
        if self.registry is None:
            return None
        schemas = schemas_of(side, self.load.columns)
        return SchemaIds(*(self.registry.register(json.dumps(schema)) for schema in schemas))

    # -- what it is made of --------------------------------------------------------------------------------------

    def _write_files(self) -> None:
        for name in ("keys", "contracts", "state"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for key in KEY_FILES:
            make_key(self.folder / "keys" / key)
        (self.folder / "placeholder").write_text("__bench_left_out__\n", encoding="ascii")
        contract = json.dumps(contract_declared(self.load, self.sides))
        (self.folder / "contracts" / f"{ENTITY}.yaml").write_text(contract, encoding="ascii")

    def _settings(self, worker: str, port: int, standby_replicas: int) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "deployment": self.name,
            "bootstrap": self.bootstrap,
            "keys_dir": "keys",
            "state_dir": "state",
            "contracts_dir": "contracts",
            "placeholder_file": "placeholder",
            "partitions": PARTITIONS,
            "standby_replicas": standby_replicas,
            "worker": {"http_port": port, "instance_id": worker},
            "stores": stores_declared(self.load, self.sides),
        }
        return settings if self.registry is None else {**settings, "registry_url": self.registry.url}

    def _make_topics(self) -> None:
        admin = self.clients.admin("bench")
        # Segments as a production's, so that a stretch is not cut into hundreds of files.
        settings = {"segment.bytes": str(256 * 1024 * 1024)}
        wanted = [NewTopic(name, PARTITIONS, 1, config=settings) for name in self.item_topics]
        wanted += [NewTopic(name, 1, 1) for name in self.beacon_topics]
        # The worker would make it itself; here nothing is compacted while its growth is looked at.
        kept = {**settings, "cleanup.policy": "compact", "min.compaction.lag.ms": str(24 * 3_600_000)}
        wanted.append(NewTopic(self.changelog, PARTITIONS, 1, config=kept))
        for made in admin.create_topics(wanted).values():
            made.result()

    def close(self) -> None:
        """Delete the topics of this deployment and end its registry."""
        admin = self.clients.admin("bench")
        mine = [name for name in admin.list_topics(timeout=10).topics if name.startswith(self.name)]
        for deleted in admin.delete_topics(mine).values():
            deleted.result()
        if self.registry is not None:
            self.registry.close()

    # -- the worker ----------------------------------------------------------------------------------------------

    def start(self, worker: str = "worker-1", *, standby_replicas: int = 0) -> WorkerProcess:
        """Start a worker; it ends by `stop` or `kill`."""
        port = _free_port()
        config = self.folder / f"{worker}.yaml"
        config.write_text(json.dumps(self._settings(worker, port, standby_replicas)), encoding="ascii")
        log = self.folder / f"{worker}.log"
        command = [sys.executable, "-m", "app", "--config", str(config), "worker"]
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603 - our own program
        return WorkerProcess(process, port, log)

    @contextmanager
    def worker(self) -> Iterator[WorkerProcess]:
        """Run a worker; whatever happens, it has ended afterwards."""
        running = self.start()
        try:
            yield running
            running.stop()
        finally:
            if running.process.poll() is None:
                running.kill()


def observations_of(deployment: Deployment) -> str:
    """Return the topic between the two hops."""
    return topics.OBSERVATIONS.name(deployment.name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - an address of our own making
            return True
    except (urllib.error.URLError, OSError):
        return False
