"""One digest: the same value in both databases, by snapshot, stream and SQL, for every type; another for another."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pymysql
import pytest
from confluent_kafka import Consumer

from app.adapters.sql_values import binder, select_expression
from app.codec.envelope import decoder_for
from app.core.contract import EntityContract, Field, FieldType, KeyField
from app.core.contract import FieldKind as K
from app.core.digest import Dialect, RowDigester
from app.core.errors import Unmappable
from app.core.event import LEFT_OUT, ChangeEvent, Operation, Reading
from app.core.store import Converter, StoreKind
from tests.integration.running_stack import running_stack
from tests.integration.value_matrix import LARGE, MATRIX, MOODS, NULL, Column, Family, Value, quoted, sizes

pytestmark = pytest.mark.stack

SECRET = bytes(range(32))
CONNECTORS = Path(__file__).parents[2] / "connectors"
WRITTEN_AGAIN = 100_000  # rows from here on hold values that were bound and written
PATIENCE_S = 90.0


class Registry:
    """Schemas by id, from the registry of the stack."""

    def __init__(self, url: str) -> None:
        self._url = url

    def schema(self, schema_id: int) -> object:
        """Return a schema as parsed JSON."""
        told = httpx.get(f"{self._url}/schemas/ids/{schema_id}")
        if told.status_code == httpx.codes.NOT_FOUND:
            raise KeyError(schema_id)
        return json.loads(told.raise_for_status().json()["schema"])


def converter_settings(converter: Converter, told: dict[str, Any]) -> dict[str, str]:
    """Return what a connector needs for a converter."""
    settings: dict[str, str] = {}
    for side in ("key", "value"):
        name = f"{side}.converter"
        if converter is Converter.AVRO:
            registry = told["registry"]["url"].replace("/apis/ccompat/v7", "/apis/registry/v2")
            settings |= {
                name: "io.apicurio.registry.utils.converter.AvroConverter",
                f"{name}.apicurio.registry.url": registry,
                f"{name}.apicurio.registry.auto-register": "true",
                f"{name}.apicurio.registry.find-latest": "false",
                f"{name}.apicurio.registry.as-confluent": "true",
                f"{name}.apicurio.registry.use-id": "contentId",
                f"{name}.apicurio.registry.headers.enabled": "false",
            }
        else:
            settings[name] = "org.apache.kafka.connect.json.JsonConverter"
            settings[f"{name}.schemas.enable"] = str(converter is Converter.JSON_SCHEMA).lower()
    if converter is Converter.AVRO:
        settings |= {"schema.name.adjustment.mode": "avro", "field.name.adjustment.mode": "avro"}
    else:
        settings["value.converter.replace.null.with.default"] = "false"
    return settings


@dataclass(frozen=True)
class Cell:
    """One writing of one value in one column: `row` is its number among the writings that the column holds."""

    family: Family
    column: Column
    name: str  # the column's
    value: Value
    literal: str
    row: int


@dataclass
class Probe:
    """The families of the matrix in one table of one database, its connector, and how to read both."""

    kind: StoreKind
    families: tuple[Family, ...]
    told: dict[str, Any]
    converter: Converter
    execute: Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]]
    quote: str
    schema: str
    name: str = field(default_factory=lambda: f"od{uuid.uuid4().hex[:10]}")

    @property
    def table(self) -> str:
        """The table's full name."""
        return f"{self.schema}.{self.name}"

    @property
    def dialects(self) -> tuple[Dialect, Dialect]:
        """The dialects of log and SQL."""
        if self.kind is StoreKind.POSTGRES:
            return Dialect.POSTGRES_CDC, Dialect.POSTGRES_SQL
        return Dialect.BINLOG_CDC, Dialect.BINLOG_SQL

    def quoted(self, name: str) -> str:
        """Quote a column."""
        return f"{self.quote}{name}{self.quote}"

    def columns(self) -> Iterator[tuple[str, Family, Column]]:
        """List the table's columns with their names."""
        for f, family in enumerate(self.families):
            for c, column in enumerate(family.columns(self.kind)):
                yield f"c{f}_{c}", family, column

    @cached_property
    def cells(self) -> list[Cell]:
        """What the table holds; the row behind the last is NULL in every column."""
        return [
            Cell(family, column, name, value, literal, row)
            for name, family, column in self.columns()
            for row, (value, literal) in enumerate(family.held(self.kind, column))
        ]

    @cached_property
    def rows(self) -> int:
        """How many rows hold the values of the matrix, the last of them NULL alone."""
        return 2 + max(cell.row for cell in self.cells)

    def create(self) -> None:
        """Make the table, and the rows that a snapshot will read."""
        columns = ", ".join(f"{self.quoted(name)} {column.sql_type}" for name, _, column in self.columns())
        self.execute(f"CREATE TABLE {self.table} (id integer PRIMARY KEY, {columns})", ())
        self.fill(0)

    def fill(self, base: int) -> None:
        """Write the n-th writing of every column into the n-th row."""
        cells = self.cells
        for row in range(self.rows):
            here = [cell for cell in cells if cell.row == row]
            names = ", ".join(["id", *(self.quoted(cell.name) for cell in here)])
            literals = ", ".join([str(base + row), *(cell.literal for cell in here)])
            self.execute(f"INSERT INTO {self.table} ({names}) VALUES ({literals})", ())  # noqa: S608 - the matrix is ours

    def digesters(self, family: Family, column: Column, name: str) -> tuple[RowDigester, RowDigester]:
        """Return the digesters for log and SQL of a contract that compares one column."""
        encodings = {"s": column.encoding} if column.encoding else {}
        compared = Field("v", family.type, {"s": name}, encodings=encodings)
        key = KeyField("id", FieldType(K.INT32), {"s": "id"})
        contract = EntityContract("probe", 1, 1, (key,), (compared,), "s", (), ())
        log, sql = self.dialects
        return RowDigester(contract, "s", log, SECRET), RowDigester(contract, "s", sql, SECRET)

    def read(self) -> dict[int, dict[str, Any]]:
        """Read all rows by SQL as the applier does; images by id."""
        columns = list(self.columns())
        chosen = [select_expression(self.kind, family.type, self.quoted(name)) for name, family, _ in columns]
        names = ["id", *(name for name, _, _ in columns)]
        rows = self.execute(f"SELECT id, {', '.join(chosen)} FROM {self.table}", ())  # noqa: S608 - likewise
        return {row[0]: dict(zip(names, row, strict=True)) for row in rows}

    def write_again(self, images: dict[int, dict[str, Any]]) -> tuple[dict[Cell, int], list[str]]:
        """Bind every value read and write it into a row of its own; return these, and what went wrong."""
        written: dict[Cell, int] = {}
        wrong = []
        for number, cell in enumerate(self.cells):
            column = cell.column
            if not column.writes or cell.value.name in column.refused:
                continue
            try:
                value = self.digesters(cell.family, column, cell.name)[1].values(images[cell.row])["v"]
                bound = binder(self.kind, cell.family.type, column.encoding)(value)
                into = f"INSERT INTO {self.table} (id, {self.quoted(cell.name)})"
                self.execute(f"{into} VALUES ({WRITTEN_AGAIN + number}, %s)", (bound,))
            except Exception as why:  # noqa: BLE001 - all that is wrong is told at once
                wrong.append(f"{column.sql_type} {cell.literal} cannot be written again: {why}")
            else:
                written[cell] = WRITTEN_AGAIN + number
        return written, wrong

    def events(self, rows: int, *, updated: bool = False) -> dict[int, tuple[Reading, dict[str, Any]]]:
        """Read the topic until `rows` rows came (by updates, or else by reads and creates); return images by id."""

        def images(changes: Sequence[ChangeEvent]) -> dict[int, tuple[Reading, dict[str, Any]]]:
            wanted = (c for c in changes if (c.operation is Operation.UPDATE) is updated and c.after is not None)
            return {int(str(c.after["id"])): (c.reading, dict(c.after)) for c in wanted if c.after is not None}

        return images(self.changes(lambda changes: len(images(changes)) >= rows))

    def changes(self, enough: Callable[[Sequence[ChangeEvent]], bool]) -> list[ChangeEvent]:
        """Read the topic from its beginning until enough changes of rows came."""
        placeholder = Path(self.told["placeholder_file"]).read_text(encoding="utf-8").strip()
        source = Registry(self.told["registry"]["url"]) if self.converter is Converter.AVRO else None
        decoder = decoder_for(self.kind, self.converter, placeholder, source)
        consumer = Consumer(
            {
                "bootstrap.servers": self.told["kafka"]["bootstrap"],
                "group.id": f"{self.name}.{uuid.uuid4().hex}",
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "topic.metadata.refresh.interval.ms": 1000,
                "allow.auto.create.topics": False,
            }
        )
        found: list[ChangeEvent] = []
        consumer.subscribe([f"{self.name}.{self.table}"])
        until = time.monotonic() + PATIENCE_S
        try:
            while not enough(found) and time.monotonic() < until:
                came = consumer.consume(500, 0.5)
                for message in came:
                    event = None if message.error() else decoder.decode(message.key(), message.value())
                    if event is not None:
                        found.append(event)
                if not came:
                    keep_running(self)
        finally:
            consumer.close()
        assert enough(found), f"{len(found)} changes came within {PATIENCE_S} s, and that was not enough"
        return found


