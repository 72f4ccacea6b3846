"""A real standby of PostgreSQL: how far it is behind, as the applier's role sees it, and that it is another server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stack_parts.tools import POSTGRES_BINARIES

from app.adapters.own_tables import accepts_server, run
from app.adapters.postgres_rows import PostgresRows
from app.adapters.sql_clients import Use
from app.core.command import Outcome, RefusalReason
from app.core.store import StoreKind
from tests.contract.row_worlds import DIGEST_KEY, ENTITY, PostgresWorld, contract, key_of, settings_of, thing
from tests.integration.running_stack import running_stack
from tests.integration.test_applier_databases import repair
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


def until_it_follows(world: PostgresWorld) -> None:
    """Wait until the standby has all that its primary has."""
    streams = "SELECT 1 FROM pg_stat_replication WHERE application_name = 'walreceiver' AND state = 'streaming'"
    until(lambda: bool(world.execute(streams)), "the standby streams")
    until(lambda: world.store.strain().lag_ms == 0, "it has all that there is")


def test_a_standby_that_stands_still_falls_behind_and_catches_up(tmp_path: Path) -> None:
    """Its own figure would stand still with it. The role sees nothing else of the sessions of others."""
    told = running_stack("postgres")["postgres"]
    settings = settings_of(StoreKind.POSTGRES, told, tmp_path)
    password = settings.role("admin").password()
    with closing(PostgresWorld(settings, contract(StoreKind.MARIADB))) as world, standby(told, password) as port:
        follower = {"host": told["host"], "port": port, "user": "postgres", "password": password, "dbname": "postgres"}
        until_it_follows(world)
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


def test_a_standby_that_was_promoted_is_not_written_before_a_person_accepts_it(tmp_path: Path) -> None:
    """It has every row, flag and role of the server that it followed, and its own line of time in the log."""
    told = running_stack("postgres")["postgres"]
    settings = settings_of(StoreKind.POSTGRES, told, tmp_path)
    password = settings.role("admin").password()
    with closing(PostgresWorld(settings, contract(StoreKind.MARIADB))) as world:
        world.put(1, thing(name="old"))
        applier, command = repair(world, thing(name="new"))
        with standby(told, password) as port:
            until_it_follows(world)
            follower = {"host": told["host"], "port": port, "user": "postgres", "password": password}
            with psycopg.connect(**follower, dbname="postgres", autocommit=True) as there:
                assert there.execute("SELECT pg_promote(wait => true)").fetchall() == [(True,)]
            promoted = replace(settings, port=port)
            with closing(PostgresRows(promoted, [world.agreed], DIGEST_KEY)) as store:
                there_now = replace(applier, stores={**applier.stores, command.target: store})
                assert store.read([(ENTITY, key_of(1))])[0].values["name"] == "old"
                outcome = there_now.carry_out(command)
                assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.ANOTHER_SERVER)
                assert store.read([(ENTITY, key_of(1))])[0].values["name"] == "old"
                assert run(promoted, accepts_server(promoted)) == []
                assert there_now.carry_out(command).outcome is Outcome.APPLIED
                assert store.read([(ENTITY, key_of(1))])[0].values["name"] == "new"
        assert world.store.read([(ENTITY, key_of(1))])[0].values["name"] == "old"
