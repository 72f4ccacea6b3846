# ruff: noqa: S608 - constants of these tests stand in the statements, never input
"""The same table of things in memory, PostgreSQL, MariaDB and MongoDB, and an application that writes it beside us."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from app.adapters.memory_rows import CHAIN_KEY, MemoryRows
from app.adapters.mysql_rows import MysqlRows
from app.adapters.own_tables import run, statements
from app.adapters.postgres_rows import PostgresRows
from app.core.canonical_key import key_writer
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
from app.core.store import Converter, StoreKind
from app.ports import RowStore
from app.settings import RoleSettings, StoreSettings

ENTITY = "things"
DIGEST_KEY = b"d" * 32
ID = FieldType(FieldKind.INT64)
STORES = {StoreKind.POSTGRES: "pg", StoreKind.MARIADB: "my"}
SCHEMA = "applier_test"
OWN_SCHEMA = "applier_test_own"
FIELDS = {
    "name": FieldType(FieldKind.STRING),
    "code": FieldType(FieldKind.STRING),
    "amount": FieldType(FieldKind.DECIMAL, scale=2),
    "seen": FieldType(FieldKind.INSTANT),
}


def key_of(number: int) -> bytes:
    """Return the canonical key of a thing."""
    return key_writer(ID)(number)


def thing(
    name: str | None = "a", code: str = "c", amount: str = "1.5", seen: int = 1_700_000_000_123_456
) -> dict[str, object]:
    """Return a thing's canonical values."""
    return {"name": name, "code": code, "amount": amount, "seen": seen}


def contract(authority: StoreKind = StoreKind.POSTGRES, *, deletes: bool = True) -> EntityContract:
    """Return the contract of things; the other store is its replica."""
    columns = dict.fromkeys(STORES.values(), "id")
    replica = STORES[StoreKind.MARIADB if authority is StoreKind.POSTGRES else StoreKind.POSTGRES]
    policy = RepairPolicy(mode=RepairMode.APPLY, deletes=deletes, deletes_wait=False)
    return EntityContract(
        entity=ENTITY,
        version=1,
        number=7,
        key=(KeyField("id", ID, columns),),
        fields=tuple(Field(n, t, dict.fromkeys(STORES.values(), COLUMNS[n])) for n, t in FIELDS.items()),
        authority=STORES[authority],
        stores=tuple(StoreTable(store, f"{SCHEMA}.things", f"{store}.things") for store in STORES.values()),
        replicas=(Replica(replica, window_ms=3_000, quiet_for_ms=30_000, repair=policy),),
    )


# A name with every character that quoting or a driver's formatting could trip over.
COLUMNS = {"name": 'na"m`e 100%s', "code": "code", "amount": "amount", "seen": "seen"}


class World(ABC):
    """One store with a table of things, as the application and an administrator see it."""

    store: RowStore
    chain_key = DIGEST_KEY
    unheld: Mapping[str, object] = thing(name="longer than the column is wide")
    """What a thing of the store cannot hold."""
    is_locked_by_snapshot = False
    """Whether it is a write that meets another session's lock, and not the lock."""

    @abstractmethod
    def put(self, number: int, values: Mapping[str, object] | None) -> None:
        """Write or delete a thing and commit, as the application does."""

    @abstractmethod
    def hold(self, number: int) -> Any:  # noqa: ANN401 - a context manager
        """Keep a thing locked by another session."""

    @abstractmethod
    def require_a_column(self) -> None:
        """Let the table need a value that the contract does not know."""

    @abstractmethod
    def make_unsafe(self) -> None:
        """Let the table have no transactions."""

    @abstractmethod
    def raise_fence(self, token: int) -> None:
        """Fence the store."""

    @abstractmethod
    def fence_shard(self, shard: str, token: int) -> None:
        """Fence one shard for itself."""

    @abstractmethod
    def stop(self) -> None:
        """Raise the flag that stops all writing."""

    @abstractmethod
    def forge(self, row_id: bytes, column: str, value: object) -> None:
        """Change a column of a ledger row, as who may change rows can."""

    @abstractmethod
    def take_any_partition(self) -> None:
        """Let the ledger take rows of any partition."""

    @abstractmethod
    def forget(self) -> None:
        """Let the store know nothing but what it asks for."""


