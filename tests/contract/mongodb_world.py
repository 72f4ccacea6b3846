"""Things in MongoDB: as `init` would leave a store, with a login for each role that may no more than it has to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from bson import Decimal128, Int64
from pymongo import ASCENDING
from pymongo.errors import PyMongoError

from app.adapters.mongodb_rows import MongodbRows
from app.adapters.own_tables import run, statements
from app.core.contract import EntityContract, Field, FieldType, KeyField, RepairMode, RepairPolicy, Replica, StoreTable
from app.core.store import Converter, StoreKind
from app.ports import RowStore
from app.settings import RoleSettings, StoreSettings
from tests.contract.mongodb_process import ADMIN, WORD, Server
from tests.contract.row_worlds import DIGEST_KEY, ENTITY, FIELDS, ID, World, thing

STORE = "mo"
PATHS = {"name": 'na"m`e 100%s', "code": "code", "amount": "price.of it", "seen": "seen"}
"""Where the fields of things stand: one of them in a document within."""

_WORLDS = count(1)


def mongodb_contract(
    database: str,
    fields: Mapping[str, FieldType] = FIELDS,
    paths: Mapping[str, str] = PATHS,
    key: FieldType = ID,
    encodings: Mapping[str, str] | None = None,
) -> EntityContract:
    """Return the contract of things, of which MongoDB is a replica; instants are microseconds there.

    What stands for the authority is another collection of the same database.
    """
    told = {"seen": "micros"} if encodings is None else encodings
    policy = RepairPolicy(mode=RepairMode.APPLY, deletes=True, deletes_wait=False)
    return EntityContract(
        entity=ENTITY,
        version=1,
        number=7,
        key=(KeyField("id", key, {"pg": "_id", STORE: "_id"}),),
        fields=tuple(
            Field(n, t, dict.fromkeys(("pg", STORE), paths[n]), encodings=_in_both(told.get(n)))
            for n, t in fields.items()
        ),
        authority="pg",
        stores=(
            StoreTable("pg", f"{database}.authority", "pg.things"),
            StoreTable(STORE, f"{database}.things", "mo.things"),
        ),
        replicas=(Replica(STORE, window_ms=3_000, quiet_for_ms=30_000, repair=policy),),
    )


def _in_both(encoding: str | None) -> dict[str, str]:
    return {} if encoding is None else dict.fromkeys(("pg", STORE), encoding)


def mongodb_settings(server: Server, folder: Path, database: str, own: str) -> StoreSettings:
    """Return the settings of a store, with logins of its own."""
    roles = {}
    word = folder / f"{database}-admin"
    word.write_text(WORD)
    roles["admin"] = RoleSettings(ADMIN, word)
    for role in ("read", "apply"):
        file = folder / f"{database}-{role}"
        file.write_text(f"a test's '{role}' word")
        roles[role] = RoleSettings(f"{database}_{role}", file)
    return StoreSettings(
        name=STORE,
        kind=StoreKind.MONGODB,
        topic_prefix="unused",
        converter=Converter.JSON,
        host=server.host,
        port=server.port,
        database=database,
        schema=own,
        roles=roles,
    )


class MongodbWorld(World):
    """Things in MongoDB, in databases of their own."""

    unheld: Mapping[str, object] = thing(amount="1" * 40)
    is_locked_by_snapshot = True

    def __init__(self, server: Server, folder: Path, **contract: Any) -> None:  # noqa: ANN401 - as its maker takes it
        number = next(_WORLDS)
        self.database, self.own_name = f"shop{number}", f"driftline{number}"
        self.settings = mongodb_settings(server, folder, self.database, self.own_name)
        self.agreed = mongodb_contract(self.database, **contract)
        self.admin = server.admin(w="majority", readConcernLevel="majority")
        self.shop, self.own = self.admin[self.database], self.admin[self.own_name]
        self.things = self.shop.create_collection("things")
        self.things.create_index([("code", ASCENDING)], unique=True)
        self.shop.command("createUser", ADMIN, pwd=WORD, roles=[{"role": "root", "db": "admin"}])
        assert run(self.settings, statements(self.settings, [self.agreed])) == []
        self.ledger = self.own["driftline_ledger"]
        self._stores: list[MongodbRows] = []
        self.mongodb = self.another()
        self.store: RowStore = self.mongodb

    def another(self, name: str = STORE) -> MongodbRows:
        """Return another process's view of the store, or of what stands for the authority."""
        self._stores.append(MongodbRows(replace(self.settings, name=name), [self.agreed], DIGEST_KEY))
        return self._stores[-1]

    def _privileges(self) -> tuple[str, list[dict[str, Any]]]:
        role = f"{self.database}.{self.settings.role('apply').user}"
        told = self.admin["admin"].command("rolesInfo", {"role": role, "db": "admin"}, showPrivileges=True)
        return role, told["roles"][0]["privileges"]

    def granted(self) -> set[tuple[str, str, str]]:
        """Return what the role that writes may do: database, collection, action."""
        privileges = [(each["resource"], each["actions"]) for each in self._privileges()[1]]
        return {(on["db"], on["collection"], action) for on, actions in privileges for action in actions}

    def take_right(self, collection: str, action: str) -> None:
        """Take an action on a collection away from the role that writes."""
        role, privileges = self._privileges()
        left = [
            {**each, "actions": [one for one in each["actions"] if one != action or on["collection"] != collection]}
            for each in privileges
            for on in [each["resource"]]
        ]
        self.admin["admin"].command("updateRole", role, privileges=left, roles=[])

    def document(self, number: int, values: Mapping[str, object]) -> dict[str, Any]:
        """Return a thing as the application writes it, with a field that no contract names."""
        found: dict[str, Any] = {"_id": Int64(number), "outside": "theirs"}
        for name, value in values.items():
            if name == "amount":
                found["price"] = {"currency": "EUR", "of it": Decimal128(str(value))}
            else:
                found[PATHS[name]] = Int64(value) if isinstance(value, int) else value
        return found

    def put(self, number: int, values: Mapping[str, object] | None) -> None:
        """Write or delete a thing."""
        if values is None:
            self.things.delete_one({"_id": number})
        else:
            self.things.replace_one({"_id": number}, self.document(number, values), upsert=True)

    @contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Write a thing in another session's transaction, or its key if it is absent."""
        with self.admin.start_session() as other:
            other.start_transaction()
            changed = self.things.update_one({"_id": number}, {"$set": {"outside": "held"}}, session=other)
            if not changed.matched_count:
                self.things.insert_one({"_id": Int64(number), "code": "held"}, session=other)
            try:
                yield
            finally:
                other.abort_transaction()

    def require_a_column(self) -> None:
        """Need a column."""
        self.shop.command("collMod", "things", validator={"$jsonSchema": {"required": ["needed"]}})

    def make_unsafe(self) -> None:
        """Put a view in the collection's place."""
        self.things.rename("hidden")
        self.shop.create_collection("things", viewOn="hidden", pipeline=[])

    def raise_flag(self, scope: str, token: int) -> None:
        """Say a flag, and write what every transaction writes."""
        flag = {"$set": {"scope": scope, "token": Int64(token)}}
        self.own["driftline_fence"].update_one({"_id": scope}, flag, upsert=True)
        self.own["driftline_shared"].update_many({}, {"$inc": {"shared": 1}})

    def raise_fence(self, token: int) -> None:
        """Fence it."""
        self.raise_flag("*", token)

    def fence_shard(self, shard: str, token: int) -> None:
        """Fence a shard."""
        self.raise_flag(shard, token)

    def stop(self) -> None:
        """Raise the flag that stops all writing."""
        self.raise_flag("stop", 1)

    def forge(self, row_id: bytes, column: str, value: object) -> None:
        """Change a field of a ledger row."""
        self.ledger.update_one({"_id": row_id.hex()}, {"$set": {column: value}})

    def take_any_partition(self) -> None:
        """Let the ledger take rows of any partition."""
        self.own.command("collMod", "driftline_ledger", validator={})

    def forget(self) -> None:
        """Let both clients go."""
        self.mongodb.close()

    def close(self) -> None:
        """Leave nothing behind."""
        for store in self._stores:
            store.close()
        try:
            # A test that failed has left its transaction open.
            self.admin.admin.command("killAllSessions", [])
            for role in ("read", "apply"):
                self.shop.command("dropUser", self.settings.role(role).user)
                self.admin["admin"].command("dropRole", f"{self.database}.{self.settings.role(role).user}")
            for database in (self.database, self.own_name):
                self.admin.drop_database(database)
        except PyMongoError:
            # The server ends with the tests.
            return
        finally:
            self.admin.close()
