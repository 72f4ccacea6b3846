"""The part of an envelope that MariaDB and MySQL share: table, place in the binlog, GTID."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from app.codec.wire import Reason, undecodable
from app.core.position import binlog_place


def table_of(source: Mapping[str, object]) -> str:
    """Return `database.table`."""
    return f"{source['db']}.{source['table']}"


@lru_cache(maxsize=64)
def file_number(name: str) -> int:
    """Return the number of a binlog file; as text, the millionth would sort before the second."""
    number = name.rpartition(".")[2]
    if not (number.isascii() and number.isdigit()):
        raise undecodable(Reason.BAD_ENVELOPE, "source.file does not end in the number of a binlog")
    return int(number)


def place_of(source: Mapping[str, object], *, is_delete: bool, order: int) -> bytes:  # noqa: ARG001 - the form that all stores share
    """Return the place: the binlog's number, the offset in it, and the row within the event."""
    name, offset, row = source["file"], source["pos"], source["row"]
    if not isinstance(name, str) or not isinstance(offset, int) or not isinstance(row, int):
        raise undecodable(Reason.BAD_ENVELOPE, "source has no file, pos and row")
    return binlog_place(file_number(name), offset, row, is_delete=is_delete)


def transaction_of(source: Mapping[str, object]) -> str:
    """Return the GTID, or an empty text where the server writes none."""
    gtid = source.get("gtid")
    return gtid if isinstance(gtid, str) else ""
