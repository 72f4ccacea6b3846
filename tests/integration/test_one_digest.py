"""One digest: a row read by SQL and its own change event, from a snapshot and from the stream, for every type."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pymysql
import pytest
from confluent_kafka import Consumer

from app.adapters.sql_values import parameter, select_expression
from app.codec.envelope import decoder_for
from app.core.contract import EntityContract, Field, FieldType, KeyField
from app.core.contract import FieldKind as K
from app.core.digest import Dialect, RowDigester
from app.core.errors import Unmappable
from app.core.event import LEFT_OUT, Operation, Reading
from app.core.store import Converter, StoreKind
from tests.integration.running_stack import running_stack
from tests.integration.value_matrix import LARGE, MARIADB, POSTGRES, Column

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


@dataclass
class Probe:
    """One table of the matrix in one database, its connector, and how to read both."""

    kind: StoreKind
    columns: tuple[Column, ...]
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

    def create(self) -> None:
        """Make the table and the rows that a snapshot will read: one value in each."""
        columns = ", ".join(f"{self.quoted(c.name)} {c.sql_type}" for c in self.columns)
        self.execute(f"CREATE TABLE {self.table} (id integer PRIMARY KEY, {columns})", ())
        self.fill(0)

    def fill(self, base: int) -> None:
        """Write each value of the matrix into a row of its own."""
        for number, (column, literal) in enumerate(self.cells()):
            statement = f"INSERT INTO {self.table} (id, {self.quoted(column.name)}) VALUES ({base + number}, {literal})"  # noqa: S608 - the matrix is ours
            self.execute(statement, ())

    def cells(self) -> list[tuple[Column, str]]:
        """List columns and literals; a row's id is its place here."""
        return [(column, literal) for column in self.columns for literal in column.values]

    def contract(self, column: Column) -> EntityContract:
        """Return a contract that compares one column."""
        key = KeyField("id", FieldType(K.INT32), {"s": "id"})
        compared = Field(
            "v", column.type, {"s": column.name}, encodings={"s": column.encoding} if column.encoding else {}
        )
        return EntityContract("probe", 1, 1, (key,), (compared,), "s", (), ())

    def digesters(self, column: Column) -> tuple[RowDigester, RowDigester]:
        """Return the digesters for log and SQL."""
        contract = self.contract(column)
        log, sql = self.dialects
        return RowDigester(contract, "s", log, SECRET), RowDigester(contract, "s", sql, SECRET)

    def read(self, column: Column, number: int) -> dict[str, object]:
        """Read one value by SQL as the applier does."""
        expression = select_expression(self.kind, column.type, self.quoted(column.name))
        rows = self.execute(f"SELECT {expression} FROM {self.table} WHERE id = {number}", ())  # noqa: S608 - likewise
        return {"id": number, column.name: rows[0][0]}

    def write_again(self) -> tuple[set[int], list[str]]:
        """Bind every value read and write it into a row of its own; return the cells written, and what went wrong."""
        written = set()
        wrong = []
        for number, (column, literal) in enumerate(self.cells()):
            if not column.writes or literal in column.refused:
                continue
            try:
                value = self.digesters(column)[1].values(self.read(column, number))["v"]
                placeholder, bound = parameter(self.kind, column.type, value, column.encoding)
                into = f"INSERT INTO {self.table} (id, {self.quoted(column.name)})"
                self.execute(f"{into} VALUES ({WRITTEN_AGAIN + number}, {placeholder})", (bound,))
            except Exception as why:  # noqa: BLE001 - all that is wrong is told at once
                wrong.append(f"{column.sql_type} {literal} cannot be written again: {why}")
            else:
                written.add(number)
        return written, wrong

    def fault(self, column: Column, number: int, row: int, image: dict[str, Any], *, refused: bool) -> str:
        """Say how a row's event and what SQL reads differ, or nothing."""
        log, sql = self.digesters(column)
        shown = f"log {image[column.name]!r}, SQL {self.read(column, row)[column.name]!r}"
        try:
            digest = log.groups(image)
        except Unmappable as why:
            return "" if refused else f"{shown}: {why}"
        same = digest == sql.groups(self.read(column, row)) == sql.groups(self.read(column, number))
        return "" if same and not refused else shown

    def events(self, rows: int, *, updated: bool = False) -> dict[int, tuple[Reading, dict[str, Any]]]:
        """Read the topic until `rows` rows came (by updates, or else by reads and creates); return images by id."""
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
        found: dict[int, tuple[Reading, dict[str, Any]]] = {}
        consumer.subscribe([f"{self.name}.{self.table}"])
        until = time.monotonic() + PATIENCE_S
        try:
            while len(found) < rows and time.monotonic() < until:
                message = consumer.poll(0.5)
                if message is None or message.error():
                    continue
                event = decoder.decode(message.key(), message.value())
                if event is not None and (event.operation is Operation.UPDATE) is updated:
                    assert event.after is not None
                    found[int(str(event.after["id"]))] = (event.reading, dict(event.after))
        finally:
            consumer.close()
        assert len(found) == rows, f"{len(found)} of {rows} rows came within {PATIENCE_S} s"
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


