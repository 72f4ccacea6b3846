"""What `driftline check` finds, rule by rule, on facts as a catalogue, Connect or Kafka would tell them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from app.core.contract import (
    EntityContract,
    Field,
    FieldKind,
    FieldType,
    KeyField,
    RepairMode,
    RepairPolicy,
    Replica,
    StoreTable,
)
from app.core.guard import Fence
from app.core.preflight.collections import collection_problems
from app.core.preflight.columns import column_problems, is_known
from app.core.preflight.connectors import DEFAULT_PLACEHOLDER, connector_problems, is_listed
from app.core.preflight.databases import OWN_TABLES, StoreUnderCheck, database_problems, length_problems
from app.core.preflight.facts import (
    CollectionFacts,
    ColumnFact,
    ConnectorFacts,
    DatabaseFacts,
    PublicationFact,
    TableFact,
    TopicFact,
)
from app.core.preflight.fences import fence_problems
from app.core.preflight.problems import Found, Problem, Severity
from app.core.preflight.topics import topic_problems
from app.core.shard import FenceTokens
from app.core.store import Converter, StoreKind

CONNECTORS = Path(__file__).parents[3] / "connectors"
K = FieldKind
P = Problem
PG = StoreUnderCheck("pg", StoreKind.POSTGRES, Converter.JSON, "driftline", 1_000)
MY = StoreUnderCheck("my", StoreKind.MARIADB, Converter.JSON, "driftline")
DOCS = StoreUnderCheck("mongo", StoreKind.MONGODB, Converter.JSON, "driftline")


def a_field(name: str, kind: FieldKind, *, large: bool = False) -> Field:
    """Return a field whose columns have its name."""
    return Field(name, FieldType(kind), {"pg": name, "my": name}, large=large)


CONTRACT = EntityContract(
    entity="orders",
    version=1,
    number=1,
    key=(KeyField("id", FieldType(K.INT64), {"pg": "id", "my": "id"}),),
    fields=(a_field("status", K.STRING), a_field("body", K.STRING, large=True), a_field("n", K.INT32)),
    authority="pg",
    stores=(
        StoreTable("pg", "public.orders", "pg.public.orders"),
        StoreTable("my", "shop.orders", "my.shop.orders"),
    ),
    replicas=(Replica("my", 10_000, 100_000, repair=RepairPolicy(mode=RepairMode.APPLY)),),
)
PG_COLUMNS = (
    ColumnFact("id", "int8", is_nullable=False),
    ColumnFact("status", "varchar", length=20),
    ColumnFact("body", "text"),
    ColumnFact("n", "int4"),
)
MY_COLUMNS = (
    ColumnFact("id", "bigint", is_nullable=False),
    ColumnFact("status", "varchar", length=20, charset="utf8mb4"),
    ColumnFact("body", "longtext", length=4_294_967_295, charset="utf8mb4"),
    ColumnFact("n", "int"),
)
PG_TABLE = TableFact("public.orders", PG_COLUMNS, ("id",), replica_identity="d")
MY_TABLE = TableFact("shop.orders", MY_COLUMNS, ("id",), engine="InnoDB")
OWN = {f"driftline.{name}": TableFact(f"driftline.{name}", (), ()) for name in OWN_TABLES}
PUBLICATION = PublicationFact("feed", inserts=True, updates=True, deletes=True, truncates=True)
PG_SETTINGS = {"wal_level": "logical", "server_encoding": "UTF8"}
PG_FACTS = DatabaseFacts(PG_SETTINGS, {**OWN, "public.orders": PG_TABLE}, PUBLICATION)
MY_SETTINGS = {"log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "gtid_strict_mode": "ON"}
MY_FACTS = DatabaseFacts(MY_SETTINGS, {**OWN, "shop.orders": MY_TABLE})


def codes(found: Iterable[Found]) -> set[Problem]:
    """Return which problems were found."""
    return {one.problem for one in found}


def test_a_healthy_pair_of_databases_has_no_problem() -> None:
    """What is right raises nothing."""
    assert list(database_problems(PG, PG_FACTS, [CONTRACT])) == []
    assert list(database_problems(MY, MY_FACTS, [CONTRACT])) == []
    tables = {"pg": PG_FACTS.tables, "my": MY_FACTS.tables}
    assert list(length_problems([CONTRACT], tables)) == []


def with_column(table: TableFact, name: str, **changes: object) -> TableFact:
    """Return a table with one column changed."""
    columns = (dataclasses.replace(c, **changes) if c.name == name else c for c in table.columns)  # type: ignore[arg-type]
    return dataclasses.replace(table, columns=tuple(columns))


def without_column(table: TableFact, name: str) -> TableFact:
    """Return a table without one column."""
    return dataclasses.replace(table, columns=tuple(c for c in table.columns if c.name != name))


def more_columns(table: TableFact, *more: ColumnFact) -> TableFact:
    """Return a table with more columns."""
    return dataclasses.replace(table, columns=(*table.columns, *more))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (None, P.TABLE_MISSING),
        (without_column(PG_TABLE, "status"), P.COLUMN_MISSING),
        (with_column(PG_TABLE, "n", type="point"), P.COLUMN_UNKNOWN_TYPE),
        (with_column(PG_TABLE, "n", type="int2"), P.COLUMN_NARROWER),
        (with_column(PG_TABLE, "n", type="int8"), P.COLUMN_WIDER),
        (with_column(PG_TABLE, "n", is_generated=True), P.COLUMN_GENERATED),
        (with_column(PG_TABLE, "status", length=None, type="text"), P.MAY_BE_LEFT_OUT),
        (with_column(PG_TABLE, "status", length=2_000), P.MAY_BE_LEFT_OUT),
        (dataclasses.replace(PG_TABLE, primary_key=("n",)), P.KEY_DIFFERS),
        (dataclasses.replace(PG_TABLE, primary_key=("id", "n")), P.KEY_DIFFERS),
        (dataclasses.replace(PG_TABLE, primary_key=()), P.REPLICA_IDENTITY),
        (dataclasses.replace(PG_TABLE, replica_identity="n"), P.REPLICA_IDENTITY),
        (dataclasses.replace(PG_TABLE, replica_identity="i"), P.REPLICA_IDENTITY),
        (dataclasses.replace(PG_TABLE, is_published=False), P.NOT_PUBLISHED),
        (dataclasses.replace(PG_TABLE, has_row_filter=True), P.PUBLICATION_PARTIAL),
        (dataclasses.replace(PG_TABLE, published_columns=("id", "status", "body")), P.PUBLICATION_PARTIAL),
    ],
)
def test_a_table_of_postgresql_that_would_make_verdicts_lie_is_found(
    table: TableFact | None, expected: Problem
) -> None:
    """Each change of a healthy table raises its own problem."""
    tables = {**OWN, **({"public.orders": table} if table else {})}
    found = list(database_problems(PG, dataclasses.replace(PG_FACTS, tables=tables), [CONTRACT]))
    assert expected in codes(found)
    assert all("public.orders" in one.where for one in found)


def test_whole_rows_in_the_log_leave_nothing_out() -> None:
    """REPLICA IDENTITY FULL carries long values too."""
    table = dataclasses.replace(with_column(PG_TABLE, "status", type="text", length=None), replica_identity="f")
    facts = dataclasses.replace(PG_FACTS, tables={**OWN, "public.orders": table})
    assert list(database_problems(PG, facts, [CONTRACT])) == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (with_column(MY_TABLE, "status", charset="utf8mb3"), P.COLUMN_NARROWER),
        (with_column(MY_TABLE, "n", type="mediumint"), P.COLUMN_NARROWER),
        (with_column(MY_TABLE, "n", is_unsigned=True), P.COLUMN_NARROWER),
        (with_column(MY_TABLE, "n", type="geometry"), P.COLUMN_UNKNOWN_TYPE),
        (dataclasses.replace(MY_TABLE, engine="Aria", is_transactional=False), P.NOT_TRANSACTIONAL),
        (more_columns(MY_TABLE, ColumnFact("must", "int", is_nullable=False)), P.UNCOVERED_COLUMN),
        (dataclasses.replace(MY_TABLE, primary_key=()), P.KEY_DIFFERS),
    ],
)
def test_a_table_of_mariadb_that_would_make_verdicts_lie_is_found(table: TableFact, expected: Problem) -> None:
    """Each change of a healthy copy raises its own problem and no other."""
    facts = dataclasses.replace(MY_FACTS, tables={**OWN, "shop.orders": table})
    assert expected in codes(database_problems(MY, facts, [CONTRACT]))


def test_a_copy_whose_key_column_is_blind_for_case_is_found() -> None:
    """Two keys of the authority would be one row there; where the contract says so too, nothing is wrong."""
    table = with_column(MY_TABLE, "id", type="varchar", is_case_blind=True, charset="utf8mb4")
    facts = dataclasses.replace(MY_FACTS, tables={**OWN, "shop.orders": table})

    def found(collation: str) -> set[Problem]:
        part = KeyField("id", FieldType(K.STRING, collation=collation), {"pg": "id", "my": "id"})
        return codes(database_problems(MY, facts, [dataclasses.replace(CONTRACT, key=(part,))]))

    assert found("exact") == {P.KEY_CASE_BLIND}
    assert found("ci") == set()


def test_a_column_with_a_default_does_not_hinder_repairs() -> None:
    """Only columns that must have a value and have none of their own are uncovered."""
    table = more_columns(
        MY_TABLE,
        ColumnFact("a", "int", is_nullable=False, has_default=True),
        ColumnFact("b", "int"),
        ColumnFact("c", "int", is_nullable=False, is_generated=True),
    )
    facts = dataclasses.replace(MY_FACTS, tables={**OWN, "shop.orders": table})
    assert list(database_problems(MY, facts, [CONTRACT])) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"log_bin": "OFF"}, P.BINLOG_OFF),
        ({"binlog_format": "MIXED"}, P.BINLOG_FORMAT),
        ({"binlog_format": "STATEMENT"}, P.BINLOG_FORMAT),
        ({"binlog_row_image": "MINIMAL"}, P.BINLOG_ROW_IMAGE),
        ({"binlog_row_image": "NOBLOB"}, P.BINLOG_ROW_IMAGE),
        ({"binlog_ignore_db": "shop"}, P.BINLOG_FILTERED),
        ({"gtid_strict_mode": "OFF"}, P.GTID_LAX),
        ({"binlog_expire_logs_seconds": "3600"}, P.LOG_SHORT),
    ],
)
def test_a_binary_log_that_does_not_tell_everything_is_found(changes: dict[str, str], expected: Problem) -> None:
    """Each setting of the server that hides changes raises its own problem."""
    facts = dataclasses.replace(MY_FACTS, settings={**MY_SETTINGS, **changes})
    assert codes(database_problems(MY, facts, [CONTRACT])) == {expected}


def test_settings_that_could_not_be_read_are_no_pass() -> None:
    """What is not known is a problem, never taken for right."""
    assert codes(database_problems(MY, dataclasses.replace(MY_FACTS, settings={}), [])) >= {
        P.BINLOG_OFF,
        P.BINLOG_FORMAT,
        P.BINLOG_ROW_IMAGE,
    }
    found = codes(database_problems(PG, dataclasses.replace(PG_FACTS, settings={}), []))
    assert found == {P.WAL_LEVEL, P.SERVER_ENCODING}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"wal_level": "replica"}, P.WAL_LEVEL), ({"server_encoding": "SQL_ASCII"}, P.SERVER_ENCODING)],
)
def test_a_database_of_postgresql_whose_log_cannot_be_read_is_found(changes: dict[str, str], expected: Problem) -> None:
    """Neither physical records nor another encoding than UTF-8 can be decoded."""
    facts = dataclasses.replace(PG_FACTS, settings={**PG_SETTINGS, **changes})
    assert codes(database_problems(PG, facts, [CONTRACT])) == {expected}


@pytest.mark.parametrize(
    ("sql_mode", "nullable", "expected"),
    [
        ("STRICT_TRANS_TABLES", False, {P.ZERO_DATE}),
        ("STRICT_TRANS_TABLES,NO_ZERO_DATE", False, {P.ZERO_DATE}),
        ("STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE", False, set()),
        ("STRICT_TRANS_TABLES", True, set()),
    ],
)
def test_a_zero_date_that_arrives_as_1970_is_found(sql_mode: str, nullable: bool, expected: set[Problem]) -> None:  # noqa: FBT001 - a case
    """Where the column may be NULL the log says NULL; where it may not, it says the first day of 1970."""
    contract = dataclasses.replace(CONTRACT, fields=(a_field("due", K.DATE),))
    table = TableFact("shop.orders", (MY_COLUMNS[0], ColumnFact("due", "date", is_nullable=nullable)), ("id",))
    facts = DatabaseFacts({**MY_SETTINGS, "sql_mode": sql_mode}, {**OWN, "shop.orders": table})
    assert codes(database_problems(MY, facts, [contract])) == expected


@pytest.mark.parametrize("kind", ["inserts", "updates", "deletes", "truncates"])
def test_a_publication_that_skips_a_kind_of_change_is_found(kind: str) -> None:
    """PostgreSQL's default for a publication made by Debezium leaves truncates out."""
    publication = dataclasses.replace(PUBLICATION, **{kind: False})  # type: ignore[arg-type]
    (found,) = database_problems(PG, dataclasses.replace(PG_FACTS, publication=publication), [CONTRACT])
    assert found.problem is P.PUBLICATION_SKIPS
    assert kind[:-1] in found.detail