def connect(probe: Probe, config: dict[str, str]) -> None:
    """Create the probe's connector and wait until its task runs."""
    url = f"{probe.told['connect']['feed']}/connectors/{probe.name}"
    httpx.put(f"{url}/config", json=config, timeout=30).raise_for_status()
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        status = httpx.get(f"{url}/status", timeout=30)
        tasks = status.json().get("tasks", []) if status.status_code == httpx.codes.OK else []
        if tasks and tasks[0]["state"] == "RUNNING":
            return
        assert not (tasks and tasks[0]["state"] == "FAILED"), tasks[0]["trace"][:2000]
        time.sleep(0.2)
    pytest.fail("the connector did not start")


def keep_running(probe: Probe) -> None:
    """Do what an operator does where Kafka ends a connector's transaction by a fault of its own; fail for any other.

    With transactions of version 2 a producer whose topic has just been made, and whose first write was refused for that
    (`NOT_LEADER_OR_FOLLOWER`), may be told `INVALID_TXN_STATE` by its commit, which ends the task. Seen once in some
    thirty runs; exactly-once delivery lets it begin again where it stood.
    """
    url = f"{probe.told['connect']['feed']}/connectors/{probe.name}"
    status = httpx.get(f"{url}/status", timeout=30)
    tasks = status.json().get("tasks", []) if status.status_code == httpx.codes.OK else []
    for task in tasks:
        if task["state"] == "FAILED":
            assert "InvalidTxnStateException" in task["trace"], task["trace"][:2000]
            httpx.post(f"{url}/restart?includeTasks=true&onlyFailed=true", timeout=30).raise_for_status()


