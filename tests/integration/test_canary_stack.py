"""The canary on real databases, through real connectors and a real worker: opted into later, each kind planted once."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pymysql
import pytest

from app.adapters.canary_rows import SqlCanaryRows
from app.cli.main import run
from app.core.canary import KINDS
from app.core.errors import Unready
from app.settings import load_settings
from tests.integration.own_deployment import PATIENCE_S, PROJECT, OwnDeployment
from tests.integration.running_stack import running_stack
from tests.integration.test_one_digest import drop_slot, password
from tests.integration.worker_world import free_port

pytestmark = pytest.mark.stack

KIND = {"pg": "postgres", "my": "mariadb"}
ADMIN = {"pg": "postgres", "my": "root"}
OPT_IN = {"authority": "pg", "window_ms": 1_000, "interval_s": 1, "patience_s": 60}
CONTRACT = """
entity: things
version: 1
authority: {store: pg, table: public.things_that_are_not_there}
replicas: [{store: my, table: shop.things_that_are_not_there, window_ms: 1000}]
key: {id: {type: int64}}
fields: {name: {type: string}}
"""


class Watched(OwnDeployment):
    """A deployment of its own on the shared stack: schemas, roles and connectors."""

    def write(self, **more: object) -> None:
        """Write settings, and the contract without which no worker starts."""
        (self.folder / "contracts").mkdir(exist_ok=True)
        (self.folder / "contracts" / "things.yaml").write_text(CONTRACT)
        told = {
            "deployment": self.name,
            "bootstrap": self.told["kafka"]["bootstrap"],
            "keys_dir": "keys",
            "state_dir": "state",
            "contracts_dir": "contracts",
            "placeholder_file": self.told["placeholder_file"],
            "partitions": 2,
            "worker": {"http_port": free_port()},
            "beacon_interval_ms": 200,
            "stores": {store: self.store(store, KIND[store], ADMIN[store], ("beacon", "canary")) for store in KIND},
            **more,
        }
        self.settings.write_text(json.dumps(told))

    def connector(self, store: str) -> dict[str, str]:
        """Return the shipped connector's configuration, for this deployment's own tables alone."""
        file = PROJECT / "connectors" / f"{KIND[store]}-source.json"
        config: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        prefix = self.name + store
        own_tables = next(each for each in config["table.include.list"].split(",") if each.startswith("driftline"))
        changed = {
            "topic.prefix": prefix,
            "table.include.list": own_tables.replace("driftline\\.", f"{self.name}\\.", 1),
            "column.exclude.list": config["column.exclude.list"].replace("driftline\\.", f"{self.name}\\.", 1),
            "signal.data.collection": f"{self.name}.driftline_signal",
            "topic.creation.single.include": f".*{prefix}.*",
        }
        if store == "pg":
            return config | changed | {"publication.name": self.name, "slot.name": self.name}
        return config | changed | {
            "database.include.list": self.name,
            "database.server.id": str(10_000 + secrets.randbelow(1_000_000)),
            "schema.history.internal.kafka.topic": f"_schema_history.{prefix}",
        }  # fmt: skip


def _postgres(told: dict[str, Any]) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=told["host"],
        port=told["port"],
        dbname=told["database"],
        user="postgres",
        password=password(told, "postgres"),
        autocommit=True,
    )


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Make own tables without the canary's and start connectors on them; drop everything at the end."""
    told = running_stack("kafka", "connect", "postgres", "mariadb")
    made = Watched(tmp_path, told)
    made.write()
    with _postgres(told["postgres"]) as admin:
        try:
            assert run(["--config", str(made.settings), "init", "--yes"]) == 0
            admin.execute(f"CREATE PUBLICATION {made.name} FOR TABLES IN SCHEMA {made.name}".encode())
            for store in KIND:
                made.connect(store, made.connector(store))
            yield made
        finally:
            for store in KIND:
                httpx.delete(f"{told['connect']['feed']}/connectors/{made.name}{store}", timeout=30)
            admin.execute(f"DROP PUBLICATION IF EXISTS {made.name}".encode())
            admin.execute(f"DROP SCHEMA IF EXISTS {made.name} CASCADE".encode())
            for role in ("beacon", "canary"):
                admin.execute(f"DROP OWNED BY {made.name}_{role}; DROP ROLE {made.name}_{role}".encode())
            drop_slot(admin, made.name)
            _drop_in_mariadb(told["mariadb"], made.name)


def _drop_in_mariadb(told: dict[str, Any], name: str) -> None:
    admin = pymysql.connect(unix_socket=told["socket"], user="root", password=password(told, "root"), autocommit=True)
    with admin, admin.cursor() as cursor:
        for statement in (f"DROP DATABASE {name}", f"DROP USER {name}_beacon", f"DROP USER {name}_canary"):
            cursor.execute(statement)


def test_every_kind_that_is_planted_is_told_and_nothing_else_is(watched: Watched) -> None:
    """Opted into under running connectors: four kinds detected by name, all told to be over, no false alarm."""
    watched.write(canary=OPT_IN)
    assert run(["--config", str(watched.settings), "init", "--yes"]) == 0
    with watched.running("beacon"), watched.running("worker"):
        done = subprocess.run(
            [sys.executable, "-m", "app", "--config", str(watched.settings), "-o", "json", "canary", "--count", "4"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    rows = json.loads(done.stdout)
    assert {row["kind"]: (row["detected"], row["mended_resolved"]) for row in rows} == {
        kind.value: (1, 1) for kind in KINDS
    }, done.stderr[-3000:]
    assert sum(row["false_alarms"] for row in rows) == 0
    assert done.returncode == 0
    _assert_rights(watched)


def _assert_rights(watched: Watched) -> None:
    """The role writes the canary's table, and is refused by the table beside it."""
    for store in load_settings(watched.settings, {}).canary_stores:
        rows = SqlCanaryRows(store)
        newest = rows.highest()
        for state in (6, 7, None):
            rows.write(newest, state)
        rows.write(newest + 1, 1)
        rows.clear_below(newest + 2)
        assert rows.highest() == 0 < newest
        with pytest.raises(Unready, match=r"42501|1142"):
            rows._ask(f"UPDATE {watched.name}.driftline_beacon SET sequence = 0")  # noqa: S608 - a name of ours
        rows.close()
