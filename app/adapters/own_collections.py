"""What `driftline init` runs in MongoDB: own collections, logins, and roles no wider than each role's work.

| role | may |
|---|---|
| beacon | find and update in the beacon's collection |
| read | find in the contracts' collections |
| apply | find in the contracts' collections here; where this store is repaired, update and insert in them, list their |
|       | indexes, and remove if the policy deletes; add to the ledger; find in the fence's; write what a transaction  |
|       | shares with whoever raises a flag (`app.adapters.mongodb_fence`)                                             |
| capture | find, and watch the change streams of all databases: one stream has to bring our own collections too; |
|         | insert signals |
| conduct | find in the contracts' collections; insert signals |

Each also lists the collections of the databases that it works in, by whose answer it is known which server there is and
what its change streams carry. A role of MongoDB has no finer measure than a collection: which fields may be written is
the applier's own care. Every run leaves the same rights.

A statement is one command as extended JSON, with its database. Logins live in the store's database, where they are
asked for; roles live in `admin`, for only there they may speak of several databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from bson import json_util
from bson.int64 import Int64
from pymongo.errors import OperationFailure, PyMongoError

from app.adapters.mongodb_client import connect_mongodb
from app.adapters.mongodb_faults import said
from app.adapters.mongodb_fence import FENCE, SHARED
from app.adapters.mongodb_identity import BEACON, as_token, server_name
from app.adapters.mongodb_ledger import CHAIN_FIELDS, LEDGER
from app.adapters.own_script import HIDDEN, LOGINS, Statement
from app.core.contract import EntityContract, RepairMode
from app.core.errors import Unready
from app.core.guard import repair_policy
from app.settings import StoreSettings

SIGNAL: Final = "driftline_signal"
OWN: Final = (BEACON, SIGNAL, LEDGER, FENCE, SHARED)

_SERVER: Final = "'server'"
"""Stands for the token of the server that answers."""
_IMAGES: Final = {"changeStreamPreAndPostImages": {"enabled": True}}
_MAJORITY: Final = {"writeConcern": {"w": "majority"}}
_LIST: Final = "listCollections"
_INDEXES: Final[tuple[tuple[str, tuple[str, ...], bool], ...]] = (
    ("driftline_ledger_chain", CHAIN_FIELDS, True),
    ("driftline_ledger_written", ("kind", "written_at", "entity", "action", "approver"), False),
    ("driftline_ledger_row", ("key_hash", "written_at"), False),
    ("driftline_ledger_original", ("original_id",), False),
)
_IS_THERE: Final = frozenset({48, 51002, 51003})
"""A collection, a role, a user: the command behind brings it to what it must be."""

Privilege = dict[str, Any]


def statements(store: StoreSettings, contracts: Iterable[EntityContract]) -> list[Statement]:
    """Return what makes one store ready, in order."""
    here = [contract for contract in contracts if any(place.store == store.name for place in contract.stores)]
    tables = [contract.table_of(store.name).table for contract in here]
    return [
        *_collections(store),
        *(_asked(*_split(store, table, "collMod"), _IMAGES, needs=table) for table in dict.fromkeys(tables)),
        *_documents(store),
        *_roles(store, here),
    ]


def accepts_server(store: StoreSettings) -> list[Statement]:
    """Return what lets repairs go on where another server answers for the store than the one they were made on."""
    return [_update(store, FENCE, {"q": {"_id": "server"}, "u": {"$set": {"token": _SERVER}}})]


def raises_fence(store: StoreSettings, shard: str = "") -> list[Statement]:
    """Return what lets a fence stand at its token of the settings; one that stands higher stays there.

    It is the store's, or that of one of its shards, for which `KeyError` is raised where the settings have no token.
    """
    if shard:
        raised = {"$max": {"token": Int64(store.shard_fence_tokens[shard])}, "$setOnInsert": {"scope": shard}}
        flag = _update(store, FENCE, {"q": {"_id": shard}, "u": raised, "upsert": True})
    else:
        token = Int64(store.fence_token)
        flag = _update(store, FENCE, {"q": {"_id": "*", "token": {"$lt": token}}, "u": {"$set": {"token": token}}})
    # Repairs under way are waited for, and those that have not seen the flag cannot write any more.
    return [flag, _update(store, SHARED, {"q": {}, "u": {"$inc": {"shared": Int64(1)}}, "multi": True})]


def _asked(database: str, *parts: dict[str, Any], role: str = "", needs: str = "") -> Statement:
    command = {name: value for part in parts for name, value in part.items()}
    text = json_util.dumps({"db": database, "command": command}, json_options=json_util.CANONICAL_JSON_OPTIONS)
    return Statement(text, role=role, needs=needs)


def _update(store: StoreSettings, collection: str, *updates: dict[str, Any]) -> Statement:
    return _asked(store.schema, {"update": collection, "updates": list(updates), "ordered": True}, _MAJORITY)


def place_of(store: StoreSettings, table: str) -> tuple[str, str]:
    """Return a contract's database and collection."""
    database, dot, collection = table.partition(".")
    return (database, collection) if dot else (store.database, table)


