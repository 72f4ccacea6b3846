"""A table that is altered under a running connector: what its changes say then, beside what SQL reads."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from app.adapters.sql_values import select_expression
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField
from app.core.digest import RowDigester
from app.core.errors import Unmappable
from app.core.event import Operation
from app.core.store import Converter, StoreKind
from tests.integration.running_stack import running_stack
from tests.integration.test_one_digest import SECRET, Probe, mariadb_probe, password, postgres_probe
from tests.integration.value_matrix import Column, Family, escaped, plain, quoted, values

pytestmark = pytest.mark.stack

INT32, INT64, TEXT = FieldType(FieldKind.INT32), FieldType(FieldKind.INT64), FieldType(FieldKind.STRING)
SMALL = (
    Family("name", TEXT, values("pen", "ink"), (Column("text", quoted),), (Column("varchar(60)", escaped),)),
    Family("stock", INT32, values("5", "7"), (Column("integer", plain),), (Column("integer", plain),)),
)
NAME, STOCK = "c0_0", "c1_0"
PROBES = {StoreKind.POSTGRES: postgres_probe, StoreKind.MARIADB: mariadb_probe}


class Altered:
    """One table while it is altered: each change updates its first row, and is seen in the log."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.updates = 0

    def alter(self, postgres: str, mariadb: str) -> None:
        """Alter the table."""
        clause = postgres if self.probe.kind is StoreKind.POSTGRES else mariadb
        self.probe.execute(f"ALTER TABLE {self.probe.table} {clause}", ())

    def update(self, assignment: str) -> dict[str, object]:
        """Update the first row, and return the image that the log shows of it."""
        self.updates += 1
        self.probe.execute(f"UPDATE {self.probe.table} SET {assignment} WHERE id = 0", ())  # noqa: S608 - ours
        changes = self.probe.changes(lambda found: sum(c.operation is Operation.UPDATE for c in found) >= self.updates)
        image = [c for c in changes if c.operation is Operation.UPDATE][self.updates - 1].after
        assert image is not None
        return dict(image)

    def digests(self, image: dict[str, object], **fields: tuple[FieldType, str]) -> tuple[bytes, bytes]:
        """Return the digests by log and by SQL of the first row under a contract of these fields and columns."""
        compared = tuple(Field(name, type_, {"s": column}) for name, (type_, column) in fields.items())
        contract = EntityContract("probe", 1, 1, (KeyField("id", INT32, {"s": "id"}),), compared, "s", (), ())
        by_log, by_sql = (RowDigester(contract, "s", dialect, SECRET) for dialect in self.probe.dialects)
        columns = {"id": INT32, **{column: type_ for type_, column in fields.values()}}
        chosen = ", ".join(select_expression(self.probe.kind, t, self.probe.quoted(c)) for c, t in columns.items())
        (row,) = self.probe.execute(f"SELECT {chosen} FROM {self.probe.table} WHERE id = 0", ())  # noqa: S608 - ours
        return by_log.groups(image), by_sql.groups(dict(zip(columns, row, strict=True)))


@pytest.mark.parametrize("kind", list(PROBES), ids=lambda kind: str(kind.value))
def test_rows_of_an_altered_table_are_known_or_unknown_and_never_guessed(kind: StoreKind) -> None:
    """A column added with a default, renamed, widened, dropped; the contract follows before, after or never."""
    told: dict[str, Any] = running_stack("kafka", "connect", "postgres", "mariadb")
    with PROBES[kind](told, Converter.JSON, SMALL) as probe:
        probe.events(probe.rows)
        table = Altered(probe)
        both = {"name": (TEXT, NAME), "stock": (INT32, STOCK)}
        before, by_sql = table.digests(table.update(f"{NAME} = 'cap'"), **both)
        assert before == by_sql

        table.alter("ADD colour text DEFAULT 'red'", "ADD colour varchar(10) DEFAULT 'red'")
        image = table.update(f"{STOCK} = 6")
        after, by_sql = table.digests(image, **both)
        assert before != after == by_sql
        by_log, by_sql = table.digests(image, colour=(TEXT, "colour"))
        assert by_log == by_sql
        assert image["colour"] == "red"

        table.alter(f"RENAME COLUMN {NAME} TO title", f"RENAME COLUMN {NAME} TO title")
        image = table.update("colour = 'blue'")
        assert NAME not in image
        followed = table.digests(image, name=(TEXT, "title"), stock=(INT32, STOCK))
        assert followed == (after, after)

        table.alter(f"ALTER COLUMN {STOCK} TYPE bigint", f"MODIFY {STOCK} bigint")
        image = table.update(f"{STOCK} = {1 << 40}")
        with pytest.raises(Unmappable):
            table.digests(image, stock=(INT32, STOCK))
        by_log, by_sql = table.digests(image, stock=(INT64, STOCK))
        assert by_log == by_sql

        table.alter(f"DROP COLUMN {STOCK}", f"DROP COLUMN {STOCK}")
        image = table.update("title = 'end'")
        assert STOCK not in image
        by_log, by_sql = table.digests(image, name=(TEXT, "title"))
        assert by_log == by_sql


def test_rows_of_one_copy_share_places_in_the_log() -> None:
    """Real PostgreSQL through real Debezium: why rows at one place must all be taken."""
    told: dict[str, Any] = running_stack("kafka", "connect", "postgres")
    at = told["postgres"]
    with postgres_probe(told, Converter.JSON, SMALL) as probe:
        probe.events(probe.rows)
        place = {"host": at["host"], "port": at["port"], "dbname": at["database"], "autocommit": True}
        with psycopg.connect(**place, user="postgres", password=password(at, "postgres")) as admin:
            admin.execute(f"COPY {probe.table} (id) FROM PROGRAM 'seq 1000 1299'".encode())
        changes = probe.changes(lambda found: len(found) >= probe.rows + 300)
        copied = [change for change in changes if change.operation is Operation.CREATE]
        assert len(copied) == 300
        assert len({change.place for change in copied}) < len(copied)
