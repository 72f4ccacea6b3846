"""Kafka, the two Connect workers and the registry: small heaps, one listener each, loopback only."""

import http.client
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from stack_parts import kafka_wire
from stack_parts.failure import StackError
from stack_parts.jars import jars_folder
from stack_parts.layout import LOOPBACK, Layout
from stack_parts.part import Part
from stack_parts.tools import require

HTTP_TIMEOUT_S = 2.0
RECORD_BYTES_MAX = 8 * 1024 * 1024
# Any 22 characters of base64 serve; a fixed one lets two formats of one folder agree.
CLUSTER_ID = "ZHJpZnRsaW5lLXN0YWNrMQ"
# By version 2 of transactions a Java producer may commit without its last record, and hang for ever: README, "What it
# runs on".
FEATURES = ("--feature", "transaction.version=1")
# By default H2 writes a commit half a second later, and a registry that is killed forgets what it has answered for.
H2_OPTIONS = "WRITE_DELAY=0"

LOG_SETTINGS = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{2}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""

KAFKA = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "num.partitions": "3",
    # A topic of a name that nobody chose is a mistake in a configuration, not something to make.
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "3",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.segment.bytes": "16777216",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "message.max.bytes": str(RECORD_BYTES_MAX),
    # A killed broker may come back only when its old session has ended (default 9 s).
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
}

CONNECT = {
    "key.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "key.converter.schemas.enable": "false",
    "value.converter.schemas.enable": "false",
    "config.storage.replication.factor": "1",
    "offset.storage.replication.factor": "1",
    "offset.storage.partitions": "1",
    "status.storage.replication.factor": "1",
    "status.storage.partitions": "1",
    "offset.flush.interval.ms": "2000",
    "plugin.discovery": "service_load",
    "scheduled.rebalance.max.delay.ms": "0",
    # A worker that does not reach its broker for a heartbeat's interval stops all its connectors, and starts them again
    # only at the next rebalance: a broker that comes back knows the group and calls for none. So it is given time.
    "heartbeat.interval.ms": "45000",
    "session.timeout.ms": "150000",
    # A killed worker is missed no longer than this once its successor asks to join.
    "rebalance.timeout.ms": "10000",
    "producer.max.request.size": str(RECORD_BYTES_MAX),
    "producer.buffer.memory": str(2 * RECORD_BYTES_MAX),
    "consumer.max.partition.fetch.bytes": str(RECORD_BYTES_MAX),
    # Passwords come from files beside the worker, never from a connector's JSON.
    "config.providers": "file",
    "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
}

# What sets the two workers apart. A connector may override of its clients only what is listed.
WORKERS: dict[str, dict[str, str]] = {
    "feed": {
        "exactly.once.source.support": "enabled",
        "connector.client.config.override.policy": "None",
    },
    "pipeline": {
        "connector.client.config.override.policy": "Allowlist",
        "connector.client.config.override.allowlist": (
            "max.poll.records,fetch.max.wait.ms,auto.offset.reset,metadata.max.age.ms"
        ),
    },
}


def worker_settings(worker: str) -> dict[str, str]:
    """A Connect worker's settings without addresses and folders: the same here and in docker-compose.yml."""
    internal = {f"{kind}.storage.topic": f"_{worker}_{kind}s" for kind in ("config", "offset")}
    return {
        **CONNECT,
        "group.id": f"connect-{worker}",
        **internal,
        "status.storage.topic": f"_{worker}_status",
        **WORKERS[worker],
    }


def _write(path: Path, settings: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="ascii")
    return path


def _java(layout: Layout, heap_mb: int) -> tuple[str, ...]:
    log_settings = layout.settings / "log4j2.properties"
    log_settings.write_text(LOG_SETTINGS, encoding="ascii")
    return (
        require("java"),
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        # JDBC drivers tell the database this zone, and a timestamp without one is read in it.
        "-Duser.timezone=UTC",
        f"-Dlog4j2.configurationFile={log_settings}",
    )