def test_a_function_of_a_newer_version_is_missed_where_repairs_are_planned() -> None:
    """After an upgrade without `driftline init`; a store that is only watched has no applier that would ask it."""
    reversed_ = dataclasses.replace(
        CONTRACT,
        authority="my",
        replicas=(Replica("pg", 10_000, 100_000, repair=RepairPolicy(mode=RepairMode.PROPOSE)),),
    )
    (found,) = [f for f in database_problems(PG, PG_FACTS, [reversed_]) if f.problem is P.OWN_FUNCTION_MISSING]
    assert found.where.endswith("function driftline.driftline_standbys")
    facts = dataclasses.replace(PG_FACTS, functions=frozenset({"driftline.driftline_standbys"}))
    watched = dataclasses.replace(reversed_, replicas=(Replica("pg", 10_000, 100_000),))
    for told, contract in ((facts, reversed_), (PG_FACTS, watched), (PG_FACTS, CONTRACT)):
        assert P.OWN_FUNCTION_MISSING not in codes(database_problems(PG, told, [contract]))


def test_missing_and_unpublished_own_tables_are_found() -> None:
    """Without beacon, ledger and signal nothing can be proven."""
    tables = {"public.orders": PG_TABLE}
    facts = dataclasses.replace(PG_FACTS, tables=tables)
    assert [f.problem for f in database_problems(PG, facts, [CONTRACT])] == [P.OWN_TABLE_MISSING] * 4
    hidden = {name: dataclasses.replace(table, is_published=False) for name, table in OWN.items()}
    found = list(database_problems(PG, dataclasses.replace(PG_FACTS, tables={**hidden, **tables}), [CONTRACT]))
    assert [f.problem for f in found] == [P.NOT_PUBLISHED] * 3