def _split(store: StoreSettings, table: str, command: str) -> tuple[str, dict[str, Any]]:
    database, collection = place_of(store, table)
    return database, {command: collection}


def _collections(store: StoreSettings) -> Iterator[Statement]:
    for name in OWN:
        yield _asked(store.schema, {"create": name}, _IMAGES, _MAJORITY)
        yield _asked(store.schema, {"collMod": name}, _IMAGES, _MAJORITY)
    indexes = [
        {"name": name, "key": dict.fromkeys(fields, 1), "unique": is_unique} for name, fields, is_unique in _INDEXES
    ]
    yield _asked(store.schema, {"createIndexes": LEDGER, "indexes": indexes}, _MAJORITY)
    # Who may insert may insert anything else.
    placed = {"partition": {"bsonType": "int", "minimum": 0}, "sequence": {"bsonType": "long", "minimum": 1}}
    yield _asked(
        store.schema, {"collMod": LEDGER, "validator": {"$jsonSchema": {"required": [*placed], "properties": placed}}}
    )


def _documents(store: StoreSettings) -> Iterator[Statement]:
    names = ("writer_epoch", "sequence", "issued_at_ms", "previous_acknowledged_ms")
    beacon = {"store_id": store.name, **dict.fromkeys(names, Int64(0)), "server": ""}
    # The first beacon brings the wall's time.
    yield _update(store, BEACON, {"q": {"_id": store.name}, "u": {"$setOnInsert": beacon}, "upsert": True})
    tokens = {"*": Int64(0), "stop": Int64(0), "server": _SERVER}
    flags = [
        {"q": {"_id": scope}, "u": {"$setOnInsert": {"scope": scope, "token": token}}, "upsert": True}
        for scope, token in tokens.items()
    ]
    yield _update(store, FENCE, *flags)


def _on(database: str, collection: str, *actions: str) -> Privilege:
    return {"resource": {"db": database, "collection": collection}, "actions": sorted(actions)}


def _roles(store: StoreSettings, contracts: list[EntityContract]) -> Iterator[Statement]:
    for role in (*LOGINS, "capture"):
        if role not in store.roles or role == "canary":
            continue
        user = store.roles[role].user
        name = f"{store.database}.{user}"
        rights = {"privileges": list(_privileges(store, role, contracts)), "roles": []}
        yield _asked("admin", {"createRole": name}, rights, _MAJORITY)
        yield _asked("admin", {"updateRole": name}, rights, _MAJORITY)
        held = {"roles": [{"role": name, "db": "admin"}]}
        if role == "capture":
            # Its login is the connector's own, with whatever else it may do.
            yield _asked(store.database, {"grantRolesToUser": user}, held, _MAJORITY)
            continue
        login = {"pwd": HIDDEN, **held, "mechanisms": ["SCRAM-SHA-256"]}
        yield _asked(store.database, {"createUser": user}, login, _MAJORITY, role=role)
        yield _asked(store.database, {"updateUser": user}, login, _MAJORITY, role=role)


