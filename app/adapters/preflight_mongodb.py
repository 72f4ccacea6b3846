"""What `driftline check` needs to know of a store of MongoDB."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from pymongo.errors import PyMongoError

from app.adapters.fence_flags import fence_of
from app.adapters.mongodb_client import connect_mongodb
from app.adapters.mongodb_faults import said
from app.adapters.mongodb_fence import SharedFence
from app.adapters.mongodb_identity import as_token, server_name
from app.adapters.own_collections import place_of
from app.core.errors import Unready
from app.core.guard import Fence
from app.core.preflight.facts import CollectionFacts
from app.settings import StoreSettings

_MONGOS: Final = "isdbgrid"


def read_collections(store: StoreSettings, tables: Collection[str]) -> CollectionFacts:
    """Return what the role `read` is told of the server, and of the collections that it may list."""
    try:
        with connect_mongodb(store, "read") as client:
            hello = client.admin.command("hello")
            places = {table: place_of(store, table) for table in tables}
            listed = {database: _listed(client, database) for database in {database for database, _ in places.values()}}
    except (PyMongoError, OSError) as fault:
        raise _unready(store, fault, "read") from None
    return CollectionFacts(
        has_change_streams="setName" in hello or hello.get("msg") == _MONGOS,
        has_images={
            table: listed[database][collection]
            for table, (database, collection) in places.items()
            if collection in listed[database]
        },
    )


def _listed(client: Any, database: str) -> dict[str, bool]:  # noqa: ANN401 - the driver's type
    return {
        each["name"]: each.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled") is True
        for each in client[database].list_collections()
    }


def read_flags(store: StoreSettings) -> Fence:
    """Return what the flags say, by the role `apply`; `Unready` where they cannot be read now."""
    try:
        with connect_mongodb(store, "apply") as client:
            flags = SharedFence(client[store.schema]).flags()
            here = as_token(server_name(client, store.schema))
    except (PyMongoError, OSError) as fault:
        raise _unready(store, fault, "apply") from None
    return fence_of(flags, here, f"store {store.name} at {store.host}:{store.port}")


def _unready(store: StoreSettings, fault: Exception, role: str) -> Unready:
    return Unready(
        f"cannot be asked: {said(fault)}",
        where=f"store {store.name} at {store.host}:{store.port}",
        hint=f"check address, the role {role} and its rights: `driftline init` gives them",
    )
