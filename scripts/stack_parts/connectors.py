"""Bring the connectors of `connectors/*.json` into a stack, and prove that they stream.

The files go to Connect as they are: addresses and passwords are placeholders that the worker fills from its own files.
A connector's topics are made before it starts, since who consumes them must be able to find them while they are empty.
"""

import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stack_parts import kafka_wire, mariadb, mongodb, postgres
from stack_parts.connect_rest import ConnectRest
from stack_parts.failure import StackError
from stack_parts.kafka_wire import NewTopic
from stack_parts.layout import LOOPBACK, PROJECT, Layout
from stack_parts.progress import Progress

FOLDER = PROJECT / "connectors"
# What feeds Driftline in the local stack; everything else is applied by name.
FEED = ("postgres-source", "mariadb-source")
READY_S = 150.0
POLL_S = 0.2
# Made by `driftline init`, perhaps after the connectors start.
OWN_TABLES = tuple(f"driftline.driftline_{table}" for table in ("beacon", "signal", "ledger", "fence", "canary"))
DEFAULT_PARTITIONS = 3
SHOP_SCHEMA = {"postgres": "public", "mariadb": "shop"}


@dataclass(frozen=True)
class Connector:
    """One file of `connectors/`."""

    name: str
    config: dict[str, str]

    @property
    def worker(self) -> str:
        """Which worker it belongs to."""
        return "pipeline" if self.name.startswith("pipeline-") else "feed"

    @property
    def prefix(self) -> str | None:
        """What its topics begin with; None for a sink."""
        return self.config.get("topic.prefix")

    @property
    def database(self) -> str | None:
        """Which of the local databases it reads, if any."""
        kind = self.config["connector.class"].rpartition(".")[2]
        return {"PostgresConnector": "postgres", "MariaDbConnector": "mariadb", "MongoDbConnector": "mongodb"}.get(kind)


