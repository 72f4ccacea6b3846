"""The beacon writer on real databases: the row, the compare-and-set, the identity of the server, and a take-over."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from app.adapters.beacon_rows import BeaconRows, beacon_rows
from app.adapters.system_clock import monotonic_ms
from app.beacon.run import BeaconProcess
from app.core.beacon_writer import BeaconRow, BeaconWriter, Beat, Role
from app.core.errors import ContractViolation, DriftlineError, Unready
from app.core.store import Converter, StoreKind
from app.settings import RoleSettings, StoreSettings
from tests.integration.running_stack import running_stack

pytestmark = pytest.mark.stack

SCHEMA = "beacon_test"
ROLE_PASSWORD = "only for this test"
COLUMNS = (
    "writer_epoch bigint NOT NULL, sequence bigint NOT NULL, issued_at_ms bigint NOT NULL,"
    " previous_acknowledged_ms bigint NOT NULL, server text NOT NULL"
)
FIRST = "(store_id, writer_epoch, sequence, issued_at_ms, previous_acknowledged_ms, server) VALUES ({}, 0, 0, 0, 0, '')"


def _store(kind: StoreKind, told: dict[str, Any], password_file: Path) -> StoreSettings:
    return StoreSettings(
        name="pg" if kind is StoreKind.POSTGRES else "my",
        kind=kind,
        topic_prefix="unused",
        converter=Converter.JSON,
        host=told["host"],
        port=told["port"],
        database=told["database"],
        schema=SCHEMA,
        roles={"beacon": RoleSettings("beacon_test", password_file)},
    )


def _admin_password(told: dict[str, Any], role: str) -> str:
    return Path(told["roles"][role]["password_file"]).read_text(encoding="utf-8").strip()


def _postgres_admin(told: dict[str, Any]) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=told["host"],
        port=told["port"],
        dbname=told["database"],
        user="postgres",
        password=_admin_password(told, "postgres"),
        autocommit=True,
    )


def _mariadb_admin(told: dict[str, Any]) -> Any:  # noqa: ANN401 - PyMySQL has no types
    return pymysql.connect(
        unix_socket=told["socket"],
        user="root",
        password=_admin_password(told, "root"),
        autocommit=True,
        init_command="SET SESSION sql_log_bin = 0",
    )


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[dict[str, StoreSettings]]:
    """Yield both stores with a fresh beacon row and a role that may do no more than it needs."""
    told = running_stack("postgres", "mariadb")
    password_file = tmp_path / "password"
    password_file.write_text(ROLE_PASSWORD + "\n")
    with _postgres_admin(told["postgres"]) as admin:
        for statement in (
            f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE",
            "DROP OWNED BY beacon_test" if _has_role(admin) else "CREATE ROLE beacon_test LOGIN",
            f"ALTER ROLE beacon_test PASSWORD '{ROLE_PASSWORD}'",
            f"GRANT CONNECT ON DATABASE {told['postgres']['database']} TO beacon_test",
            f"CREATE SCHEMA {SCHEMA}",
            f"CREATE TABLE {SCHEMA}.driftline_beacon (store_id text PRIMARY KEY, {COLUMNS}, wall_at timestamptz)",
            f"INSERT INTO {SCHEMA}.driftline_beacon {FIRST.format(chr(39) + 'pg' + chr(39))}",
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO beacon_test",
            f"GRANT SELECT, UPDATE ON {SCHEMA}.driftline_beacon TO beacon_test",
        ):
            admin.execute(statement)
    mariadb = _mariadb_admin(told["mariadb"])
    with mariadb, mariadb.cursor() as cursor:
        for statement in (
            f"DROP DATABASE IF EXISTS {SCHEMA}",
            "DROP USER IF EXISTS beacon_test",
            f"CREATE USER beacon_test IDENTIFIED BY '{ROLE_PASSWORD}'",
            f"CREATE DATABASE {SCHEMA}",
            (
                f"CREATE TABLE {SCHEMA}.driftline_beacon"
                f" (store_id varchar(64) PRIMARY KEY, {COLUMNS}, wall_at datetime(6))"
            ),
            f"INSERT INTO {SCHEMA}.driftline_beacon {FIRST.format(chr(39) + 'my' + chr(39))}",
            f"GRANT SELECT, UPDATE ON {SCHEMA}.driftline_beacon TO beacon_test",
        ):
            cursor.execute(statement)
    yield {
        "pg": _store(StoreKind.POSTGRES, told["postgres"], password_file),
        "my": _store(StoreKind.MARIADB, told["mariadb"], password_file),
    }
    with _postgres_admin(told["postgres"]) as admin:
        admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        admin.execute("DROP OWNED BY beacon_test")
        admin.execute("DROP ROLE beacon_test")
    mariadb = _mariadb_admin(told["mariadb"])
    with mariadb, mariadb.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {SCHEMA}")
        cursor.execute("DROP USER beacon_test")


def _has_role(admin: psycopg.Connection[Any]) -> bool:
    return admin.execute("SELECT 1 FROM pg_roles WHERE rolname = 'beacon_test'").fetchone() is not None


class Silent:
    """Keeps what the process said."""

    def __init__(self) -> None:
        self.written: dict[str, list[BeaconRow]] = {}
        self.down: list[tuple[str, str]] = []
        self.roles: list[Role] = []
        self.changed = threading.Condition()

    def beacon_written(self, store: str, row: BeaconRow) -> None:
        """Keep the row."""
        with self.changed:
            self.written.setdefault(store, []).append(row)
            self.changed.notify_all()

    def beacon_missed(self, store: str, fault: DriftlineError) -> None:
        """Say nothing."""

    def store_is_down(self, store: str, fault: DriftlineError, *, again_in_s: float, is_first: bool) -> None:
        """Keep the fault."""
        del again_in_s, is_first
        with self.changed:
            self.down.append((store, str(fault)))
            self.changed.notify_all()

    def store_reached(self, store: str) -> None:
        """Say nothing."""

    def role_changed(self, role: Role, epoch: int, unread: tuple[str, ...]) -> None:
        """Keep the role."""
        del epoch, unread
        self.roles.append(role)

    def wait_for(self, store: str, beacons: int, seconds: float = 20.0) -> list[BeaconRow]:
        """Return a store's beacons once there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.written.get(store, [])) >= beacons, seconds)
            return list(self.written[store])