DOCUMENTS = dataclasses.replace(
    CONTRACT,
    key=(KeyField("id", FieldType(K.INT64), {"pg": "id", "mongo": "_id"}),),
    fields=(Field("status", FieldType(K.STRING), {"pg": "status", "mongo": "status"}),),
    stores=(CONTRACT.stores[0], StoreTable("mongo", "shop.orders", "mongo.shop.orders")),
    replicas=(Replica("mongo", 10_000, 100_000),),
)
IMAGES = {
    "shop.orders": True,
    **{f"driftline.driftline_{own}": True for own in ("beacon", "signal", "ledger", "fence")},
}


@pytest.mark.parametrize(
    ("facts", "contract", "expected"),
    [
        (CollectionFacts(has_change_streams=True, has_images=IMAGES), DOCUMENTS, []),
        (CollectionFacts(has_change_streams=False, has_images=IMAGES), DOCUMENTS, [(P.NO_REPLICA_SET, "")]),
        (
            CollectionFacts(has_change_streams=True, has_images=IMAGES | {"shop.orders": False}),
            DOCUMENTS,
            [(P.NO_IMAGES, ", collection shop.orders")],
        ),
        (
            CollectionFacts(has_change_streams=True, has_images=IMAGES | {"driftline.driftline_ledger": False}),
            DOCUMENTS,
            [(P.NO_IMAGES, ", collection driftline.driftline_ledger")],
        ),
        (
            CollectionFacts(has_change_streams=True, has_images={"shop.orders": True}),
            DOCUMENTS,
            [
                (P.OWN_TABLE_MISSING, f", table driftline.driftline_{own}")
                for own in ("beacon", "signal", "ledger", "fence")
            ],
        ),
        (
            CollectionFacts(has_change_streams=True, has_images={n: True for n in IMAGES if n != "shop.orders"}),
            DOCUMENTS,
            [(P.TABLE_MISSING, ", table shop.orders")],
        ),
        (CollectionFacts(has_change_streams=True, has_images=IMAGES), CONTRACT, []),
    ],
)
def test_a_store_of_mongodb_that_does_not_tell_the_whole_story_is_found(
    facts: CollectionFacts, contract: EntityContract, expected: list[tuple[Problem, str]]
) -> None:
    """Without a replica set, images or own collections nothing can be proven."""
    found = [(each.problem, each.where) for each in collection_problems(DOCS, facts, [contract])]
    assert found == [(problem, f"store mongo{where}") for problem, where in expected]