def base_config(probe: Probe, file: str) -> dict[str, str]:
    """Return the deployment's own configuration, on the probe's table alone."""
    config: dict[str, str] = json.loads((CONNECTORS / file).read_text(encoding="utf-8"))
    for name in list(config):
        if name.startswith(("signal.", "topic.creation.groups", "topic.creation.single", "key.conv", "value.conv")):
            del config[name]
    return (
        config
        | converter_settings(probe.converter, probe.told)
        | {
            "topic.prefix": probe.name,
            "table.include.list": probe.table.replace(".", "\\."),
        }
    )


def password(told: dict[str, Any], role: str) -> str:
    """Read a role's password."""
    return Path(told["roles"][role]["password_file"]).read_text(encoding="utf-8").strip()


@contextmanager
def postgres_probe(
    told: dict[str, Any], converter: Converter, families: tuple[Family, ...] = MATRIX
) -> Iterator[Probe]:
    """Yield the matrix in PostgreSQL with a connector that is about to read it."""
    at = told["postgres"]
    common = {"host": at["host"], "port": at["port"], "dbname": at["database"], "autocommit": True}
    with (
        psycopg.connect(**common, user="shop_owner", password=password(at, "shop_owner")) as owner,
        psycopg.connect(**common, user="postgres", password=password(at, "postgres")) as admin,
    ):
        owner.execute("SET TIME ZONE 'UTC'")

        def execute(statement: str, bound: tuple[object, ...]) -> list[tuple[Any, ...]]:
            cursor = owner.execute(statement.encode(), bound or None)
            return cursor.fetchall() if cursor.description else []

        probe = Probe(StoreKind.POSTGRES, families, told, converter, execute, '"', "public")
        admin.execute("CREATE EXTENSION IF NOT EXISTS citext")
        execute("DROP TYPE IF EXISTS mood CASCADE", ())
        execute(f"CREATE TYPE mood AS ENUM ({', '.join(map(quoted, MOODS))})", ())
        probe.create()
        admin.execute(f"CREATE PUBLICATION {probe.name} FOR TABLE {probe.table}".encode())
        connect(
            probe,
            base_config(probe, "postgres-source.json") | {"publication.name": probe.name, "slot.name": probe.name},
        )
        try:
            yield probe
        finally:
            httpx.delete(f"{told['connect']['feed']}/connectors/{probe.name}", timeout=30)
            admin.execute(f"DROP PUBLICATION {probe.name}".encode())
            execute(f"DROP TABLE {probe.table}", ())
            drop_slot(admin, probe.name)


