"""In which form each kind of store gives its values: by its log, and by SQL."""

from __future__ import annotations

from typing import Final

from app.core.store import StoreKind
from app.core.types.canonical import Dialect

BY_LOG: Final = {
    StoreKind.POSTGRES: Dialect.POSTGRES_CDC,
    StoreKind.MARIADB: Dialect.BINLOG_CDC,
    StoreKind.MYSQL: Dialect.BINLOG_CDC,
    StoreKind.MONGODB: Dialect.MONGO_CDC,
}


def by_sql(kind: StoreKind) -> Dialect:
    """Return the form in which a store's rows are read by SQL."""
    return Dialect.POSTGRES_SQL if kind is StoreKind.POSTGRES else Dialect.BINLOG_SQL
