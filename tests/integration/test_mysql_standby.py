# ruff: noqa: S608 - constants of these tests stand in the statements, never input
"""A MariaDB that follows another by real replication: how far it is behind is known, and slows repairs down."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pymysql
import pytest

from app.adapters.mysql_rows import MysqlRows
from app.adapters.mysql_standbys import MysqlStandbys
from app.adapters.own_tables import run, standby_statements
from app.core.store import StoreKind
from app.settings import StandbySettings
from tests.contract.row_worlds import DIGEST_KEY, OWN_SCHEMA, MariadbWorld, contract, settings_of
from tests.integration.running_stack import running_stack

# Its tables are those of other tests on the shared stack, so it may not run beside them.
pytestmark = pytest.mark.stack

PROJECT = Path(__file__).resolve().parents[2]
STACK = PROJECT / "scripts" / "stack"
NAME = "test-standby"
PATIENCE_S = 30.0


@dataclass
class Standby:
    """The server that follows."""

    host: str
    port: int
    admin: Any

    def run(self, *statements: str) -> None:
        """Run statements as the administrator."""
        with self.admin.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def admin_of(told: dict[str, Any]) -> Any:  # noqa: ANN401 - PyMySQL has no types
    """Connect as the administrator."""
    password = Path(told["roles"]["root"]["password_file"]).read_text().strip()
    return pymysql.connect(host=told["host"], port=told["port"], user="root", password=password, autocommit=True)


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[MariadbWorld, Standby]]:
    """Yield a store of things, and a server to which all of it comes by replication."""
    primary = running_stack("mariadb")["mariadb"]
    subprocess.run([str(STACK), "up", "--name", NAME, "--only", "mariadb", "--quiet"], check=True, timeout=300)
    try:
        told = json.loads((PROJECT / ".stack" / NAME / "stack.json").read_text())["mariadb"]
        standby = Standby(told["host"], told["port"], admin_of(told))
        source = admin_of(primary)
        with source, source.cursor() as cursor:
            cursor.execute("CREATE OR REPLACE USER follower@'%' IDENTIFIED BY 'a test''s word'")
            cursor.execute("GRANT REPLICATION SLAVE ON *.* TO follower@'%'")
            cursor.execute("SELECT @@gtid_current_pos")
            (begins,) = cursor.fetchone()
        password = Path(primary["roles"]["root"]["password_file"]).read_text().strip()
        standby.run(
            "SET SESSION sql_log_bin = 0",
            f"ALTER USER root@'127.0.0.1' IDENTIFIED BY '{password}'",
            "SET GLOBAL server_id = 102",
            "RESET MASTER",
            f"SET GLOBAL gtid_slave_pos = '{begins}'",
            f"CHANGE MASTER TO master_host = '{primary['host']}', master_port = {primary['port']},"
            " master_user = 'follower', master_password = 'a test''s word', master_use_gtid = slave_pos",
            "START SLAVE",
        )
        settings = settings_of(StoreKind.MARIADB, primary, tmp_path)
        settings = replace(settings, standbys=(StandbySettings(standby.host, standby.port),))
        world = MariadbWorld(settings, contract())
        follows(world, standby)
        # As `driftline init` does: logins come by no log.
        there = replace(settings, host=standby.host, port=standby.port)
        assert MysqlStandbys(settings).faults() == [(f"{there.host}:{there.port}", "OperationalError 1045")]
        assert run(there, standby_statements(settings)) == []
        assert MysqlStandbys(settings).faults() == []
        yield world, standby
        world.execute("DROP USER follower@'%'")
        world.close()
        standby.admin.close()
    finally:
        subprocess.run([str(STACK), "wipe", "--name", NAME, "--quiet"], check=True, timeout=60)


def follows(world: MariadbWorld, standby: Standby) -> None:
    """Wait until the standby has all that was written so far."""
    world.execute(f"UPDATE {OWN_SCHEMA}.driftline_beacon SET issued_at_ms = 1000")
    there = f"SELECT count(*) FROM information_schema.tables WHERE table_schema = '{OWN_SCHEMA}'"
    deadline = time.monotonic() + PATIENCE_S
    with standby.admin.cursor() as cursor:
        for query, wanted in ((there, 4), (f"SELECT max(issued_at_ms) FROM {OWN_SCHEMA}.driftline_beacon", 1_000)):
            while cursor.execute(query) and cursor.fetchone()[0] != wanted:
                assert time.monotonic() < deadline, "the standby does not follow"
                time.sleep(0.02)


def until(rows: MysqlRows, is_so: Callable[[int], bool]) -> int:
    """Look until the lag is so; return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so(lag_ms := rows.strain().lag_ms):
        assert time.monotonic() < deadline, lag_ms
        time.sleep(0.02)
    return lag_ms


def test_a_standby_that_stands_still_is_behind_by_as_long_and_one_that_is_gone_slows_nothing(
    followed: tuple[MariadbWorld, Standby],
) -> None:
    """What it shows is what counts, not what it says of itself; once it follows again, it is level."""
    world, standby = followed
    rows = MysqlRows(world.settings, [world.agreed], DIGEST_KEY)

    def beat(issued_at_ms: int) -> None:
        world.execute(f"UPDATE {OWN_SCHEMA}.driftline_beacon SET issued_at_ms = %s", issued_at_ms)

    assert rows.strain().lag_ms == 0
    standby.run("STOP SLAVE SQL_THREAD")
    beat(601_000)
    assert until(rows, lambda lag_ms: lag_ms > 0) == 600_000
    standby.run("START SLAVE SQL_THREAD")
    assert until(rows, lambda lag_ms: lag_ms == 0) == 0
    standby.run("STOP SLAVE SQL_THREAD")
    beat(602_000)
    assert until(rows, lambda lag_ms: lag_ms > 0) == 1_000
    subprocess.run([str(STACK), "down", "--name", NAME, "--quiet"], check=True, timeout=60)
    assert until(rows, lambda lag_ms: lag_ms == 0) == 0
    rows.close()


def test_a_server_that_takes_a_connection_and_says_nothing_holds_nobody_up(
    followed: tuple[MariadbWorld, Standby],
) -> None:
    """Whoever asks is answered at once by what was seen last."""
    world, _ = followed
    with socket.create_server(("127.0.0.1", 0)) as silent:
        standbys = (*world.settings.standbys, StandbySettings("127.0.0.1", silent.getsockname()[1]))
        rows = MysqlRows(replace(world.settings, standbys=standbys), [world.agreed], DIGEST_KEY)
        silent.settimeout(PATIENCE_S)
        rows.strain()
        taken, _ = silent.accept()
        with taken:
            began = time.monotonic()
            rows.strain()
            assert time.monotonic() - began < 1
            rows.close()
