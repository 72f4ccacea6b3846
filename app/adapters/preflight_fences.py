"""Reads a target's flags for `driftline check`, as the applier reads them."""

from __future__ import annotations

from app.adapters.mysql_rows import MysqlRows
from app.adapters.postgres_rows import PostgresRows
from app.adapters.preflight_mongodb import read_flags
from app.core.guard import Fence
from app.core.store import StoreKind
from app.settings import StoreSettings


def read_fence(store: StoreSettings) -> Fence:
    """Return what the flags say, by the role `apply`; `Unready` or `Refused` where they cannot be read now."""
    if store.kind is StoreKind.MONGODB:
        return read_flags(store)
    kind = PostgresRows if store.kind is StoreKind.POSTGRES else MysqlRows
    rows = kind(store, (), b"")
    try:
        transaction = rows.begin(())
        try:
            return transaction.fence()
        finally:
            transaction.rollback()
    finally:
        rows.close()