def test_a_copy_with_shorter_texts_is_narrower() -> None:
    """A text that the authority takes and the copy cannot hold would be cut off or refused."""
    tables = {"pg": PG_FACTS.tables, "my": {"shop.orders": with_column(MY_TABLE, "status", length=10)}}
    (found,) = length_problems([CONTRACT], tables)
    assert found.problem is P.COLUMN_NARROWER
    assert found.detail == "10 characters where pg has 20"


def problems_of(
    kind: StoreKind, type_: FieldType, column: ColumnFact, encoding: str = "", converter: Converter = Converter.JSON
) -> set[Problem]:
    """Compare one column with one type."""
    encodings = {"s": encoding} if encoding else {}
    member = Field("f", type_, {"s": column.name}, encodings=encodings)
    return codes(column_problems(kind, converter, "s", member, column, "here"))


ARRAY = FieldType(K.ARRAY, element=FieldType(K.INT32))
CASES: list[tuple[StoreKind, FieldType, ColumnFact, str, set[Problem]]] = [
    (StoreKind.POSTGRES, FieldType(K.DECIMAL, scale=2), ColumnFact("c", "numeric", precision=12, scale=2), "", set()),
    (StoreKind.POSTGRES, FieldType(K.DECIMAL), ColumnFact("c", "numeric"), "", set()),
    (StoreKind.POSTGRES, FieldType(K.DECIMAL), ColumnFact("c", "numeric", scale=2), "", {P.COLUMN_NARROWER}),
    (StoreKind.MARIADB, FieldType(K.DECIMAL), ColumnFact("c", "double"), "", {P.COLUMN_NARROWER}),
    (StoreKind.MARIADB, FieldType(K.DECIMAL, scale=4), ColumnFact("c", "decimal", scale=2), "", {P.COLUMN_NARROWER}),
    (StoreKind.POSTGRES, FieldType(K.BOOL), ColumnFact("c", "bool"), "", set()),
    (StoreKind.MARIADB, FieldType(K.BOOL), ColumnFact("c", "tinyint"), "", set()),
    (StoreKind.MARIADB, FieldType(K.BOOL), ColumnFact("c", "int"), "", {P.COLUMN_WIDER}),
    (StoreKind.MARIADB, FieldType(K.UINT64), ColumnFact("c", "bigint", is_unsigned=True), "", set()),
    (
        StoreKind.MARIADB,
        FieldType(K.INT64),
        ColumnFact("c", "bigint", is_unsigned=True),
        "",
        {P.COLUMN_NARROWER, P.COLUMN_WIDER},
    ),
    (StoreKind.MARIADB, FieldType(K.FLOAT64), ColumnFact("c", "float"), "", {P.COLUMN_NARROWER}),
    (StoreKind.POSTGRES, FieldType(K.INSTANT), ColumnFact("c", "timestamptz", precision=6), "", set()),
    (StoreKind.POSTGRES, FieldType(K.INSTANT), ColumnFact("c", "timestamptz", precision=3), "", {P.COLUMN_NARROWER}),
    (StoreKind.MARIADB, FieldType(K.INSTANT), ColumnFact("c", "timestamp", precision=6), "", set()),
    (StoreKind.MARIADB, FieldType(K.INSTANT), ColumnFact("c", "datetime", precision=6), "", set()),
    (
        StoreKind.MARIADB,
        FieldType(K.INSTANT, precision=0),
        ColumnFact("c", "datetime", precision=0),
        "",
        {P.ENCODING_MISSING},
    ),
    (StoreKind.MARIADB, FieldType(K.INSTANT, precision=0), ColumnFact("c", "datetime", precision=0), "millis", set()),
    (
        StoreKind.POSTGRES,
        FieldType(K.LOCAL_TIMESTAMP, precision=3),
        ColumnFact("c", "timestamp", precision=3),
        "",
        {P.ENCODING_MISSING},
    ),
    (
        StoreKind.POSTGRES,
        FieldType(K.LOCAL_TIMESTAMP),
        ColumnFact("c", "timestamp", precision=6),
        "millis",
        {P.ENCODING_WRONG},
    ),
    (StoreKind.POSTGRES, FieldType(K.INT64), ColumnFact("c", "bit", length=8), "bits", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.MARIADB, FieldType(K.INT64), ColumnFact("c", "bit", precision=8), "", {P.ENCODING_MISSING}),
    (StoreKind.MARIADB, FieldType(K.INT64), ColumnFact("c", "bit", precision=8), "bits", set()),
    (StoreKind.POSTGRES, ARRAY, ColumnFact("c", "int4", is_array=True), "", set()),
    (StoreKind.POSTGRES, ARRAY, ColumnFact("c", "int4"), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.POSTGRES, ARRAY, ColumnFact("c", "text", is_array=True), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.POSTGRES, FieldType(K.INT32), ColumnFact("c", "int4", is_array=True), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.POSTGRES, FieldType(K.ENUM), ColumnFact("c", "mood", is_enum=True), "", set()),
    (StoreKind.POSTGRES, FieldType(K.INT32), ColumnFact("c", "mood", is_enum=True), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.POSTGRES, FieldType(K.STRING), ColumnFact("c", "tsvector"), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.MARIADB, FieldType(K.STRING), ColumnFact("c", "inet6"), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.MARIADB, FieldType(K.INTERVAL), ColumnFact("c", "varchar", charset="utf8mb4"), "", set()),
    (StoreKind.MARIADB, FieldType(K.INTERVAL), ColumnFact("c", "time"), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.MARIADB, ARRAY, ColumnFact("c", "longtext", charset="utf8mb4"), "", set()),
    (StoreKind.MARIADB, ARRAY, ColumnFact("c", "varchar"), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.MARIADB, FieldType(K.INT8), ColumnFact("c", "year"), "", {P.COLUMN_UNKNOWN_TYPE}),
    (StoreKind.MARIADB, FieldType(K.BITS), ColumnFact("c", "bit", precision=9), "", set()),
    (StoreKind.POSTGRES, FieldType(K.BITS), ColumnFact("c", "int4"), "", {P.COLUMN_UNKNOWN_TYPE}),
]


