"""`driftline init` in MongoDB: what stands there after it, and what each role may do there and may not.

The server of these tests looks at a privilege's database and not at its collection. So each role is tried on every
database, and the privileges themselves are held, word by word, against what MongoDB is to be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from bson.int64 import Int64
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from app.adapters.mongodb_beacon_rows import MongodbBeaconRows
from app.adapters.mongodb_client import connect_mongodb
from app.adapters.mongodb_identity import as_token, server_name
from app.adapters.own_tables import accepts_server, raises_fence, run, statements
from app.core.beacon_writer import BeaconRow, Beat
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
from app.core.errors import Unready
from app.settings import RoleSettings, StoreSettings
from tests.mongodb_server import DATABASE, SCHEMA, Admin, mongodb_server, mongodb_store

pytestmark = pytest.mark.stack

ROLES = ("beacon", "read", "apply", "conduct", "capture")
UNAUTHORIZED, LOGIN_FAILED = 13, 18
OWN = ("driftline_beacon", "driftline_fence", "driftline_ledger", "driftline_shared", "driftline_signal")


def contract_of(policy: RepairPolicy, collection: str = "shop.orders") -> EntityContract:
    """Return a contract whose replica is a collection of MongoDB."""
    return EntityContract(
        entity=collection.partition(".")[2],
        version=1,
        number=1,
        key=(KeyField("id", FieldType(FieldKind.INT64), {"pg": "id", "docs": "_id"}),),
        fields=(Field("name", FieldType(FieldKind.STRING), {"pg": "name", "docs": "name"}),),
        authority="pg",
        stores=(StoreTable("pg", "public.orders", "pg.t"), StoreTable("docs", collection, "docs.t")),
        replicas=(Replica("docs", 3_000, 30_000, repair=policy),),
    )


DELETES = contract_of(RepairPolicy(mode=RepairMode.APPLY, deletes=True))
UPSERTS = contract_of(RepairPolicy(mode=RepairMode.APPLY))
OBSERVES = contract_of(RepairPolicy(), "views.seen")


@dataclass
class World:
    """A server that asks for logins, and a store in it."""

    store: StoreSettings
    admin: Admin

    def init(self, *contracts: EntityContract) -> list[str]:
        """Run init."""
        return run(self.store, statements(self.store, contracts))

    def as_role(self, role: str) -> Admin:
        """Return a client by a role's login."""
        return connect_mongodb(self.store, role)

    def privileges(self, role: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return what a role may, as (database, collection, actions)."""
        asked = {"role": f"{DATABASE}.u_{role}", "db": "admin"}
        [found] = self.admin.admin.command("rolesInfo", asked, showPrivileges=True)["roles"]
        assert not found["roles"]
        return sorted(
            (
                "" if "cluster" in each["resource"] else each["resource"]["db"],
                "CLUSTER" if "cluster" in each["resource"] else each["resource"]["collection"],
                tuple(each["actions"]),
            )
            for each in found["privileges"]
        )


@pytest.fixture(scope="module")
def logins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RoleSettings]:
    """A login for every role, with its password's file."""
    folder = tmp_path_factory.mktemp("secrets")
    for role in (*ROLES, "admin"):
        (folder / role).write_text(f"password of {role}")
    return {role: RoleSettings(f"u_{role}", folder / role) for role in (*ROLES, "admin")}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, logins: dict[str, RoleSettings]) -> Iterator[World]:
    """The server; its administrator and the connector's login are there before init."""
    folder = tmp_path_factory.mktemp("mongodb")
    with mongodb_server(folder) as open_, MongoClient[dict[str, Any]](open_.uri) as client:
        root = [{"role": "root", "db": "admin"}]
        client[DATABASE].command("createUser", "u_admin", pwd=logins["admin"].password(), roles=root)
        client[DATABASE].command("createUser", "u_capture", pwd=logins["capture"].password(), roles=[])
    with mongodb_server(folder, asks_for_logins=True) as server:
        store = mongodb_store(server, **logins)
        with connect_mongodb(store, "admin") as admin:
            yield World(store, admin)


