"""MongoDB behind a real connector: covered by a pass, drifts told and repaired, undone, and a gap in its log seen.

The server speaks MongoDB's protocol and is not MongoDB's own, which no registry brings.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import MongoClient

from app.cli.main import run
from tests.integration.own_deployment import PATIENCE_S, PROJECT, OwnDeployment
from tests.integration.running_stack import running_stack
from tests.integration.test_one_digest import drop_slot, password
from tests.integration.worker_world import free_port

pytestmark = pytest.mark.stack

KIND = {"pg": "postgres", "mo": "mongodb"}
ADMIN = {"pg": "postgres", "mo": "root"}
ROLES = {"pg": ("beacon", "read"), "mo": ("beacon", "read", "conduct", "apply")}
ROWS = 250
CONTRACT = """
entity: things
version: 1
authority: {{store: pg, table: {name}_shop.things}}
replicas:
  - {{store: mo, table: {name}_shop.things, window_ms: 2000, quiet_for_ms: 3000,
      repair: {{mode: apply, deletes: true, deletes_wait: false}}}}
key: {{id: {{type: int64, columns: {{mo: _id}}}}}}
fields:
  name: {{type: string}}
  amount: {{type: decimal, scale: 2}}
  city: {{type: string, columns: {{mo: ship.city}}}}
"""


@dataclass
class Shop(OwnDeployment):
    """Things in PostgreSQL, and the same in MongoDB."""

    def write(self) -> None:
        """Write settings and contract."""
        (self.folder / "contracts").mkdir(exist_ok=True)
        (self.folder / "contracts" / "things.yaml").write_text(CONTRACT.format(name=self.name))
        told = {
            "deployment": self.name,
            "bootstrap": self.told["kafka"]["bootstrap"],
            "keys_dir": "keys",
            "state_dir": "state",
            "contracts_dir": "contracts",
            "placeholder_file": self.told["placeholder_file"],
            "partitions": 2,
            "worker": {"http_port": free_port()},
            "applier": {"http_port": free_port()},
            "approver_key_file": "keys/approver.key",
            "beacon_interval_ms": 200,
            "conductor": {"rows_per_s": 1000, "slice_rows": 100},
            "stores": {store: self.store(store, KIND[store], ADMIN[store], ROLES[store]) for store in KIND},
        }
        self.settings.write_text(json.dumps(told))

    def connector(self, store: str) -> dict[str, str]:
        """Return the shipped connector's configuration, for this deployment's tables alone."""
        file = PROJECT / "connectors" / f"{KIND[store]}-source.json"
        config: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        prefix = self.name + store
        changed = {
            "topic.prefix": prefix,
            "signal.data.collection": f"{self.name}.driftline_signal",
            "topic.creation.single.include": f".*{prefix}\\.{self.name}\\.driftline.*",
        }
        if store == "mo":
            return config | changed | {
                "database.include.list": f"{self.name},{self.name}_shop",
                "collection.include.list": f"{self.name}(_shop)?\\..*",
                "field.exclude.list": f"{self.name}.driftline_ledger.before_image",
            }  # fmt: skip
        return config | changed | {
            "table.include.list": f"{self.name}(_shop)?\\..*",
            "column.exclude.list": config["column.exclude.list"].replace("driftline\\.", f"{self.name}\\.", 1),
            "publication.name": self.name,
            "slot.name": self.name,
        }  # fmt: skip

    def say(self, *words: str) -> None:
        """Run a command to its end."""
        assert run(["--config", str(self.settings), *words]) == 0

    def told_of(self, what: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until `driftline status` says something of the replica, and return all that it says of it."""
        until, stores = time.monotonic() + PATIENCE_S, dict[str, Any]()
        while time.monotonic() < until:
            done = subprocess.run(
                [sys.executable, "-m", "app", "--config", str(self.settings), "-o", "json", "status"],
                cwd=PROJECT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if done.stdout:
                found = json.loads(done.stdout)
                stores = {each["store"]: each for each in found["stores"]}
                told: dict[str, Any] = stores.get("mo", {})
                if told and is_so(told):
                    return told
            time.sleep(0.5)
        logs = "".join(file.read_text()[-3000:] for file in self.folder.glob("*.log"))
        pytest.fail(f"never: {what}; last told: {stores}\n{logs}")


def _document(number: int, name: str) -> dict[str, Any]:
    return {"_id": Int64(number), "name": name, "amount": Decimal128(f"{number}.50"), "ship": {"city": "Köln"}}


def _all(things: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the driver's collection
    """Return all documents; 7.5 and 7.50 are one number."""
    return [{**each, "amount": each["amount"].to_decimal()} for each in things.find().sort("_id")]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Shop, psycopg.Connection[Any], Any]]:
    """Make tables and own collections, start connectors on them, and drop everything at the end."""
    told = running_stack("kafka", "connect", "postgres", "mongodb")
    made = Shop(tmp_path, told)
    made.write()
    postgres, mongodb = told["postgres"], told["mongodb"]
    client: MongoClient[dict[str, Any]] = MongoClient(
        mongodb["host"],
        mongodb["port"],
        username="root",
        password=password(mongodb, "root"),
        authSource=mongodb["database"],
    )
    admin = psycopg.connect(
        host=postgres["host"],
        port=postgres["port"],
        dbname=postgres["database"],
        user="postgres",
        password=password(postgres, "postgres"),
        autocommit=True,
    )
    name = made.name
    try:
        admin.execute(f"CREATE SCHEMA {name}_shop".encode())
        table = f"CREATE TABLE {name}_shop.things (id bigint PRIMARY KEY, name text, amount numeric(12,2), city text)"
        admin.execute(table.encode())
        admin.execute(f"ALTER TABLE {name}_shop.things REPLICA IDENTITY FULL".encode())
        admin.execute(f"GRANT USAGE ON SCHEMA {name}_shop TO cdc_feed".encode())
        admin.execute(f"GRANT SELECT ON {name}_shop.things TO cdc_feed".encode())
        rows = [(n, f"thing {n}", Decimal(f"{n}.50"), "Köln") for n in range(1, ROWS + 1)]
        with admin.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {name}_shop.things VALUES (%s, %s, %s, %s)".encode(), rows)  # noqa: S608 - a name of ours
        client[f"{name}_shop"].create_collection("things", changeStreamPreAndPostImages={"enabled": True})
        client[f"{name}_shop"]["things"].insert_many([_document(n, f"thing {n}") for n in range(1, ROWS + 1)])
        made.say("init", "--yes")
        made.say("keys", "make", "approver", "anna")
        admin.execute(f"CREATE PUBLICATION {name} FOR TABLES IN SCHEMA {name}, {name}_shop".encode())
        for store in KIND:
            made.connect(store, made.connector(store))
        yield made, admin, client[f"{name}_shop"]["things"]
    finally:
        for store in KIND:
            httpx.delete(made.connector_url(store), timeout=30)
        admin.execute(f"DROP PUBLICATION IF EXISTS {name}".encode())
        admin.execute(f"DROP SCHEMA IF EXISTS {name}, {name}_shop CASCADE".encode())
        for role in ("beacon", "read"):
            if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (f"{name}_{role}",)).fetchone():
                admin.execute(f"DROP OWNED BY {name}_{role}; DROP ROLE {name}_{role}".encode())
        drop_slot(admin, name)
        for database in (name, f"{name}_shop"):
            client.drop_database(database)
        admin.close()
        client.close()