def postgres_probe(
    told: dict[str, Any], converter: Converter, columns: tuple[Column, ...] = POSTGRES
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

        probe = Probe(StoreKind.POSTGRES, columns, told, converter, execute, '"', "public")
        execute("DROP TYPE IF EXISTS mood CASCADE", ())
        execute("CREATE TYPE mood AS ENUM ('busy', 'so lala')", ())
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


def mariadb_probe(told: dict[str, Any], converter: Converter) -> Iterator[Probe]:
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

    probe = Probe(StoreKind.MARIADB, MARIADB, told, converter, execute, "`", "shop")
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


PROBES = {StoreKind.POSTGRES: postgres_probe, StoreKind.MARIADB: mariadb_probe}


@pytest.mark.parametrize("converter", list(Converter), ids=lambda converter: str(converter.value))
@pytest.mark.parametrize("kind", list(PROBES), ids=lambda kind: str(kind.value))
def test_a_row_read_by_sql_has_the_digest_of_its_own_event(kind: StoreKind, converter: Converter) -> None:
    """For each type at its edges, read by a snapshot, streamed, and written again from the canonical value."""
    parts = ("kafka", "connect", "postgres", "mariadb", *(("registry",) if converter is Converter.AVRO else ()))
    for probe in PROBES[kind](running_stack(*parts), converter):
        cells = probe.cells()
        probe.events(len(cells))  # the snapshot is over; what follows is streamed
        probe.fill(len(cells))
        again, wrong = probe.write_again()
        events = probe.events(2 * len(cells) + len(again))
        for number, (column, literal) in enumerate(cells):
            rows = {"snapshot": number, "stream": len(cells) + number}
            if number in again:
                rows["written again"] = WRITTEN_AGAIN + number
            if literal in column.misread:
                del rows["snapshot"]
            for how, row in rows.items():
                reading, image = events[row]
                assert (reading is Reading.INITIAL) is (how == "snapshot")
                fault = probe.fault(column, number, row, image, refused=literal in column.refused)
                if fault:
                    wrong.append(f"{column.sql_type} {literal} {how}: {fault}")
        assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("converter", list(Converter), ids=lambda converter: str(converter.value))
def test_a_large_value_that_an_update_did_not_touch_is_left_out(converter: Converter) -> None:
    """PostgreSQL's log does not carry it, and the connector's placeholder is recognised in each type."""
    parts = ("kafka", "connect", "postgres", *(("registry",) if converter is Converter.AVRO else ()))
    for probe in postgres_probe(running_stack(*parts), converter, LARGE):
        cells = probe.cells()
        probe.events(len(cells))
        probe.execute(f"UPDATE {probe.table} SET other = 7", ())  # noqa: S608 - likewise
        events = probe.events(len(cells), updated=True)
        seen = {column.name: events[number][1][column.name] for number, (column, _) in enumerate(cells)}
        assert {name: str(value)[:200] for name, value in seen.items() if value is not LEFT_OUT} == {}