@pytest.fixture
def world(running: World) -> World:
    """The server with an order in it, and nothing of ours."""
    for database in (SCHEMA, DATABASE, "views"):
        for name in running.admin[database].list_collection_names():
            running.admin[database].drop_collection(name)
    running.admin[DATABASE]["orders"].insert_one({"_id": 1, "name": "one"})
    return running


def test_collections_carry_images_and_documents_stay_as_they_are(world: World) -> None:
    """Whatever is there: a second run changes no token, no beacon and no ledger."""
    world.init(DELETES)
    listed = {each["name"]: each for each in world.admin[SCHEMA].list_collections()}
    assert sorted(listed) == sorted(OWN)
    [orders] = world.admin[DATABASE].list_collections()
    for each in (*listed.values(), orders):
        assert each["options"]["changeStreamPreAndPostImages"] == {"enabled": True}, each["name"]
    before = everything(world)
    [beacon] = before["driftline_beacon"]
    assert beacon == {
        "_id": "docs", "store_id": "docs", "writer_epoch": 0, "sequence": 0, "issued_at_ms": 0,
        "previous_acknowledged_ms": 0, "server": "",
    }  # fmt: skip
    token = as_token(server_name(world.admin, SCHEMA))
    assert before["driftline_fence"] == [
        {"_id": "*", "scope": "*", "token": 0},
        {"_id": "server", "scope": "server", "token": token},
        {"_id": "stop", "scope": "stop", "token": 0},
    ]
    assert world.admin[SCHEMA]["driftline_fence"].count_documents({"token": {"$type": "long"}}) == 3
    assert 0 < token < 1 << 60
    world.admin[SCHEMA]["driftline_fence"].update_one({"_id": "stop"}, {"$set": {"token": 1}})
    world.admin[SCHEMA]["driftline_ledger"].insert_one({"_id": "a", "partition": 0, "sequence": Int64(1)})
    world.admin[SCHEMA]["driftline_beacon"].update_one({"_id": "docs"}, {"$set": {"sequence": 7}})
    before = everything(world)
    world.init(DELETES)
    assert everything(world) == before


def everything(world: World) -> dict[str, list[dict[str, Any]]]:
    """Every document of ours."""
    return {name: list(world.admin[SCHEMA][name].find().sort("_id")) for name in OWN}


def test_collections_that_were_there_without_images_get_them(world: World) -> None:
    """As a connector or a person may have made them."""
    world.admin[SCHEMA].create_collection("driftline_signal")
    world.init(DELETES)
    [signal] = world.admin[SCHEMA].list_collections(filter={"name": "driftline_signal"})
    assert signal["options"]["changeStreamPreAndPostImages"] == {"enabled": True}


def test_a_collection_that_is_not_there_yet_is_told(world: World) -> None:
    """Everything else is made ready; the next run brings the rest."""
    assert world.init(DELETES, OBSERVES) == ["views.seen"]
    assert world.admin["views"].list_collection_names() == []
    world.admin["views"].create_collection("seen")
    assert world.init(DELETES, OBSERVES) == []
    [seen] = world.admin["views"].list_collections()
    assert seen["options"]["changeStreamPreAndPostImages"] == {"enabled": True}


def test_the_ledger_has_one_row_for_each_place_of_a_chain(world: World) -> None:
    """As its unique index in SQL."""
    world.init(DELETES)
    ledger = world.admin[SCHEMA]["driftline_ledger"]
    assert {name for name in ledger.index_information() if name != "_id_"} == {
        "driftline_ledger_chain", "driftline_ledger_written", "driftline_ledger_row", "driftline_ledger_original",
    }  # fmt: skip
    ledger.insert_one({"_id": "a", "partition": 1, "sequence": Int64(1)})
    ledger.insert_one({"_id": "b", "partition": 1, "sequence": Int64(2)})
    with pytest.raises(PyMongoError, match="duplicate key"):
        ledger.insert_one({"_id": "c", "partition": 1, "sequence": Int64(1)})