class MemoryWorld(World):
    """Things in memory."""

    chain_key = CHAIN_KEY

    def __init__(self) -> None:
        self.rows = MemoryRows(tuple(FIELDS), unique="code", holds=_narrow)
        self.store: RowStore = self.rows

    def put(self, number: int, values: Mapping[str, object] | None) -> None:
        """Write or delete a thing."""
        self.rows.put(ENTITY, key_of(number), None if values is None else {**values, "outside": "theirs"})

    @contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Lock a thing."""
        let_go = self.rows.hold(ENTITY, key_of(number))
        yield
        let_go()

    def require_a_column(self) -> None:
        """Need a column."""
        self.rows.required = ("needed",)

    def make_unsafe(self) -> None:
        """Know no transactions."""
        self.rows.is_transactional = False

    def raise_fence(self, token: int) -> None:
        """Fence it."""
        self.rows.flags = Fence(token)

    def fence_shard(self, shard: str, token: int) -> None:
        """Fence a shard."""
        self.rows.flags = replace(self.rows.flags, shards={shard: token})

    def stop(self) -> None:
        """Raise the flag that stops all writing."""
        self.rows.flags = Fence(0, is_stopped=True)

    def forge(self, row_id: bytes, column: str, value: object) -> None:
        """Do nothing: nobody else comes to this ledger."""

    def take_any_partition(self) -> None:
        """Do nothing: it takes any."""

    def forget(self) -> None:
        """Do nothing: it asks for all."""


def _narrow(column: str, value: object) -> object:
    return value[:20] if column == "name" and isinstance(value, str) else value


def settings_of(kind: StoreKind, told: dict[str, Any], folder: Path) -> StoreSettings:
    """Return the settings of a store of the stack, with logins of these tests' own."""
    admin = "postgres" if kind is StoreKind.POSTGRES else "root"
    roles = {"admin": RoleSettings(admin, Path(told["roles"][admin]["password_file"]))}
    for role in ("beacon", "read", "apply"):
        file = folder / f"{kind.value}-{role}"
        file.write_text(f"a test's '{role}' word")
        roles[role] = RoleSettings(f"applier_test_{role}", file)
    return StoreSettings(
        name=STORES[kind],
        kind=kind,
        topic_prefix="unused",
        converter=Converter.JSON,
        host=told["host"],
        port=told["port"],
        database=told["database"],
        schema=OWN_SCHEMA,
        roles=roles,
    )