def _answers(url: str) -> Callable[[], str | None]:
    def lacks() -> str | None:
        try:
            with urllib.request.urlopen(url, timeout=HTTP_TIMEOUT_S):  # noqa: S310
                return None
        except urllib.error.HTTPError as refusal:
            return f"{url} answers {refusal.code}"
        except (OSError, http.client.HTTPException) as failure:
            return f"{url} does not answer: {failure}"

    return lacks


def kafka(layout: Layout) -> Part:
    """The broker, which is its own controller; formats its folder at the first start."""
    ports = layout.ports
    settings = _write(
        layout.settings / "kafka.properties",
        {
            **KAFKA,
            "controller.quorum.voters": f"1@{LOOPBACK}:{ports.controller}",
            "listeners": f"PLAINTEXT://{LOOPBACK}:{ports.kafka},CONTROLLER://{LOOPBACK}:{ports.controller}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports.kafka}",
            "log.dirs": str(layout.kafka_data),
        },
    )
    classes = f"{jars_folder()}/kafka/*"
    if not (layout.kafka_data / "meta.properties").exists():
        format_folder = (*_java(layout, 128), "-cp", classes, "kafka.tools.StorageTool", "format", "--ignore-formatted")
        done = subprocess.run(
            [*format_folder, *FEATURES, "-t", CLUSTER_ID, "-c", str(settings)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(f"Kafka could not format {layout.kafka_data}: {(done.stderr or done.stdout)[-500:]}")

    def lacks() -> str | None:
        try:
            kafka_wire.topics((LOOPBACK, ports.kafka))
        except (OSError, StackError) as failure:
            return str(failure)
        return None

    return Part(
        name="kafka",
        ports=(ports.kafka, ports.controller),
        command=(*_java(layout, 256), "-cp", classes, "kafka.Kafka", str(settings)),
        folder=layout.folder,
        lacks=lacks,
    )


def connect(layout: Layout, worker: str) -> Part:
    """One Connect worker; its working folder is the stack's, since connectors name `secrets/...` relative to it."""
    port = layout.ports.feed if worker == "feed" else layout.ports.pipeline
    settings = _write(
        layout.settings / f"connect-{worker}.properties",
        {
            **worker_settings(worker),
            "bootstrap.servers": f"{LOOPBACK}:{layout.ports.kafka}",
            "listeners": f"http://{LOOPBACK}:{port}",
            "rest.advertised.host.name": LOOPBACK,
            "plugin.path": str(jars_folder() / "plugins"),
        },
    )
    return Part(
        name=f"connect-{worker}",
        ports=(port,),
        command=(
            *_java(layout, 384),
            "-cp",
            f"{jars_folder()}/kafka/*",
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(settings),
        ),
        folder=layout.folder,
        lacks=_answers(f"http://{LOOPBACK}:{port}/connectors"),
        deadline_s=180.0,
    )


def registry(layout: Layout) -> Part:
    """The schema registry, on a database file: ids must survive a restart, or old records cannot be read."""
    ports = layout.ports
    layout.registry_data.mkdir(parents=True, exist_ok=True)
    (runner,) = (jars_folder() / "registry").glob("*-runner.jar")
    return Part(
        name="registry",
        ports=(ports.registry, ports.registry_management),
        command=(
            *_java(layout, 256),
            f"-Dquarkus.http.host={LOOPBACK}",
            f"-Dquarkus.http.port={ports.registry}",
            "-Dquarkus.log.level=WARN",
            f"-Dquarkus.management.host={LOOPBACK}",
            f"-Dquarkus.management.port={ports.registry_management}",
            f"-Dapicurio.datasource.url=jdbc:h2:file:{layout.registry_data}/registry;{H2_OPTIONS}",
            "-jar",
            os.fspath(runner),
        ),
        folder=layout.folder,
        lacks=_answers(f"http://{LOOPBACK}:{ports.registry}/apis/ccompat/v7/subjects"),
        deadline_s=180.0,
    )
