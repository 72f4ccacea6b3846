"""`driftline check` against real databases, Connect and Kafka: what is right passes, what would lie is named."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from app.cli.exit_codes import ExitCode
from app.cli.main import run
from tests.integration.running_stack import running_stack

pytestmark = pytest.mark.stack

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
ROWS = 30

POSTGRES = """
CREATE TABLE {table} (id bigint PRIMARY KEY, name text, price numeric(12,2), at timestamptz NOT NULL,
  seen timestamp(3) NOT NULL, body text, vip boolean NOT NULL);
ALTER TABLE {table} ALTER COLUMN body SET STORAGE EXTERNAL;
INSERT INTO {table} SELECT i, 'Zürich 🎉 ' || i, i * 1.37, now() + i * interval '1 h 1.123456 s', now(),
  repeat('x', 9000), i % 2 = 0 FROM generate_series(1, {rows}) i;
UPDATE {table} SET vip = NOT vip WHERE id < 10
"""
MARIADB = """
CREATE TABLE {table} (id bigint PRIMARY KEY, name longtext, price decimal(12,2), at datetime(6) NOT NULL,
  seen datetime(3) NOT NULL, body longtext, vip tinyint(1) NOT NULL)
  ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO {table} SELECT seq, concat('Zürich 🎉 ', seq), seq * 1.37, now(6), now(3), repeat('x', 9000), seq % 2
  FROM seq_1_to_{rows}
"""
CONTRACT = """
entity: {table}
version: 1
authority: {{store: pg, table: public.{table}}}
replicas:
  - {{store: my, table: shop.{table}, window_ms: 3000, repair: {{mode: apply}}}}
key:
  id: {{type: int64}}
fields:
  name: {{type: string, large: true}}
  price: {{type: decimal, scale: 2}}
  at: {{type: instant}}
  seen: {{type: local_timestamp, precision: 3, encodings: {{pg: millis, my: millis}}}}
  body: {{type: string, large: true}}
  vip: {{type: bool}}
