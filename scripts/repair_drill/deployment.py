"""The drill's deployment: one table in both databases for each direction, one that stands in no contract, and settings.

Each table has two columns that the contract does not name, and `story`, which a trigger keeps: it appends one letter to
the row for each write, `a` for the applier and `w` for anybody else. It belongs to the row, so that it adds nothing to
what the applier may touch, and goes with it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psycopg
import pymysql
from repair_judge.story import COLUMNS, Row

NAME: Final = "repairs"
PROJECT: Final = Path(__file__).resolve().parents[2]
SCHEMA: Final = "drill"
OWN: Final = "driftline"
APPLIER_ROLE: Final = "drill_apply"
ELSEWHERE: Final = f"{SCHEMA}.elsewhere"
PARTITIONS: Final = 2
_CONTRACT: Final = """
entity: {entity}
version: 1
authority: {{store: {authority}, table: {schema}.{entity}}}
replicas:
  - store: {target}
    table: {schema}.{entity}
    window_ms: 3000
    repair: {{mode: apply, deletes: true, deletes_wait: false}}
key:
  id: {{type: int64}}
fields:
  name: {{type: string}}
  price: {{type: decimal, scale: 2}}
  paid: {{type: bool}}
  bought_at: {{type: instant}}
"""
_POSTGRES_TABLE: Final = """
CREATE TABLE {table} (id bigint PRIMARY KEY, name text, price numeric(12,2), paid boolean, bought_at timestamptz,
    note text, scan bytea, story text NOT NULL DEFAULT '')
"""
_MARIADB_TABLE: Final = """
CREATE TABLE {table} (id bigint PRIMARY KEY, name varchar(60), price decimal(12,2), paid boolean,
    bought_at datetime(6), note varchar(60), scan varbinary(16), story varchar(60) NOT NULL DEFAULT '') ENGINE = InnoDB