@pytest.mark.parametrize(("kind", "type_", "column", "encoding", "expected"), CASES)
def test_a_column_is_compared_with_its_contract_type(
    kind: StoreKind, type_: FieldType, column: ColumnFact, encoding: str, expected: set[Problem]
) -> None:
    """Unknown is refused, narrower and wider are told, and a unit that records do not tell must be stated."""
    assert problems_of(kind, type_, column, encoding) == expected


def test_records_with_a_schema_tell_their_units() -> None:
    """With a schema no encoding needs to be stated."""
    column = ColumnFact("c", "timestamp", precision=3)
    type_ = FieldType(K.LOCAL_TIMESTAMP, precision=3)
    assert problems_of(StoreKind.POSTGRES, type_, column, converter=Converter.JSON_SCHEMA) == set()


@pytest.mark.parametrize("kind", [k for k in FieldKind if k is not K.ARRAY])
def test_every_contract_type_has_a_column_type_in_postgresql(kind: FieldKind) -> None:
    """No kind of the contract is forgotten in the table of types."""
    names = ["bool", "int8", "numeric", "float4", "float8", "text", "bytea", "date", "time", "timestamp"]
    names += ["timestamptz", "interval", "uuid", "jsonb", "inet", "bit"]
    assert any(is_known(StoreKind.POSTGRES, FieldType(kind), ColumnFact("c", name)) for name in names)


