"""A server of MongoDB's protocol for tests: a stand-in on WiredTiger, a replica set of one, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from secantus import SecantusDBServer

from app.core.store import Converter, StoreKind
from app.settings import RoleSettings, StoreSettings

DATABASE = "shop"
SCHEMA = "driftline"

Admin = MongoClient[dict[str, Any]]


@contextlib.contextmanager
def mongodb_server(folder: Path, *, asks_for_logins: bool = False, port: int = 0) -> Iterator[SecantusDBServer]:
    """Run a server on a data folder for as long as the block lasts."""
    server = SecantusDBServer(storage_path=str(folder), port=port, require_auth=asks_for_logins)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def mongodb_store(server: SecantusDBServer, **roles: RoleSettings) -> StoreSettings:
    """Return a store there; its roles need no passwords unless they are given."""
    return StoreSettings(
        name="docs",
        kind=StoreKind.MONGODB,
        topic_prefix="docs",
        converter=Converter.JSON,
        host="127.0.0.1",
        port=server.port,
        database=DATABASE,
        schema=SCHEMA,
        roles=roles
        or {role: RoleSettings(role) for role in ("beacon", "read", "apply", "capture", "conduct", "admin")},
    )