class SqlWorld(World):
    """Things in a database."""

    def __init__(self, settings: StoreSettings, agreed: EntityContract) -> None:
        self.settings = settings
        self.agreed = agreed
        self.admin = self.connect_admin()
        self.other = self.connect_admin()
        self.other_begin()
        self.clean()
        for statement in self.ddl():
            self.execute(statement)
        assert run(settings, statements(settings, [agreed])) == []
        kind = PostgresRows if settings.kind is StoreKind.POSTGRES else MysqlRows
        self.sql = kind(settings, [agreed], DIGEST_KEY)
        self.store: RowStore = self.sql

    @abstractmethod
    def connect_admin(self) -> Any:  # noqa: ANN401 - either driver's
        """Connect as the administrator, committing each statement."""

    @abstractmethod
    def other_begin(self) -> None:
        """Let the other session of the application stay in a transaction."""

    @abstractmethod
    def ddl(self) -> list[str]:
        """Return the table of things."""

    @abstractmethod
    def clean(self) -> None:
        """Drop what these tests made."""

    def execute(self, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement as the administrator, without formatting if there are no parameters."""
        cursor = self.admin.cursor()
        cursor.execute(text, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []

    def quoted(self, name: str) -> str:
        """Quote a name for a statement with parameters."""
        mark = '"' if self.settings.kind is StoreKind.POSTGRES else "`"
        return mark + name.replace(mark, mark * 2).replace("%", "%%") + mark

    def put(self, number: int, values: Mapping[str, object] | None) -> None:
        """Write or delete a thing."""
        self.execute(f"DELETE FROM {SCHEMA}.things WHERE id = %s", number)
        if values is not None:
            names = ", ".join(self.quoted(COLUMNS[n]) for n in values)
            marks = ", ".join(self.seen_mark if n == "seen" else "%s" for n in values)
            self.execute(f"INSERT INTO {SCHEMA}.things (id, {names}) VALUES (%s, {marks})", number, *values.values())

    seen_mark: str

    @contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Lock a thing, or its key if it is absent, in the other session."""
        cursor = self.other.cursor()
        cursor.execute(f"UPDATE {SCHEMA}.things SET outside = 'held' WHERE id = %s", (number,))
        if cursor.rowcount == 0:
            cursor.execute(f"INSERT INTO {SCHEMA}.things (id, code) VALUES (%s, 'held')", (number,))
        try:
            yield
        finally:
            self.other.rollback()

    def require_a_column(self) -> None:
        """Need a column."""
        self.execute(f"ALTER TABLE {SCHEMA}.things ADD COLUMN needed integer NOT NULL DEFAULT 1")
        self.execute(f"ALTER TABLE {SCHEMA}.things ALTER COLUMN needed DROP DEFAULT")

    def raise_fence(self, token: int) -> None:
        """Fence it."""
        self.execute(f"UPDATE {OWN_SCHEMA}.driftline_fence SET token = %s WHERE scope = '*'", token)

    def fence_shard(self, shard: str, token: int) -> None:
        """Fence a shard."""
        self.execute(f"INSERT INTO {OWN_SCHEMA}.driftline_fence (scope, token) VALUES (%s, %s)", shard, token)

    @abstractmethod
    def waiting_sessions(self) -> int:
        """Return how many sessions wait for a lock of another."""

    def stop(self) -> None:
        """Raise the flag that stops all writing."""
        self.execute(f"UPDATE {OWN_SCHEMA}.driftline_fence SET token = 1 WHERE scope = 'stop'")

    def forge(self, row_id: bytes, column: str, value: object) -> None:
        """Change a column of a ledger row."""
        self.execute(
            f"UPDATE {OWN_SCHEMA}.driftline_ledger SET {column} = %s WHERE command_id = %s", value, row_id.hex()
        )

    def take_any_partition(self) -> None:
        """Let the ledger take rows of any partition."""
        self.execute(f"ALTER TABLE {OWN_SCHEMA}.driftline_ledger DROP CONSTRAINT driftline_ledger_partition")

    def forget(self) -> None:
        """Let both connections go."""
        self.sql.close()

    def close(self) -> None:
        """Leave nothing behind."""
        self.sql.close()
        self.other.rollback()
        self.clean()
        self.other.close()
        self.admin.close()


class PostgresWorld(SqlWorld):
    """Things in PostgreSQL."""

    def waiting_sessions(self) -> int:
        """Ask the catalogue."""
        return int(self.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0][0])

    seen_mark = "to_timestamp(0) + %s * interval '1 microsecond'"

    def connect_admin(self) -> Any:  # noqa: ANN401 - as above
        """Connect as the administrator."""
        role = self.settings.role("admin")
        return psycopg.connect(
            host=self.settings.host,
            port=self.settings.port,
            dbname=self.settings.database,
            user=role.user,
            password=role.password(),
            autocommit=True,
        )

    def other_begin(self) -> None:
        """Stay in a transaction, beside nobody else.

        A vacuum that gives pages back locks the table for some milliseconds. Where that is a catalog, pg_statistic
        say, it is every statement's, and rightly holds a repair: these tests tell who locks what, and when.
        """
        self.other.autocommit = False
        self.execute("ALTER SYSTEM SET autovacuum = off")
        self.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        while self.execute("SELECT 1 FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%'"):
            assert time.monotonic() < deadline, "autovacuum does not end"
            time.sleep(0.01)

    def close(self) -> None:
        """Leave nothing behind, and the server its housekeeping."""
        self.execute("ALTER SYSTEM RESET autovacuum")
        self.execute("SELECT pg_reload_conf()")
        super().close()

    def ddl(self) -> list[str]:
        """Return the table of things."""
        return [
            f"CREATE SCHEMA {SCHEMA}",
            f"CREATE TABLE {SCHEMA}.audit (what text)",
            f"""CREATE TABLE {SCHEMA}.things (id bigint PRIMARY KEY, "na""m`e 100%s" varchar(20), code text UNIQUE,
                amount numeric(12,2), seen timestamptz(6), outside text DEFAULT 'theirs')""",
        ]

    def clean(self) -> None:
        """Drop what these tests made."""
        self.execute(f"DROP SCHEMA IF EXISTS {SCHEMA}, {OWN_SCHEMA} CASCADE")
        for role in ("beacon", "read", "apply"):
            user = f"applier_test_{role}"
            if self.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", user):
                self.execute(f"DROP OWNED BY {user}")
                self.execute(f"DROP ROLE {user}")

    def make_unsafe(self) -> None:
        """Put a view in the table's place: nothing there can be locked."""
        self.execute(f"ALTER TABLE {SCHEMA}.things RENAME TO hidden")
        self.execute(f"CREATE VIEW {SCHEMA}.things AS SELECT * FROM {SCHEMA}.hidden")