def shipped(name: str, **changes: str | None) -> ConnectorFacts:
    """Return one of our own connector configurations, changed; None removes a setting."""
    config = json.loads((CONNECTORS / f"{name}.json").read_text())
    for key, value in changes.items():
        setting = key.replace("__", "-").replace("_", ".").replace("-", "_")
        config.pop(setting, None)
        if value is not None:
            config[setting] = value
    return ConnectorFacts(name, config)


def check(store: StoreUnderCheck, facts: ConnectorFacts) -> list[Found]:
    """Check a connector with the contract of these tests."""
    return list(connector_problems(store, facts, store.name, "ours-0123", [CONTRACT]))


SHIPPED = [(PG, "postgres-source"), (MY, "mariadb-source"), (DOCS, "mongodb-source")]


@pytest.mark.parametrize(("store", "name"), SHIPPED)
def test_the_connectors_that_we_ship_have_no_problem(store: StoreUnderCheck, name: str) -> None:
    """Our own files pass our own rules."""
    assert check(store, shipped(name)) == []


CONNECTOR_CASES: list[tuple[str, Mapping[str, str | None], Problem]] = [
    ("postgres-source", {"skipped_operations": None}, P.SKIPS_OPERATIONS),
    ("postgres-source", {"skipped_operations": "t"}, P.SKIPS_OPERATIONS),
    ("postgres-source", {"value_converter_replace_null_with_default": None}, P.REPLACES_NULL),
    ("postgres-source", {"value_converter_schemas_enable": "true"}, P.CONNECTOR_CONVERTER),
    ("postgres-source", {"value_converter_schemas_enable": None}, P.CONNECTOR_CONVERTER),
    ("postgres-source", {"value_converter": None}, P.CONVERTER_INHERITED),
    ("postgres-source", {"value_converter": "io.confluent.connect.avro.AvroConverter"}, P.REPLACES_NULL_ALWAYS),
    ("postgres-source", {"transforms": "unwrap"}, P.ALTERS_VALUES),
    ("postgres-source", {"column_mask_hash": "x"}, P.ALTERS_VALUES),
    ("postgres-source", {"column_truncate_to_20_chars": "public.orders.status"}, P.ALTERS_VALUES),
    ("postgres-source", {"message_key_columns": "public.orders:n"}, P.ALTERS_VALUES),
    ("postgres-source", {"decimal_handling_mode": None}, P.DECIMAL_MODE),
    ("postgres-source", {"decimal_handling_mode": "double"}, P.DECIMAL_MODE),
    ("postgres-source", {"time_precision_mode": "connect"}, P.TIME_MODE),
    ("postgres-source", {"unavailable_value_placeholder": None}, P.PLACEHOLDER),
    ("postgres-source", {"unavailable_value_placeholder": "__debezium_unavailable_value"}, P.PLACEHOLDER),
    ("postgres-source", {"table_include_list": r"public\.customers,driftline\..*"}, P.NOT_CAPTURED),
    ("postgres-source", {"table_include_list": r"public\..*"}, P.NOT_CAPTURED),
    ("postgres-source", {"schema_exclude_list": "public"}, P.NOT_CAPTURED),
    ("postgres-source", {"column_exclude_list": None}, P.BEFORE_IMAGE_CAPTURED),
    ("postgres-source", {"column_exclude_list": r"driftline\..*before_image,public\.orders\.n"}, P.LEAVES_COLUMN_OUT),
    ("postgres-source", {"exactly_once_support": None}, P.NOT_EXACTLY_ONCE),
    ("postgres-source", {"snapshot_mode": "no_data"}, P.NO_SNAPSHOT),
    ("postgres-source", {"snapshot_select_statement_overrides": "public.orders"}, P.NO_SNAPSHOT),
    ("mariadb-source", {"snapshot_include_collection_list": "shop.orders"}, P.NO_SNAPSHOT),
    ("postgres-source", {"signal_data_collection": None}, P.NO_SIGNALS),
    ("postgres-source", {"incremental_snapshot_chunk_size": "999"}, P.SMALL_CHUNKS),
    ("postgres-source", {"offset_mismatch_strategy": None}, P.SLOT_UNGUARDED),
    ("postgres-source", {"offset_mismatch_strategy": "trust_slot"}, P.SLOT_UNGUARDED),
    ("postgres-source", {"lsn_flush_mode": "connector_and_driver"}, P.SLOT_UNGUARDED),
    ("postgres-source", {"slot_drop_on_stop": "true"}, P.SLOT_UNGUARDED),
    ("mariadb-source", {"gtid_source_excludes": "0-7"}, P.GTID_FILTERED),
    ("mongodb-source", {"capture_mode": "change_streams"}, P.LOOKED_UP),
    ("mongodb-source", {"capture_mode_full_update_type": None}, P.LOOKED_UP),
    ("mongodb-source", {"cursor_pipeline": None}, P.ORDERED_BY_CLOCK),
    ("mongodb-source", {"cursor_pipeline": '[{"$match": {"operationType": "insert"}}]'}, P.ORDERED_BY_CLOCK),
    ("mongodb-source", {"snapshot_mode": None}, P.INITIAL_READ),
    ("mongodb-source", {"snapshot_mode": "initial"}, P.INITIAL_READ),
    ("mongodb-source", {"snapshot_mode": "when_needed"}, P.INITIAL_READ),
    ("mongodb-source", {"snapshot_include_collection_list": "shop.orders"}, P.NO_SNAPSHOT),
    ("mongodb-source", {"database_include_list": "shop"}, P.NOT_CAPTURED),
    ("mongodb-source", {"collection_include_list": r"shop\..*"}, P.NOT_CAPTURED),
    ("mongodb-source", {"collection_exclude_list": r"driftline\.driftline_beacon"}, P.NOT_CAPTURED),
    ("mongodb-source", {"field_exclude_list": None}, P.BEFORE_IMAGE_CAPTURED),
    ("mongodb-source", {"field_renames": "shop.orders.n:m"}, P.ALTERS_VALUES),
    ("postgres-source", {"errors_tolerance": "all"}, P.DROPS_EVENTS),
    ("postgres-source", {"database_password": "hunter2"}, P.SECRET_IN_CONFIG),
    ("postgres-source", {"topic_prefix": "shop"}, P.CONNECTOR_PREFIX),
    ("postgres-source", {"connector_class": "io.debezium.connector.mysql.MySqlConnector"}, P.CONNECTOR_CLASS),
    ("postgres-source", {"event_converting_failure_handling_mode": None}, P.NULL_FOR_FAULT),
    ("mariadb-source", {"event_converting_failure_handling_mode": "skip"}, P.NULL_FOR_FAULT),
    ("mariadb-source", {"event_processing_failure_handling_mode": "warn"}, P.DROPS_EVENTS),
    ("mariadb-source", {"inconsistent_schema_handling_mode": "skip"}, P.DROPS_EVENTS),
    ("mariadb-source", {"database_include_list": "shop"}, P.NOT_CAPTURED),
    ("mariadb-source", {"enable_time_adjuster": None}, P.TIME_ADJUSTED),
]


