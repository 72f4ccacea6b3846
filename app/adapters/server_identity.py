"""Which server of a store answers, in the store's own SQL: another one after a failover, or where a backup came back.

A copied database carries its rows along, and so the name of the server that a person once accepted; what these
expressions say belongs to the server alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.core.store import StoreKind

IDENTITY: Final[Mapping[StoreKind, str]] = {
    # The file name of the log's end begins with the timeline, which changes when a standby is promoted.
    StoreKind.POSTGRES: (
        "(SELECT system_identifier::text || '/'"
        " || ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer FROM pg_control_system())"
    ),
    StoreKind.MARIADB: "concat(@@server_id, '/', @@gtid_domain_id)",
    StoreKind.MYSQL: "@@server_uuid",
}
"""The server's name, as text."""


def as_token(kind: StoreKind) -> str:
    """Return the expression of a whole number of 60 bits that stands for the server's name in the table of flags."""
    digits = f"substr(md5({IDENTITY[kind]}), 1, 15)"
    if kind is StoreKind.POSTGRES:
        return f"('x' || {digits})::bit(60)::bigint"
    return f"CAST(conv({digits}, 16, 10) AS unsigned)"