def names() -> list[str]:
    """Every connector that has a file."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def load(name: str) -> Connector:
    """Read one connector's file."""
    file = FOLDER / f"{name}.json"
    if name not in names():
        raise StackError(f"there is no connectors/{name}.json", f"choose of: {', '.join(names())}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise StackError(f"connectors/{name}.json is no JSON: {fault}") from None
    if not isinstance(config, dict) or not all(isinstance(value, str) for value in config.values()):
        raise StackError(
            f"connectors/{name}.json must be one object of strings", "write numbers and booleans in quotes"
        )
    return Connector(name, config)


def rest(layout: Layout, worker: str) -> ConnectRest:
    """The REST interface of one of the stack's workers."""
    port = layout.ports.feed if worker == "feed" else layout.ports.pipeline
    return ConnectRest(f"http://{LOOPBACK}:{port}")


def apply(
    layout: Layout,
    wanted: Sequence[str],
    progress: Progress,
    *,
    wait: bool = True,
    changes: Mapping[str, str] | None = None,
) -> None:
    """Apply connectors, any number of times; returns when a marker row of each source has been seen in Kafka.

    `changes` outweighs what the files say.
    """
    connectors = [replace(each, config=each.config | dict(changes or {})) for each in map(load, wanted or FEED)]
    made = kafka_wire.create_topics(_kafka(layout), _topics(layout, connectors))
    if made:
        progress.say("topics", f"made {len(made)}")
    for connector in connectors:
        progress.say(connector.name, _put(rest(layout, connector.worker), connector))
    if wait:
        for connector in connectors:
            progress.say(connector.name, _await(layout, connector))


def _kafka(layout: Layout) -> tuple[str, int]:
    return LOOPBACK, layout.ports.kafka


def _put(worker: ConnectRest, connector: Connector) -> str:
    held = worker.config(connector.name)
    if held == {"name": connector.name, **connector.config}:
        if "FAILED" in worker.states(connector.name):
            worker.act(connector.name, "restart-failed")
            return "unchanged, restarted after a failure"
        return "unchanged"
    if faults := worker.faults(connector.name, connector.config):
        told = "\n".join(f"  {fault}" for fault in faults)
        raise StackError(f"Connect refuses connectors/{connector.name}.json:\n{told}")
    worker.put(connector.name, connector.config)
    return "created" if held is None else "changed"


def _topics(layout: Layout, connectors: Iterable[Connector]) -> list[NewTopic]:
    wanted: dict[str, NewTopic] = {}
    tables: dict[str, list[str]] = {}
    for connector in connectors:
        for topic in filter(None, connector.config.get("topics", "").split(",")):
            wanted.setdefault(topic, NewTopic(topic, DEFAULT_PARTITIONS))
        prefix, database = connector.prefix, connector.database
        if prefix is None:
            continue
        if database in SHOP_SCHEMA and not tables:
            tables = {each: _tables(layout, each) for each in SHOP_SCHEMA}
        if database == "mongodb":
            tables[database] = mongodb.collections(layout)
        for name in topic_names(connector, (*candidates(database, tables), *OWN_TABLES)):
            wanted[name] = NewTopic(name, partitions(connector.config, name))
    return list(wanted.values())


def candidates(database: str | None, tables: Mapping[str, Sequence[str]]) -> list[str]:
    """The tables that a database has or will have: a sink makes a table in the copy only when its first row comes."""
    if database not in SHOP_SCHEMA:
        return list(tables.get(database or "", ()))
    shop = {table.partition(".")[2] for each, schema in SHOP_SCHEMA.items() for table in tables[each]
            if table.startswith(f"{schema}.")}  # fmt: skip
    return [*tables[database], *(f"{SHOP_SCHEMA[database]}.{table}" for table in sorted(shop))]


def topic_names(connector: Connector, tables: Iterable[str]) -> list[str]:
    """The topics that a source writes for these tables (`schema.table`) and beside them."""
    included = [
        re.compile(pattern, re.IGNORECASE)
        for key in ("table.include.list", "collection.include.list")
        for pattern in filter(None, connector.config.get(key, "").split(","))
    ]
    names_ = [connector.prefix or ""]
    if connector.config.get("provide.transaction.metadata") == "true":
        names_.append(f"{connector.prefix}.transaction")
    if connector.config.get("heartbeat.interval.ms", "0") != "0":
        names_.append(f"__debezium-heartbeat.{connector.prefix}")
    names_ += [
        f"{connector.prefix}.{table}" for table in tables if any(pattern.fullmatch(table) for pattern in included)
    ]
    return list(dict.fromkeys(names_))


def partitions(config: dict[str, str], topic: str) -> int:
    """How many partitions the connector itself would give a topic."""
    for group in filter(None, config.get("topic.creation.groups", "").split(",")):
        if re.fullmatch(config[f"topic.creation.{group}.include"], topic):
            return int(config[f"topic.creation.{group}.partitions"])
    return int(config.get("topic.creation.default.partitions", DEFAULT_PARTITIONS))


def _tables(layout: Layout, database: str) -> list[str]:
    query = (
        "SELECT concat(table_schema, '.', table_name) FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        "AND table_schema NOT IN ('information_schema', 'pg_catalog', 'performance_schema', 'mysql', 'sys')"
    )
    run = postgres.sql if database == "postgres" else mariadb.sql
    return run(layout, query).split()


def _await(layout: Layout, connector: Connector) -> str:
    worker, deadline_s = rest(layout, connector.worker), time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        states = worker.states(connector.name)
        if "FAILED" in states:
            raise StackError(
                f"connector {connector.name} failed: {worker.failure(connector.name)}",
                f"mend the cause, then scripts/stack connectors apply {connector.name}",
            )
        if states[:1] in (["PAUSED"], ["STOPPED"]):
            return f"{states[0].lower()}, as somebody left it"
        if len(states) > 1 and all(state == "RUNNING" for state in states):
            if connector.database is None:
                return "running"
            if _marker_arrives(layout, connector):
                return "streams: a marker row was seen in Kafka"
        time.sleep(POLL_S)
    raise StackError(
        f"connector {connector.name} shows no marker row after {READY_S:.0f} s (states: {', '.join(states) or 'none'})",
        f"scripts/stack logs connect-{connector.worker} -n 100",
    )


def _marker_arrives(layout: Layout, connector: Connector, within_s: float = 1.5) -> bool:
    """Write a row and look for its change: the only proof that a connector streams, since RUNNING is none."""
    kafka, topic, token = _kafka(layout), f"{connector.prefix}.stack.marker", secrets.token_hex(8)
    offset = kafka_wire.end_offset(kafka, topic, 0)
    change = f"UPDATE stack.marker SET token = '{token}' WHERE id = 1"  # noqa: S608 - a token of our own
    if connector.database == "mongodb":
        mongodb.mark(layout, token)
    else:
        (postgres.sql if connector.database == "postgres" else mariadb.sql)(layout, change)
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        for record in kafka_wire.read(kafka, topic, 0, offset):
            offset = record.offset + 1
            if is_live_change(record.value, token):
                return True
        time.sleep(POLL_S / 4)
    return False


def is_live_change(value: bytes | None, token: str) -> bool:
    """Whether a record is a streamed change that brought this token; a snapshot's read of it proves nothing yet."""
    if value is None or token.encode() not in value:
        return False
    try:
        envelope: Any = json.loads(value)
    except ValueError:
        # Another converter than JSON: the bytes have to do.
        return True
    envelope = envelope.get("payload", envelope)
    after = envelope.get("after") or {}
    # MongoDB's connector writes a document as a text.
    row = json.loads(after) if isinstance(after, str) else after
    return envelope.get("op") in {"c", "u"} and row.get("token") == token