def _lose_place(shop: Shop, between: Callable[[], object]) -> None:
    """Let the connector of MongoDB forget where it was, and begin again where the log is then."""
    url = shop.connector_url("mo")
    httpx.put(f"{url}/stop", timeout=30).raise_for_status()
    until = time.monotonic() + PATIENCE_S
    while httpx.get(f"{url}/status", timeout=30).json()["connector"]["state"] != "STOPPED":
        assert time.monotonic() < until, "the connector does not stop"
        time.sleep(0.1)
    between()
    while httpx.delete(f"{url}/offsets", timeout=30).status_code != httpx.codes.OK:
        assert time.monotonic() < until, "the connector's offsets are not deleted"
        time.sleep(0.2)
    httpx.put(f"{url}/resume", timeout=30).raise_for_status()


def test_a_store_of_mongodb_is_covered_by_a_pass_and_again_behind_a_gap(
    shop: tuple[Shop, psycopg.Connection[Any], Any],
) -> None:
    """What was there before anybody read is compared and repaired; what the log lost in a gap is found behind it."""
    made, _, things = shop
    right = _all(things)
    things.delete_one({"_id": 7})
    things.update_one({"_id": 9}, {"$set": {"ship.city": "Bonn", "ship.by": "rail"}})
    things.insert_one(_document(ROWS + 1, "one too many"))
    damaged = _all(things)
    with contextlib.ExitStack() as running:
        running.enter_context(made.running("conductor"))
        # Nobody has written a signal yet, and no worker made its topic.
        made.await_said("conductor", "the conductor must wait")
        for command in ("beacon", "worker", "applier"):
            running.enter_context(made.running(command))
        drifts = {"missing": 1, "different": 1, "extra": 1}
        first = made.told_of("the three", lambda told: told["coverage"] == "covered" and told["open_drifts"] == drifts)
        assert first["unknown_keys"] == {}
        assert _all(things) == damaged
        made.say("resume", "--why", "a test")
        made.told_of("all repaired", lambda told: told["proven"] and not told["open_drifts"])
        right[8]["ship"]["by"] = "rail"
        assert _all(things) == right

        _lose_place(made, lambda: things.delete_many({"_id": {"$in": [11, 12]}}))
        made.told_of("a gap", lambda told: told["coverage"] == "uncovered")
        made.told_of("two that were gone", lambda told: told["proven"] and things.count_documents({}) == ROWS)
        assert _all(things) == right

        made.say("undo", "--since", "10m", "--yes")
        gone = [each for each in damaged if each["_id"] not in {11, 12}]
        assert _all(things) == gone
        made.say("audit")