def drop_slot(admin: psycopg.Connection[Any], name: str) -> None:
    """Drop the slot once its connector has let go of it."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        row = admin.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (name,)).fetchone()
        if row is None:
            return
        if not row[0]:
            admin.execute("SELECT pg_drop_replication_slot(%s)", (name,))
            return
        time.sleep(0.2)


@contextmanager
def mariadb_probe(told: dict[str, Any], converter: Converter, families: tuple[Family, ...] = MATRIX) -> Iterator[Probe]:
    """Yield the matrix in MariaDB with a connector that is about to read it."""
    at = told["mariadb"]
    owner = pymysql.connect(
        host=at["host"],
        port=at["port"],
        user="shop_owner",
        password=password(at, "shop_owner"),
        database=at["database"],
        charset="utf8mb4",
        autocommit=True,
        init_command="SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'",
    )

    def execute(statement: str, bound: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with owner.cursor() as cursor:
            cursor.execute(statement, bound or None)
            return list(cursor.fetchall())

    probe = Probe(StoreKind.MARIADB, families, told, converter, execute, "`", "shop")
    probe.create()
    config = base_config(probe, "mariadb-source.json") | {
        "database.server.id": str(6_000 + uuid.uuid4().int % 50_000),
        "schema.history.internal.kafka.topic": f"_schema_history.{probe.name}",
    }
    connect(probe, config)
    try:
        yield probe
    finally:
        httpx.delete(f"{told['connect']['feed']}/connectors/{probe.name}", timeout=30)
        execute(f"DROP TABLE {probe.table}", ())
        owner.close()


@dataclass(frozen=True)
class Digested:
    """What one way of reading made of one writing of a value; `where` tells which."""

    value: str
    digest: bytes
    where: str


class Findings:
    """Everything that was read of the matrix: digests by family and value, and what went wrong."""

    def __init__(self) -> None:
        self.digested: dict[str, list[Digested]] = {family.name: [] for family in MATRIX}
        self.wrong: list[str] = []

    def take(self, probe: Probe) -> None:
        """Read a probe's table in all its ways: snapshot, stream, SQL, and written again from what SQL gave."""
        probe.events(probe.rows)  # the snapshot is over; what follows is streamed
        probe.fill(probe.rows)
        again, wrong = probe.write_again(probe.read())
        self.wrong += wrong
        events, images = probe.events(2 * probe.rows + len(again)), probe.read()
        assert all(events[row][0] is Reading.INITIAL for row in range(probe.rows))
        assert all(reading is Reading.LIVE for row, (reading, _) in events.items() if row >= probe.rows)
        for cell in probe.cells:
            rows = {"snapshot": cell.row, "stream": probe.rows + cell.row}
            if cell in again:
                rows["written again"] = again[cell]
            self._take_cell(probe, cell, rows, events, images)
        null = {"snapshot": probe.rows - 1, "stream": 2 * probe.rows - 1}
        for name, family, column in probe.columns():
            nothing = Cell(family, column, name, Value(NULL, (NULL,)), NULL, probe.rows - 1)
            self._take_cell(probe, nothing, null, events, images)

    def _take_cell(
        self,
        probe: Probe,
        cell: Cell,
        rows: dict[str, int],
        events: dict[int, tuple[Reading, dict[str, Any]]],
        images: dict[int, dict[str, Any]],
    ) -> None:
        log, sql = probe.digesters(cell.family, cell.column, cell.name)
        for how, row in rows.items():
            if how == "snapshot" and cell.value.name in cell.column.misread:
                continue
            for way, digester, image in (("log", log, events[row][1]), ("SQL", sql, images[row])):
                where = f"{probe.kind.value} {cell.column.sql_type} {cell.literal} {how} by {way}"
                try:
                    digest = digester.groups(image)
                except Unmappable as why:
                    if cell.value.name not in cell.column.refused:
                        self.wrong.append(f"{where}: {image[cell.name]!r}: {why}")
                    continue
                if cell.value.name in cell.column.refused and way == "log":
                    self.wrong.append(f"{where}: {image[cell.name]!r} should be refused")
                else:
                    self.digested[cell.family.name].append(
                        Digested(cell.value.name, digest, f"{where}: {image[cell.name]!r}")
                    )

    def unequal(self) -> list[str]:
        """Name values that have several digests, with an example of each."""
        found = []
        for family, readings in self.digested.items():
            by_value: dict[str, dict[bytes, str]] = {}
            for one in readings:
                by_value.setdefault(one.value, {}).setdefault(one.digest, one.where)
            found += [f"{family}: " + " <> ".join(ways.values()) for ways in by_value.values() if len(ways) > 1]
        return found

    def confused(self) -> list[str]:
        """Name digests that several values have, with an example of each."""
        found = []
        for family, readings in self.digested.items():
            by_digest: dict[bytes, dict[str, str]] = {}
            for one in readings:
                by_digest.setdefault(one.digest, {}).setdefault(one.value, one.where)
            found += [f"{family}: " + " = ".join(ways.values()) for ways in by_digest.values() if len(ways) > 1]
        return found