"""


@dataclass(frozen=True)
class World:
    """A table of its own in both databases of the stack, with a deployment that watches it."""

    table: str
    folder: Path
    told: dict[str, Any]

    def postgres(self, statements: str) -> None:
        """Run statements as the shop's owner."""
        place = self.told["postgres"]
        with psycopg.connect(
            host=place["host"], port=place["port"], dbname="shop", user="shop_owner", password=self.password("postgres")
        ) as connection:
            connection.execute(statements.encode())

    def mariadb(self, statements: str) -> None:
        """Run statements, apart by semicolons, as the shop's owner."""
        place = self.told["mariadb"]
        connection = pymysql.connect(
            host=place["host"],
            port=place["port"],
            database="shop",
            user="shop_owner",
            password=self.password("mariadb"),
            charset="utf8mb4",
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            for statement in filter(str.strip, statements.split(";")):
                cursor.execute(statement)

    def password(self, database: str, role: str = "shop_owner") -> str:
        """Return a role's password."""
        return Path(self.told[database]["roles"][role]["password_file"]).read_text().strip()

    def write(self, contract: str = CONTRACT, **ports: int) -> None:
        """Write settings and contract; `ports` override where a store is looked for."""
        stores = {
            name: {
                "kind": kind,
                "topic_prefix": name,
                "converter": "json",
                "host": "127.0.0.1",
                "port": ports.get(name, self.told[kind]["port"]),
                "database": "shop",
                "connector": f"{kind}-source",
                "roles": {
                    role: {"user": "cdc_feed", "password_file": self.told[kind]["roles"]["cdc_feed"]["password_file"]}
                    for role in ("read", "capture")
                },
            }
            for name, kind in (("pg", "postgres"), ("my", "mariadb"))
        }
        settings = {
            "deployment": "check-test",
            "bootstrap": self.told["kafka"]["bootstrap"],
            "keys_dir": "keys",
            "state_dir": "state",
            "contracts_dir": "contracts",
            "placeholder_file": self.told["placeholder_file"],
            "connect": {"url": self.told["connect"]["feed"]},
            "stores": stores,
        }
        (self.folder / "driftline.yaml").write_text(json.dumps(settings))
        (self.folder / "contracts").mkdir(exist_ok=True)
        (self.folder / "contracts" / "one.yaml").write_text(contract.format(table=self.table))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Make the tables, with rows, behind running connectors; drop them at the end."""
    told = running_stack("kafka", "connect", "postgres", "mariadb")
    apply = [sys.executable, str(PROJECT / "scripts" / "stack"), "connectors", "apply", "--name", told["name"]]
    subprocess.run(apply, check=True, capture_output=True, timeout=300)
    made = World(f"check_{secrets.token_hex(4)}", tmp_path, told)
    made.postgres(POSTGRES.format(table=made.table, rows=ROWS))
    made.mariadb(MARIADB.format(table=made.table, rows=ROWS))
    try:
        yield made
    finally:
        made.postgres(f"DROP TABLE {made.table}")
        made.mariadb(f"DROP TABLE {made.table}")


Checked = tuple[int, list[dict[str, str]]]


def check(world: World, capsys: pytest.CaptureFixture[str], *options: str) -> Checked:
    """Run the command as a program would; return exit code and what it printed."""
    capsys.readouterr()
    code = run(["--config", str(world.folder / "driftline.yaml"), "-o", "json", "check", *options])
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return code, found


def check_until(
    world: World, capsys: pytest.CaptureFixture[str], reached: Callable[[set[str]], bool]
) -> list[dict[str, str]]:
    """Check until what concerns the table is as expected: the connectors need a moment to bring the rows."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        ours = [one for one in check(world, capsys)[1] if world.table in one["where"]]
        if reached({one["problem"] for one in ours}):
            return ours
        assert time.monotonic() < deadline, ours


def test_a_healthy_table_passes_and_its_live_rows_have_one_digest(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text beyond the BMP, decimals, instants, milliseconds, TOASTed text left out, booleans: nothing is reported."""
    world.write()
    assert check_until(world, capsys, lambda problems: not problems) == []


def test_what_would_lie_in_a_live_table_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Replica identity, a dropped column, a narrower copy, an engine without transactions, an uncovered column."""
    world.write()
    world.postgres(f"ALTER TABLE {world.table} REPLICA IDENTITY NOTHING; ALTER TABLE {world.table} DROP COLUMN body")
    world.mariadb(
        f"ALTER TABLE {world.table} MODIFY price decimal(12,1), ADD must int NOT NULL, ENGINE=Aria TRANSACTIONAL=0"
    )
    code, found = check(world, capsys, "--rows", "0")
    assert code == ExitCode.COULD_NOT_RUN
    assert {(one["problem"], one["where"].split(",")[0]) for one in found if world.table in one["where"]} == {
        ("replica_identity", "store pg"),
        ("column_missing", "store pg"),
        ("column_narrower", "store my"),
        ("not_transactional", "store my"),
        ("uncovered_column", "store my"),
    }


def test_a_unit_that_records_do_not_tell_shows_in_live_rows(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its encoding a timestamp(3) would be read a thousand times too early: rule and live rows both say so."""
    world.write(CONTRACT.replace(", encodings: {{pg: millis, my: millis}}", ""))
    ours = check_until(world, capsys, lambda problems: "digest_differs" in problems and "not_compared" not in problems)
    assert {(one["problem"], one["where"].partition(",")[0]) for one in ours} == {
        ("encoding_missing", "store pg"),
        ("encoding_missing", "store my"),
        ("digest_differs", "store pg"),
        ("digest_differs", "store my"),
    }
    assert all("seen" in one["detail"] for one in ours if one["problem"] == "digest_differs")


def test_a_dead_database_is_told_and_the_others_are_asked(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """One part that does not answer is one error; it hides nothing of the rest."""
    world.write(my=1)
    code, found = check(world, capsys, "--rows", "0")
    assert code == ExitCode.COULD_NOT_RUN
    (dead,) = [one for one in found if one["problem"] == "unreachable"]
    assert dead["where"] == "store my at 127.0.0.1:1"
    assert any(one["problem"] == "connect_open" for one in found)


def test_a_connector_of_another_kind_and_one_that_is_missing_are_told(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names in the settings lead to the wrong connector, and to none."""
    world.write()
    path = world.folder / "driftline.yaml"
    text = path.read_text().replace('"postgres-source"', '"absent"')
    path.write_text(text.replace('"mariadb-source"', '"postgres-source"'))
    _, found = check(world, capsys, "--rows", "0")
    problems = {(one["problem"], one["where"]) for one in found}
    assert ("connector_missing", "connector absent") in problems
    assert ("connector_class", "connector postgres-source") in problems
    assert ("connector_prefix", "connector postgres-source") in problems
