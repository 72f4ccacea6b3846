"""Connections to MongoDB with everything pinned that could change what a value reads or writes as, or for how long.

Reads and writes are of the primary and of a majority: what a minority has may be rolled back by a failover. No call
waits for longer than the others of this product do.
"""

from __future__ import annotations

from typing import Any, Final

from pymongo import MongoClient

from app.settings import StoreSettings

_CONNECT_MS: Final = 5_000
_ANSWER_MS: Final = 20_000

Document = dict[str, Any]


def connect_mongodb(store: StoreSettings, role: str) -> MongoClient[Document]:
    """Return a client of a store by a role's login; it connects with its first call, whose errors are the driver's.

    A login without a password's file is one for a server that asks for none.
    """
    login = store.role(role)
    password = login.password()
    known: dict[str, Any] = (
        {"username": login.user, "password": password, "authSource": store.database} if password else {}
    )
    secured: dict[str, Any] = {"tls": True, "tlsCAFile": str(store.ca_file)} if store.ca_file else {}
    return MongoClient(
        host=store.host,
        port=store.port,
        appname=f"driftline-{role}",
        connectTimeoutMS=_CONNECT_MS,
        serverSelectionTimeoutMS=_CONNECT_MS,
        socketTimeoutMS=_ANSWER_MS,
        retryWrites=False,
        retryReads=False,
        readPreference="primary",
        readConcernLevel="majority",
        w="majority",
        journal=True,
        tz_aware=True,
        uuidRepresentation="standard",
        **known,
        **secured,
    )