LIST = ("listCollections",)
EXPECTED: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "beacon": [(SCHEMA, "", LIST), (SCHEMA, "driftline_beacon", ("find", "update"))],
    "read": [
        (SCHEMA, "", LIST), (DATABASE, "", LIST), (DATABASE, "orders", ("find",)),
        ("views", "", LIST), ("views", "seen", ("find",)),
    ],
    "apply": [
        (SCHEMA, "", LIST), (SCHEMA, "driftline_fence", ("find",)), (SCHEMA, "driftline_ledger", ("find", "insert")),
        (SCHEMA, "driftline_shared", ("find", "insert", "update")),
        (DATABASE, "", LIST), (DATABASE, "orders", ("find", "insert", "listIndexes", "remove", "update")),
        ("views", "", LIST), ("views", "seen", ("find",)),
    ],
    "conduct": [
        (SCHEMA, "driftline_signal", ("insert",)), (DATABASE, "orders", ("find",)), ("views", "seen", ("find",)),
    ],
    "capture": [
        ("", "", ("changeStream", "find", "listCollections")), ("", "CLUSTER", ("listDatabases",)),
        (SCHEMA, "driftline_signal", ("insert",)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_its_work_needs_and_nothing_else(world: World, role: str) -> None:
    """Word by word; and as often as init is run, whatever was added by hand."""
    world.init(DELETES, OBSERVES)
    assert world.privileges(role) == sorted(EXPECTED[role])
    more = [{"resource": {"db": DATABASE, "collection": ""}, "actions": ["dropCollection"]}]
    world.admin.admin.command("updateRole", f"{DATABASE}.u_{role}", privileges=more)
    if role != "capture":
        world.admin[DATABASE].command("grantRolesToUser", f"u_{role}", roles=[{"role": "root", "db": "admin"}])
    world.init(DELETES, OBSERVES)
    assert world.privileges(role) == sorted(EXPECTED[role])
    [user] = world.admin[DATABASE].command("usersInfo", f"u_{role}")["users"]
    assert [(each["role"], each["db"]) for each in user["roles"]] == [(f"{DATABASE}.u_{role}", "admin")]


@pytest.mark.parametrize(
    ("contract", "actions"),
    [
        (DELETES, ("find", "insert", "listIndexes", "remove", "update")),
        (UPSERTS, ("find", "insert", "listIndexes", "update")),
        (contract_of(RepairPolicy(mode=RepairMode.PROPOSE)), ("find", "insert", "listIndexes", "update")),
        (contract_of(RepairPolicy()), ("find",)),
    ],
)
def test_the_applier_may_write_what_the_policy_says(
    world: World, contract: EntityContract, actions: tuple[str, ...]
) -> None:
    """What a policy allows no more is taken away."""
    world.init(DELETES)
    world.init(contract)
    assert (DATABASE, "orders", actions) in world.privileges("apply")


def test_the_beacon_writer_does_its_work(world: World) -> None:
    """By its own login."""
    world.init(DELETES)
    with MongodbBeaconRows(world.store) as rows:
        assert rows.read() == BeaconRow(0, 0, 0, 0)
        assert rows.compare_and_set(Beat(0, 0, BeaconRow(65_537, 1, 10, 3)))


def test_the_applier_does_its_work(world: World) -> None:
    """One transaction: what it shares with who raises a flag, the row and the ledger."""
    world.init(DELETES)
    with world.as_role("apply") as client:
        client[SCHEMA]["driftline_shared"].insert_one({"_id": "0", "shared": 0})
    with world.as_role("apply") as client, client.start_session() as session, session.start_transaction():
        client[SCHEMA]["driftline_fence"].find_one({"_id": "*"}, session=session)
        client[SCHEMA]["driftline_shared"].update_one({"_id": "0"}, {"$inc": {"shared": 1}}, session=session)
        orders = client[DATABASE]["orders"]
        orders.update_one({"_id": 1}, {"$set": {"name": "mended"}}, session=session)
        orders.insert_one({"_id": 2}, session=session)
        orders.delete_one({"_id": 2}, session=session)
        client[SCHEMA]["driftline_ledger"].insert_one(
            {"_id": "a", "partition": 0, "sequence": Int64(1)}, session=session
        )
    assert world.admin[DATABASE]["orders"].find_one({"_id": 1}) == {"_id": 1, "name": "mended"}


def test_who_reads_and_who_conducts_do_their_work(world: World) -> None:
    """Rows; and signals."""
    world.init(DELETES)
    for role in ("read", "conduct"):
        with world.as_role(role) as client:
            assert client[DATABASE]["orders"].find_one() == {"_id": 1, "name": "one"}
    with world.as_role("conduct") as client:
        client[SCHEMA]["driftline_signal"].insert_one({"_id": "x"})
    with world.as_role("read") as client:
        assert list(client[DATABASE].list_collections())


def test_the_connector_does_its_work(world: World) -> None:
    """It watches all databases, sees what stands in them, and adds signals of its own."""
    world.init(DELETES)
    with world.as_role("capture") as client, client.watch(full_document_before_change="required") as stream:
        assert DATABASE in client.list_database_names()
        assert client[DATABASE]["orders"].find_one() is not None
        client[SCHEMA]["driftline_signal"].insert_one({"_id": "window-open"})
        assert next(stream)["documentKey"] == {"_id": "window-open"}


WRITES: dict[str, dict[str, Any]] = {
    "insert": {"insert": "other", "documents": [{"_id": 9}]},
    "update": {"update": "other", "updates": [{"q": {"_id": 9}, "u": {"$set": {"a": 1}}}]},
    "remove": {"delete": "other", "deletes": [{"q": {}, "limit": 0}]},
    "find": {"find": "other"},
    "drop": {"drop": "other"},
    "collMod": {"collMod": "other", "changeStreamPreAndPostImages": {"enabled": False}},
    "createIndexes": {"createIndexes": "other", "indexes": [{"key": {"a": 1}, "name": "a"}]},
    "dropDatabase": {"dropDatabase": 1},
    "createUser": {"createUser": "mallory", "pwd": "x", "roles": []},
    "createRole": {"createRole": "mallory", "privileges": [], "roles": []},
    "watch": {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}},
}
MAY: dict[str, dict[str, set[str]]] = {
    "beacon": {SCHEMA: {"find", "update"}},
    "read": {DATABASE: {"find"}, "views": {"find"}},
    "apply": {
        SCHEMA: {"find", "update", "insert"}, DATABASE: {"find", "insert", "update", "remove"}, "views": {"find"},
    },
    "conduct": {SCHEMA: {"insert"}, DATABASE: {"find"}, "views": {"find"}},
    "capture": {
        SCHEMA: {"find", "watch", "insert"}, DATABASE: {"find", "watch"}, "views": {"find", "watch"},
        "private": {"find", "watch"},
    },
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_refused_anything_else(world: World, role: str) -> None:
    """Each kind of command in each database."""
    world.init(DELETES, OBSERVES)
    wrong = []
    with world.as_role(role) as client:
        for database in (SCHEMA, DATABASE, "views", "private", "admin"):
            allowed = MAY[role].get(database, set())
            for name, command in WRITES.items():
                if name in allowed or (role == "capture" and name in {"find", "watch"}):
                    continue
                if name == "watch" and "find" in allowed:
                    continue  # this server asks for no more than `find` there; MongoDB asks for `changeStream`
                try:
                    client[database].command(command)
                except OperationFailure as refused:
                    if refused.code == UNAUTHORIZED:
                        continue
                    wrong.append((database, name, refused.code))
                else:
                    wrong.append((database, name, 0))
    assert wrong == []


def test_a_password_follows_its_file(world: World, tmp_path: Path) -> None:
    """A new one counts with the next run, and the old one no more."""
    world.init(DELETES)
    (tmp_path / "fresh").write_text("another")
    fresh = RoleSettings("u_read", tmp_path / "fresh")
    changed = replace(world.store, roles={**world.store.roles, "read": fresh})
    run(changed, statements(changed, [DELETES]))
    with connect_mongodb(changed, "read") as client:
        assert client[DATABASE]["orders"].find_one() is not None
    with world.as_role("read") as client, pytest.raises(OperationFailure) as refused:
        client[DATABASE]["orders"].find_one()
    assert refused.value.code == LOGIN_FAILED


def test_a_fence_is_raised_and_never_lowered(world: World) -> None:
    """The store's own, and a shard's."""
    world.init(DELETES)
    store = replace(world.store, fence_token=5, shard_fence_tokens={"orders/docs/1": 4})
    fence = world.admin[SCHEMA]["driftline_fence"]
    run(store, raises_fence(store))
    run(replace(store, fence_token=3), raises_fence(replace(store, fence_token=3)))
    assert fence.find_one({"_id": "*"}) == {"_id": "*", "scope": "*", "token": 5}
    run(store, raises_fence(store, "orders/docs/1"))
    assert fence.find_one({"_id": "orders/docs/1"}) == {"_id": "orders/docs/1", "scope": "orders/docs/1", "token": 4}
    assert fence.find_one({"_id": "*"}) == {"_id": "*", "scope": "*", "token": 5}
    lower = replace(store, shard_fence_tokens={"orders/docs/1": 2})
    run(lower, raises_fence(lower, "orders/docs/1"))
    assert (fence.find_one({"_id": "orders/docs/1"}) or {})["token"] == 4


def test_a_repair_under_way_does_not_outlive_a_raised_fence(world: World) -> None:
    """Whoever raises a fence writes what it shares with each transaction: one that comes to that later ends."""
    world.init(DELETES)
    world.admin[SCHEMA]["driftline_shared"].insert_one({"_id": "3", "shared": 0})
    store = replace(world.store, shard_fence_tokens={"orders/docs/1": 4})
    with world.as_role("apply") as client, client.start_session() as session:
        session.start_transaction()
        # It begins before the fence is raised, and comes to the flag behind it.
        client[DATABASE]["orders"].update_one({"_id": 1}, {"$set": {"name": "late"}}, session=session)
        run(store, raises_fence(store, "orders/docs/1"))
        with pytest.raises(OperationFailure) as refused:
            client[SCHEMA]["driftline_shared"].update_one({"_id": "3"}, {"$inc": {"shared": 1}}, session=session)
        assert refused.value.has_error_label("TransientTransactionError")
    assert world.admin[DATABASE]["orders"].find_one({"_id": 1}) == {"_id": 1, "name": "one"}


def test_another_server_is_accepted_on_a_word(world: World) -> None:
    """Its token is that of who answers now."""
    world.init(DELETES)
    fence = world.admin[SCHEMA]["driftline_fence"]
    fence.update_one({"_id": "server"}, {"$set": {"token": 1}})
    world.init(DELETES)
    assert (fence.find_one({"_id": "server"}) or {})["token"] == 1
    run(world.store, accepts_server(world.store))
    assert (fence.find_one({"_id": "server"}) or {})["token"] == as_token(server_name(world.admin, SCHEMA))


def test_what_is_refused_is_told_with_its_command_and_without_passwords(world: World) -> None:
    """An administrator who may not do it reads which command it was."""
    world.init(DELETES)
    store = replace(world.store, roles={**world.store.roles, "admin": world.store.roles["read"]})
    with pytest.raises(
        Unready, match=r": create: not authorized on driftline to execute command \(action: createCollection\) \("
    ) as refused:
        run(store, statements(store, [DELETES]))
    assert "password of" not in str(refused.value)
