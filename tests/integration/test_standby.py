"""How far a real standby of PostgreSQL is behind, as the applier's role sees it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stack_parts.tools import POSTGRES_BINARIES

from app.adapters.sql_clients import Use
from app.core.store import StoreKind
from tests.contract.row_worlds import PostgresWorld, contract, settings_of, thing
from tests.integration.running_stack import running_stack
from tests.integration.worker_world import free_port

pytestmark = pytest.mark.stack

PATIENCE_S = 60


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def standby(told: dict[str, Any], password: str) -> Iterator[int]:
    """Run a standby of the stack's server, and yield its port."""
    primary = Path(told["data_folder"])
    folder, port = primary.with_name("standby"), free_port()
    owner = primary.owner()
    as_owner = ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--init-groups"] if os.geteuid() == 0 else []
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    shutil.chown(folder, owner)
    address = ["-h", told["host"], "-p", str(told["port"]), "-U", "postgres"]
    copying = POSTGRES_BINARIES / "pg_basebackup"
    copy = [copying, *address, "-D", folder, "-R", "-X", "stream", "-c", "fast", "--no-sync"]
    subprocess.run([*as_owner, *copy], check=True, cwd="/", env={**os.environ, "PGPASSWORD": password})
    settings = {
        "port": port,
        "listen_addresses": told["host"],
        "unix_socket_directories": "",
        "fsync": "off",
        # No fewer than the primary's.
        "max_wal_senders": 20,
        "wal_receiver_status_interval": 1,
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    server = subprocess.Popen([*as_owner, POSTGRES_BINARIES / "postgres", "-D", folder, *options], cwd="/")
    try:
        yield port
    finally:
        # At once: nobody needs what is in it.
        server.send_signal(signal.SIGQUIT)
        server.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_standby_that_stands_still_falls_behind_and_catches_up(tmp_path: Path) -> None:
    """Its own figure would stand still with it. The role sees nothing else of the sessions of others."""
    told = running_stack("postgres")["postgres"]
    settings = settings_of(StoreKind.POSTGRES, told, tmp_path)
    password = settings.role("admin").password()
    with closing(PostgresWorld(settings, contract(StoreKind.MARIADB))) as world, standby(told, password) as port:
        follower = {"host": told["host"], "port": port, "user": "postgres", "password": password, "dbname": "postgres"}
        streams = "SELECT 1 FROM pg_stat_replication WHERE application_name = 'walreceiver' AND state = 'streaming'"
        until(lambda: bool(world.execute(streams)), "the standby streams")
        until(lambda: world.store.strain().lag_ms == 0, "it has all that there is")
        with psycopg.connect(**follower, autocommit=True) as there:
            there.execute("SELECT pg_wal_replay_pause()")
            paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
            until(lambda: bool(there.execute(paused).fetchall()[0][0]), "it stands still")
            world.put(1, thing())
            until(lambda: world.store.strain().lag_ms > 1_000, "it is told to be behind")
            there.execute("SELECT pg_wal_replay_resume()")
            until(lambda: world.store.strain().lag_ms == 0, "it has caught up")
        with closing(world.sql.connect(Use.WRITE)) as applier:
            others = "SELECT count(*) FROM pg_stat_replication WHERE state IS NOT NULL"
            assert applier.execute(others).fetchall() == [(0,)]
            texts = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'postgres' AND query LIKE '%streaming%'"
            assert applier.execute(texts).fetchall() == [(0,)]