def _privileges(store: StoreSettings, role: str, contracts: list[EntityContract]) -> Iterator[Privilege]:
    own = store.schema
    places = {place_of(store, contract.table_of(store.name).table): contract for contract in contracts}
    databases = sorted({database for database, _ in places})
    match role:
        case "beacon":
            yield _on(own, BEACON, "find", "update")
            yield _on(own, "", _LIST)
        case "capture":
            yield _on("", "", "find", "changeStream", _LIST)
            yield _on(own, SIGNAL, "insert")
            yield {"resource": {"cluster": True}, "actions": ["listDatabases"]}
        case "conduct":
            yield _on(own, SIGNAL, "insert")
        case "apply":
            yield _on(own, LEDGER, "find", "insert")
            yield _on(own, FENCE, "find")
            yield _on(own, SHARED, "find", "insert", "update")
            for database in sorted({own, *databases}):
                yield _on(database, "", _LIST)
        case _:
            for database in sorted({own, *databases}):
                yield _on(database, "", _LIST)
    if role in {"read", "apply", "conduct"}:
        for (database, collection), contract in sorted(places.items(), key=lambda item: item[0]):
            writes = _writes(store, contract) if role == "apply" else ()
            yield _on(database, collection, "find", *writes)


def _writes(store: StoreSettings, contract: EntityContract) -> tuple[str, ...]:
    policy = repair_policy(contract, store.name)
    if policy is None or policy.mode is RepairMode.OBSERVE:
        return ()
    writes = ("insert", "update", "listIndexes")
    return (*writes, "remove") if policy.deletes else writes


def run(store: StoreSettings, script: Iterable[Statement]) -> list[str]:
    """Run the commands with the role `admin`; return the contracts' collections that are not there yet.

    `Unready` says which command the server refused, and why: an administrator may read the server's words.
    """
    at = "log in"
    missing: dict[str, None] = {}
    try:
        with connect_mongodb(store, "admin") as client:
            for statement in script:
                asked = json_util.loads(statement.text, json_options=json_util.CANONICAL_JSON_OPTIONS)
                database, command = asked["db"], asked["command"]
                at = next(iter(command))
                if statement.needs and not _has(client, *place_of(store, statement.needs)):
                    missing[statement.needs] = None
                    continue
                if statement.role:
                    command["pwd"] = store.role(statement.role).password()
                for update in command.get("updates", ()):
                    for change in update["u"].values():
                        if change.get("token") == _SERVER:
                            change["token"] = Int64(as_token(server_name(client, store.schema)))
                _execute(client, database, command)
    except (PyMongoError, OSError) as error:
        raise Unready(
            f"{at}: {said(error)}",
            where=f"store {store.name} at {store.host}:{store.port}",
            hint="is there a primary, and may the role admin do this? nothing is lost by running init again",
        ) from None
    return list(missing)


def _has(client: Any, database: str, collection: str) -> bool:  # noqa: ANN401 - the driver's type
    return bool(client[database].list_collection_names(filter={"name": collection}))


def _execute(client: Any, database: str, command: dict[str, Any]) -> None:  # noqa: ANN401 - the driver's type
    try:
        answer = client[database].command(command)
    except OperationFailure as refused:
        if refused.code not in _IS_THERE:
            raise
        return
    # An update that was refused is told within an answer that says `ok`.
    for fault in (*answer.get("writeErrors", ()), *filter(None, [answer.get("writeConcernError")])):
        raise OperationFailure(str(fault.get("errmsg")), fault.get("code"))