class Running:
    """A writer that runs in a thread of the test."""

    def __init__(self, stores: dict[str, StoreSettings], nonce: int, interval_ms: int = 50) -> None:
        self.told = Silent()
        writer = BeaconWriter(list(stores), nonce, interval_ms, monotonic_ms())
        rows = {name: beacon_rows(store) for name, store in stores.items()}
        self.process = BeaconProcess(writer, rows, interval_ms, monotonic_ms, self.told)
        self._thread = threading.Thread(target=self.process.run)
        self._thread.start()

    def stop(self) -> None:
        """Stop it and wait for its end."""
        self.process.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("name", ["pg", "my"])
def test_the_row_is_written_only_where_it_is_as_expected(stores: dict[str, StoreSettings], name: str) -> None:
    """Compare-and-set: the second writer with the same expectation is refused and changes nothing."""
    rows: BeaconRows = beacon_rows(stores[name])
    first = Beat(0, 0, BeaconRow(65_537, 1, 10, 3))
    assert rows.read() == BeaconRow(0, 0, 0, 0)
    assert rows.compare_and_set(first)
    assert not rows.compare_and_set(Beat(0, 0, BeaconRow(65_538, 1, 11, 4)))
    assert rows.read() == first.row
    rows.close()


@pytest.mark.parametrize(("name", "form"), [("pg", r"\d{15,20}/1"), ("my", r"\d+/0")])
def test_the_server_is_named_by_what_the_role_may_read(stores: dict[str, StoreSettings], name: str, form: str) -> None:
    """System identifier and timeline; server id and GTID domain: readable with no more than SELECT and UPDATE."""
    import re

    rows: Any = beacon_rows(stores[name])
    rows.read()
    assert re.fullmatch(form, rows.server)
    rows.close()


def test_a_store_without_the_row_says_what_to_run(stores: dict[str, StoreSettings]) -> None:
    """The hint names the command that makes the row."""
    from dataclasses import replace

    for store in stores.values():
        rows = beacon_rows(replace(store, name="nobody"))
        with pytest.raises(ContractViolation, match="driftline init"):
            rows.read()
        rows.close()


def test_a_store_that_is_down_says_where_and_whom_to_ask(stores: dict[str, StoreSettings]) -> None:
    """A closed port is `Unready` with the address and the role."""
    from dataclasses import replace

    for store in stores.values():
        rows = beacon_rows(replace(store, port=1))
        with pytest.raises(Unready, match=r"127\.0\.0\.1:1.*beacon_test"):
            rows.read()
        rows.close()