class MariadbWorld(SqlWorld):
    """Things in MariaDB."""

    def waiting_sessions(self) -> int:
        """Ask the engine."""
        return int(self.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")[0][1])

    seen_mark = "'1970-01-01' + INTERVAL %s MICROSECOND"

    def connect_admin(self) -> Any:  # noqa: ANN401 - as above
        """Connect as the administrator."""
        role = self.settings.role("admin")
        return pymysql.connect(
            host=self.settings.host,
            port=self.settings.port,
            user=role.user,
            password=role.password(),
            autocommit=True,
            init_command="SET SESSION time_zone = '+00:00'",
        )

    def other_begin(self) -> None:
        """Stay in a transaction."""
        self.other.autocommit(False)

    def ddl(self) -> list[str]:
        """Return the table of things."""
        return [
            f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            f"CREATE TABLE {SCHEMA}.audit (what text) ENGINE = InnoDB",
            f"""CREATE TABLE {SCHEMA}.things (id bigint PRIMARY KEY, `na"m``e 100%s` varchar(20),
                code varchar(190) UNIQUE, amount decimal(12,2), seen datetime(6), outside text DEFAULT 'theirs',
                ratio float DEFAULT 0.1, raw varbinary(9) DEFAULT 0x00ff) ENGINE = InnoDB""",
        ]

    def clean(self) -> None:
        """Drop what these tests made."""
        for schema in (SCHEMA, OWN_SCHEMA):
            self.execute(f"DROP DATABASE IF EXISTS {schema}")
        for role in ("beacon", "read", "apply"):
            self.execute(f"DROP USER IF EXISTS applier_test_{role}@'%'")

    def make_unsafe(self) -> None:
        """Let the engine be one without transactions."""
        self.execute(f"ALTER TABLE {SCHEMA}.things ENGINE = MyISAM")


def sql_world(kind: StoreKind, told: dict[str, Any], folder: Path) -> SqlWorld:
    """Return an empty table of things in a server that the stack tells of.

    It is the replica, so that its role may write; the authority would be of the other kind.
    """
    settings = settings_of(kind, told, folder)
    if kind is StoreKind.POSTGRES:
        return PostgresWorld(settings, contract(StoreKind.MARIADB))
    return MariadbWorld(settings, contract(StoreKind.POSTGRES))