@pytest.mark.parametrize(("name", "changes", "expected"), CONNECTOR_CASES)
def test_a_connector_that_would_make_verdicts_lie_is_found(
    name: str, changes: Mapping[str, str | None], expected: Problem
) -> None:
    """One setting of a good connector is changed or left at Debezium's default, and found."""
    (store,) = (store for store, shipped_name in SHIPPED if shipped_name == name)
    assert expected in codes(check(store, shipped(name, **changes)))


def test_a_slot_is_guarded_by_the_former_name_of_its_setting_too() -> None:
    """Debezium before 3.4 knows only that one."""
    old = {"offset_mismatch_strategy": None, "slot_seek_to_known_offset_on_start": "true"}
    assert check(PG, shipped("postgres-source", **old)) == []


def test_what_connect_says_against_exactly_once_support_is_found() -> None:
    """The worker's own setting shows only there."""
    said = "This worker does not have exactly-once source support enabled."
    (found,) = check(PG, dataclasses.replace(shipped("postgres-source"), exactly_once_refusal=said))
    assert (found.problem, found.detail) == (P.NOT_EXACTLY_ONCE, said)


@pytest.mark.parametrize(
    ("mode", "large", "expected"),
    [
        ("bytes", True, set()),
        ("base64", False, set()),
        ("base64", True, {P.BINARY_MODE}),
        ("hex", False, {P.BINARY_MODE}),
    ],
)
def test_a_mode_in_which_large_bytes_become_null_is_found(mode: str, large: bool, expected: set[Problem]) -> None:  # noqa: FBT001 - a case
    """PostgreSQL's connector sends the placeholder of bytes only as bytes."""
    contract = dataclasses.replace(CONTRACT, fields=(a_field("scan", K.BYTES, large=large),))
    facts = shipped("postgres-source", binary_handling_mode=mode)
    assert codes(connector_problems(PG, facts, "pg", "ours-0123", [contract])) == expected


@pytest.mark.parametrize(
    ("store", "name", "kind", "setting", "expected"),
    [
        (PG, "postgres-source", K.INTERVAL, "interval_handling_mode", P.INTERVAL_MODE),
        (MY, "mariadb-source", K.UINT64, "bigint_unsigned_handling_mode", P.UNSIGNED_MODE),
    ],
)
def test_a_mode_is_asked_for_where_a_field_needs_it(
    store: StoreUnderCheck, name: str, kind: FieldKind, setting: str, expected: Problem
) -> None:
    """Debezium's default loses months, or numbers beyond 63 bits; without such a field it loses nothing."""
    facts = shipped(name, **{setting: None})
    contract = dataclasses.replace(CONTRACT, fields=(a_field("f", kind),))
    assert codes(connector_problems(store, facts, store.name, "ours-0123", [contract])) == {expected}
    assert check(store, facts) == []