def test_a_second_writer_takes_over_and_time_goes_on(stores: dict[str, StoreSettings]) -> None:
    """Two run; the one that writes stops; the other continues above its time, and its sequence."""
    first = Running(stores, nonce=1)
    for name in stores:
        first.told.wait_for(name, 5)
    second = Running(stores, nonce=2)
    for name in stores:
        first.told.wait_for(name, len(first.told.written[name]) + 5)
    assert second.told.written == {}
    first.stop()
    for name in stores:
        after = second.told.wait_for(name, 3)
        before = first.told.written[name]
        times = [row.issued_at_ms for row in (*before, *after)]
        assert times == sorted(set(times))
        assert [row.sequence for row in (*before, *after)] == list(range(1, len(times) + 1))
        assert after[0].previous_acknowledged_ms >= before[-1].issued_at_ms
    second.stop()


def test_one_store_down_holds_up_no_other(stores: dict[str, StoreSettings]) -> None:
    """MariaDB's row is out of reach from the middle on; PostgreSQL's beacons go on, then MariaDB's come again."""
    running = Running(stores, nonce=3)
    for name in stores:
        running.told.wait_for(name, 3)
    told = running_stack("postgres", "mariadb")
    mariadb = _mariadb_admin(told["mariadb"])
    with mariadb, mariadb.cursor() as cursor:
        cursor.execute(f"REVOKE SELECT, UPDATE ON {SCHEMA}.driftline_beacon FROM beacon_test")
        running.told.wait_for("pg", len(running.told.written["pg"]) + 20)
        assert running.told.down
        assert running.told.down[0][0] == "my"
        held = len(running.told.written["my"])
        cursor.execute(f"GRANT SELECT, UPDATE ON {SCHEMA}.driftline_beacon TO beacon_test")
    running.told.wait_for("my", held + 2)
    running.stop()
    for written in running.told.written.values():
        times = [row.issued_at_ms for row in written]
        assert times == sorted(set(times))


def _settings_file(folder: Path, stores: dict[str, StoreSettings]) -> Path:
    """Write the settings of a deployment that has just these stores."""
    told = {
        "deployment": "beacontest",
        "bootstrap": "127.0.0.1:1",
        "keys_dir": "keys",
        "state_dir": "state",
        "contracts_dir": "contracts",
        "placeholder_file": "placeholder",
        "beacon_interval_ms": 200,
        "stores": {
            name: {
                "kind": store.kind.value,
                "topic_prefix": name,
                "converter": "json",
                "host": store.host,
                "port": store.port,
                "database": store.database,
                "schema": store.schema,
                "roles": {"beacon": {"user": "beacon_test", "password_file": str(store.role("beacon").password_file)}},
            }
            for name, store in stores.items()
        },
    }
    path = folder / "driftline.yaml"
    path.write_text(json.dumps(told))
    return path


def _started(settings: Path, instance: str, log: Path) -> subprocess.Popen[bytes]:
    arguments = ["--config", str(settings), "beacon", "--instance", instance]
    with log.open("wb") as stream:
        return subprocess.Popen([sys.executable, "-m", "app", *arguments], stderr=stream)


def _wait_for_row(rows: BeaconRows, wanted: Callable[[BeaconRow], bool]) -> BeaconRow:
    for _ in range(400):
        row = rows.read()
        if wanted(row):
            return row
        threading.Event().wait(0.05)
    pytest.fail(f"the row stands at {row}")


def test_a_process_killed_with_9_is_taken_over_by_the_second(stores: dict[str, StoreSettings], tmp_path: Path) -> None:
    """The command itself, twice: the second watches, then goes on above the first's time; SIGTERM ends it with 0."""
    settings = _settings_file(tmp_path, stores)
    watched = beacon_rows(stores["my"])
    first = _started(settings, "first", tmp_path / "first.log")
    started = _wait_for_row(watched, lambda row: row.sequence >= 3)
    second = _started(settings, "second", tmp_path / "second.log")
    try:
        _wait_for_row(watched, lambda row: row.sequence >= started.sequence + 10)
        first.kill()
        first.wait(10)
        last = watched.read()
        taken = _wait_for_row(watched, lambda row: row.epoch > last.epoch)
        assert taken.issued_at_ms > last.issued_at_ms
        assert taken.previous_acknowledged_ms >= last.issued_at_ms
        second.terminate()
        assert second.wait(20) == 0
    finally:
        for process in (first, second):
            process.kill()
            process.wait(10)
        watched.close()
    roles = [json.loads(line).get("role") for line in (tmp_path / "second.log").read_text().splitlines()]
    assert [role for role in roles if role] == ["watching", "writing"]