"""
_POSTGRES_STORY: Final = """
CREATE FUNCTION {schema}.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.story = NEW.story || CASE WHEN session_user = '{role}' THEN 'a' ELSE 'w' END; RETURN NEW; END $$
"""
_MARIADB_STORY: Final = "SET NEW.story = concat({whose}.story, IF(user() LIKE '{role}@%', 'a', 'w'))"
_ROWS_AT_ONCE: Final = 1_000
_EPOCH: Final = datetime(2026, 1, 1)  # noqa: DTZ001 - UTC in both databases, and one of them knows no zones


@dataclass(frozen=True, slots=True)
class Direction:
    """Which store is repaired from which, and the entity whose rows are."""

    target: str
    authority: str
    entity: str

    @property
    def table(self) -> str:
        """The table in both stores."""
        return f"{SCHEMA}.{self.entity}"


DIRECTIONS: Final = {
    "postgres": Direction("pg", "my", "wares"),
    "mariadb": Direction("my", "pg", "goods"),
}
SERVERS: Final = {"pg": "postgres", "my": "mariadb"}
_ADMINS: Final = {"pg": "postgres", "my": "root"}


class Failed(RuntimeError):
    """A command of the product failed that the drill rests on."""


def some_row(chance: random.Random, name: str) -> Row:
    """Return the values of a row that no other has."""
    at = _EPOCH + timedelta(microseconds=chance.randrange(10**13))
    return (
        name,
        Decimal(chance.randrange(10**6)) / 100,
        chance.randrange(2),
        at,
        f"note of {name}",
        chance.randbytes(8),
    )


class Deployment:
    """Files, tables and commands; `told` is the stack's description."""

    def __init__(self, folder: Path, told: dict[str, Any], name: str) -> None:
        self.folder = folder
        self.name = name
        self._told = told
        self.config = folder / "driftline.yaml"

    @property
    def bootstrap(self) -> str:
        """The broker."""
        return str(self._told["kafka"]["bootstrap"])

    # -- databases ------------------------------------------------------------------------------------------------

    def connect(self, store: str) -> Any:  # noqa: ANN401 - a connection of either driver
        """Connect as the application does, each statement a transaction."""
        told = self._told[SERVERS[store]]
        admin = _ADMINS[store]
        password = Path(told["roles"][admin]["password_file"]).read_text(encoding="utf-8").strip()
        if store == "pg":
            return psycopg.connect(
                host=told["host"],
                port=told["port"],
                dbname=told["database"],
                user=admin,
                password=password,
                autocommit=True,
                connect_timeout=5,
                options="-c timezone=UTC",
            )
        return pymysql.connect(
            host=told["host"],
            port=told["port"],
            user=admin,
            password=password,
            autocommit=True,
            connect_timeout=5,
            client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
            init_command="SET SESSION time_zone = '+00:00'",
        )

    def ask(self, store: str, text: str) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own; return its rows."""
        with self.connect(store) as connection:
            cursor = connection.cursor()
            cursor.execute(text)
            return list(cursor.fetchall()) if cursor.description else []

    def fill(self, store: str, table: str, rows: Iterable[tuple[int, Row]]) -> None:
        """Insert rows as they are before anything is told of them."""
        names, marks = ", ".join(("id", *COLUMNS)), ", ".join(["%s"] * (len(COLUMNS) + 1))
        text = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - names of the drill
        values = [(number, *for_store(store, row)) for number, row in rows]
        with self.connect(store) as connection:
            for at in range(0, len(values), _ROWS_AT_ONCE):
                connection.cursor().executemany(text, values[at : at + _ROWS_AT_ONCE])

    def make_tables(self) -> None:
        """Make all tables in both stores, empty."""
        self.ask("pg", f"CREATE SCHEMA {SCHEMA}")
        self.ask("my", f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        for table in (*(way.table for way in DIRECTIONS.values()), ELSEWHERE):
            self.ask("pg", _POSTGRES_TABLE.format(table=table))
            self.ask("my", _MARIADB_TABLE.format(table=table))

    def tell_stories(self) -> None:
        """Let the triggers write from now on."""
        self.ask("pg", _POSTGRES_STORY.format(schema=SCHEMA, role=APPLIER_ROLE))
        for table in (*(way.table for way in DIRECTIONS.values()), ELSEWHERE):
            when = f"BEFORE INSERT OR UPDATE ON {table}"
            self.ask("pg", f"CREATE TRIGGER tell {when} FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.tell()")
            for event, whose in (("INSERT", "NEW"), ("UPDATE", "OLD")):
                told = _MARIADB_STORY.format(whose=whose, role=APPLIER_ROLE.replace("_", "\\_"))
                self.ask("my", f"CREATE TRIGGER {table}_{event} BEFORE {event} ON {table} FOR EACH ROW {told}")

    # -- the product ----------------------------------------------------------------------------------------------

    def write_files(self) -> None:
        """Write settings and contracts."""
        stores = {}
        for store, server in SERVERS.items():
            told = self._told[server]
            logins = {
                role: {"user": f"drill_{role}", "password_file": f"keys/{server}-{role}"}
                for role in ("beacon", "read", "apply")
            }
            stores[store] = {
                "kind": server,
                "topic_prefix": store,
                "converter": "json",
                "host": told["host"],
                "port": told["port"],
                "database": told["database"] if store == "pg" else SCHEMA,
                "schema": OWN,
                "roles": {"admin": told["roles"][_ADMINS[store]], "capture": told["roles"]["cdc_feed"], **logins},
            }
        settings = {
            "deployment": self.name,
            "bootstrap": self.bootstrap,
            "keys_dir": "keys",
            "approver_key_file": "keys/approver.key",
            "state_dir": "state",
            "contracts_dir": "contracts",
            "placeholder_file": "keys/placeholder",
            "partitions": PARTITIONS,
            # As much as may be said: the drill asks what a repair does, not how many there may be.
            "applier": {
                "writes_per_minute": 1_000_000,
                "deletes_per_minute": 1_000_000,
                "same_row_per_hour": 10_000,
                "writes_per_s": 100_000,
            },
            "stores": stores,
        }
        self.config.write_text(json.dumps(settings), encoding="ascii")
        (self.folder / "contracts").mkdir()
        for way in DIRECTIONS.values():
            text = _CONTRACT.format(entity=way.entity, authority=way.authority, target=way.target, schema=SCHEMA)
            (self.folder / "contracts" / f"{way.entity}.yaml").write_text(text, encoding="ascii")

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command of the product to its end, with the exit code that it shall have; return what it told."""
        call = [sys.executable, "-m", "app", "--config", str(self.config), *arguments]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        if done.returncode != code:
            raise Failed(f"driftline {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-1_500:]}")
        return done.stdout

    def init(self) -> None:
        """Make topics, roles, own tables and keys, and let an approver say that repairs may be made."""
        self.run("init", "--yes")
        self.run("keys", "make", "approver", "anna")
        self.run("resume")


def for_store(store: str, row: Sequence[object]) -> tuple[object, ...]:
    """Return a row's values, or the first of them, as the store's driver takes them."""
    name, price, paid, at, *others = row
    if store == "pg":
        return (name, price, bool(paid), f"{at}+00", *others)
    return tuple(row)