def test_our_own_placeholder_may_stand_in_plain_and_another_not() -> None:
    """A text that is not the deployment's own would be read as a value."""
    assert check(PG, shipped("postgres-source", unavailable_value_placeholder="ours-0123")) == []
    assert codes(check(PG, shipped("postgres-source", unavailable_value_placeholder="theirs"))) == {P.PLACEHOLDER}


def test_debezium_s_own_placeholder_is_refused_whatever_is_known_of_ours() -> None:
    """Its default text is a value like any other, even where the deployment names the same."""
    facts = shipped("postgres-source", unavailable_value_placeholder=None)
    for ours in ("", DEFAULT_PLACEHOLDER):
        assert codes(connector_problems(PG, facts, "pg", ours, [CONTRACT])) == {P.PLACEHOLDER}


@pytest.mark.parametrize(
    ("state", "tasks", "expected"),
    [
        ("RUNNING", ("FAILED",), {P.CONNECTOR_FAILED}),
        ("RUNNING", (), {P.CONNECTOR_FAILED}),
        ("PAUSED", ("PAUSED",), {P.CONNECTOR_PAUSED}),
        ("RUNNING", ("RUNNING",), set()),
    ],
)
def test_a_connector_that_does_not_run_is_found(state: str, tasks: tuple[str, ...], expected: set[Problem]) -> None:
    """The connector may say RUNNING while its task has failed."""
    facts = dataclasses.replace(shipped("postgres-source"), state=state, task_states=tasks)
    assert codes(check(PG, facts)) == expected


def test_lists_are_matched_as_debezium_does() -> None:
    """Whole names, any case, expressions apart by commas that are not escaped."""
    assert is_listed(r"public\.orders, other", "PUBLIC.orders")
    assert not is_listed(r"public\.order", "public.orders")
    assert is_listed("(?<x", "(?<x")
    assert not is_listed("", "public.orders")


def test_topics_that_are_missing_or_misshapen_are_found() -> None:
    """CDC topics, the topics of our own tables, and our own."""
    good = {
        "pg.public.orders": TopicFact("pg.public.orders", 3),
        "my.shop.orders": TopicFact("my.shop.orders", 3),
        **{f"pg.driftline.{t}": TopicFact(t, 1) for t in OWN_TABLES[:3]},
        "d.status.v1": TopicFact("d.status.v1", 1, {"cleanup.policy": "compact"}),
    }

    def found(topics: Mapping[str, TopicFact]) -> set[Problem]:
        return codes(topic_problems(topics, [CONTRACT], [(PG, "pg")], {"d.status.v1": 1}))

    assert found(good) == set()
    for name in good:
        assert found({other: fact for other, fact in good.items() if other != name}) == {P.TOPIC_MISSING}
    assert found({**good, "my.shop.orders": TopicFact("my.shop.orders", 4)}) == {P.TOPIC_PARTITIONS}
    unclean = TopicFact("my.shop.orders", 3, {"unclean.leader.election.enable": "true"})
    assert found({**good, "my.shop.orders": unclean}) == {P.TOPIC_UNCLEAN}
    compacted = TopicFact("my.shop.orders", 3, {"cleanup.policy": "compact,delete"})
    assert found({**good, "my.shop.orders": compacted}) == {P.TOPIC_COMPACTED}


def test_every_problem_says_what_it_means_and_what_to_do() -> None:
    """The list is closed: codes are unique, and none is without meaning and hint."""
    assert len({p.code for p in Problem}) == len(Problem)
    assert all(p.meaning and p.hint and isinstance(p.severity, Severity) for p in Problem)


def test_what_holds_every_repair_of_a_target_is_told_with_the_fences_that_stand_elsewhere() -> None:
    """The store's own and each shard's; a row that names no shard of the store holds nothing."""
    tokens = FenceTokens({"my": 2}, {"orders/my/1": 3, "orders/pg/1": 9})
    shards = {"orders/my/1": 3}

    def found(flags: Fence) -> list[tuple[Problem, str]]:
        return [(each.problem, f"{each.where} {each.detail}") for each in fence_problems("my", flags, tokens)]

    assert found(Fence(2, shards={**shards, "orders/my/7": 0, "mine": 4, "orders/pg/2": 4})) == []
    stopped = Fence(2, is_stopped=True, is_another_server=True, shards=shards)
    assert [problem for problem, _ in found(stopped)] == [P.REPAIRS_STOPPED, P.ANOTHER_SERVER]
    assert found(Fence(4, shards={"orders/my/0": 5})) == [
        (P.FENCE_DIFFERS, "store my it stands at 4, fence_token is 2"),
        (P.FENCE_DIFFERS, "store my, shard orders/my/0 it stands at 5, its token is 0"),
        (P.FENCE_DIFFERS, "store my, shard orders/my/1 it stands at 0, its token is 3"),
    ]
