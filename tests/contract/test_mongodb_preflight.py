"""What `driftline check` is told by a store of MongoDB, before and after `driftline init`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from secantus import SecantusDBServer

from app.adapters.own_tables import run, statements
from app.adapters.preflight_fences import read_fence
from app.adapters.preflight_mongodb import read_collections
from app.core.contract import RepairMode, RepairPolicy
from app.core.errors import Unready
from app.core.guard import Fence
from app.core.preflight.facts import CollectionFacts
from app.settings import RoleSettings, StoreSettings
from tests.contract.test_mongodb_init import contract_of
from tests.mongodb_server import DATABASE, SCHEMA, Admin, mongodb_store

pytestmark = pytest.mark.stack

CONTRACT = contract_of(RepairPolicy(mode=RepairMode.APPLY))
OWN = [f"{SCHEMA}.driftline_{name}" for name in ("beacon", "fence", "ledger", "signal")]
TABLES = [*OWN, f"{DATABASE}.orders"]


@pytest.fixture
def store(server: SecantusDBServer, admin: Admin) -> StoreSettings:
    """The store, with its roles' passwords hidden in nothing: it asks for none."""
    del admin
    return replace(mongodb_store(server), roles={role: RoleSettings(role) for role in ("read", "apply", "admin")})


def ready(store: StoreSettings) -> None:
    """Run init but for logins, which this server has none of."""
    run(store, [each for each in statements(store, [CONTRACT]) if not each.role and '"admin"' not in each.text])


def test_collections_are_told_with_their_images(store: StoreSettings, admin: Admin) -> None:
    """Those that are there; images where they are enabled."""
    admin[DATABASE].create_collection("orders")
    assert read_collections(store, TABLES) == CollectionFacts(
        has_change_streams=True, has_images={f"{DATABASE}.orders": False}
    )
    ready(store)
    assert read_collections(store, TABLES) == CollectionFacts(
        has_change_streams=True, has_images=dict.fromkeys(TABLES, True)
    )
    admin[DATABASE].command("collMod", "orders", changeStreamPreAndPostImages={"enabled": False})
    assert read_collections(store, TABLES).has_images[f"{DATABASE}.orders"] is False


def test_a_server_alone_has_no_change_streams(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As one that was started without a replica set's name."""
    alone = SecantusDBServer(storage_path=str(tmp_path_factory.mktemp("alone")), port=0, replica_set_name=None)
    alone.start()
    try:
        assert not read_collections(mongodb_store(alone), TABLES).has_change_streams
    finally:
        alone.stop()


def test_the_fence_is_told_as_the_applier_reads_it(store: StoreSettings, admin: Admin) -> None:
    """Its token, the flag that stops, the server, and the shards."""
    ready(store)
    assert read_fence(store) == Fence(0)
    flags = admin[SCHEMA]["driftline_fence"]
    flags.update_one({"_id": "*"}, {"$set": {"token": 4}})
    flags.insert_one({"_id": "orders/docs/1", "scope": "orders/docs/1", "token": 2, "shared": 0})
    assert read_fence(store) == Fence(4, shards={"orders/docs/1": 2})
    flags.update_one({"_id": "stop"}, {"$set": {"token": 1}})
    assert read_fence(store).is_stopped
    flags.update_one({"_id": "server"}, {"$inc": {"token": 1}})
    assert read_fence(store).is_another_server


def test_a_restored_collection_of_beacons_is_another_server(store: StoreSettings, admin: Admin) -> None:
    """Whose log is another one, though the flags came along."""
    ready(store)
    admin[SCHEMA].drop_collection("driftline_beacon")
    admin[SCHEMA].create_collection("driftline_beacon")
    assert read_fence(store).is_another_server


def test_a_fence_that_lacks_a_document_is_told(store: StoreSettings, admin: Admin) -> None:
    """Nothing is taken for a fence that stands at 0."""
    ready(store)
    admin[SCHEMA]["driftline_fence"].delete_one({"_id": "stop"})
    with pytest.raises(Unready, match="driftline init"):
        read_fence(store)


def test_a_store_that_is_down_is_told(store: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its address."""
    monkeypatch.setattr("app.adapters.mongodb_client._CONNECT_MS", 200)
    with pytest.raises(Unready, match=r"127\.0\.0\.1:1: cannot be asked"):
        read_collections(replace(store, port=1), TABLES)