@pytest.mark.parametrize("converter", list(Converter), ids=lambda converter: str(converter.value))
def test_a_value_has_one_digest_in_both_databases_by_log_and_by_sql(
    converter: Converter, capsys: pytest.CaptureFixture[str]
) -> None:
    """And another value has another one: every canonical type, every column that may hold it, values at the edges."""
    told = running_stack(
        "kafka", "connect", "postgres", "mariadb", *(("registry",) if converter is Converter.AVRO else ())
    )
    findings = Findings()
    with postgres_probe(told, converter) as postgres, mariadb_probe(told, converter) as mariadb:
        findings.take(postgres)
        findings.take(mariadb)
    unequal, confused = findings.unequal(), findings.confused()
    readings = sum(map(len, findings.digested.values()))
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what the test is run for
            f"\n{converter.value}: {sizes()}; {readings} readings, "
            f"{len(unequal)} unequal where equal, {len(confused)} equal where different"
        )
    wrong = [*findings.wrong, *unequal, *confused]
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("converter", list(Converter), ids=lambda converter: str(converter.value))
def test_a_large_value_that_an_update_did_not_touch_is_left_out(converter: Converter) -> None:
    """PostgreSQL's log does not carry it, and the connector's placeholder is recognised in each type."""
    parts = ("kafka", "connect", "postgres", *(("registry",) if converter is Converter.AVRO else ()))
    with postgres_probe(running_stack(*parts), converter, LARGE) as probe:
        probe.execute(f"ALTER TABLE {probe.table} ADD other integer", ())
        probe.events(probe.rows)
        probe.execute(f"UPDATE {probe.table} SET other = 7 WHERE id = 0", ())  # noqa: S608 - likewise
        _, image = probe.events(1, updated=True)[0]
        seen = {family.name: image[name] for name, family, _ in probe.columns()}
        assert {name: str(value)[:200] for name, value in seen.items() if value is not LEFT_OUT} == {}
