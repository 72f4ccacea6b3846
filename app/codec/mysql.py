"""The part of an envelope that MariaDB and MySQL share: table, place in the binlog, GTID; of one event, and of many."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from app.codec.transactions import transaction_number
from app.codec.wire import Natural, Reason, undecodable
from app.core.errors import Undecodable
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


class Source(msgspec.Struct, gc=False):
    """The `source` of a change as these connectors usually write it."""

    db: object
    table: object
    file: str
    pos: Natural
    row: Natural
    gtid: str | None = None
    snapshot: str | bool | None = None


def places_of(sources: Sequence[Source], deletes: Sequence[bool]) -> list[bytes | None]:
    """Return the place of each change as `place_of` does; None where that has more to say."""
    places: list[bytes | None] = []
    for source, is_delete in zip(sources, deletes, strict=True):
        try:
            places.append(binlog_place(file_number(source.file), source.pos, source.row, is_delete=is_delete))
        except (struct.error, Undecodable):
            places.append(None)
    return places


def transactions_of(sources: Sequence[Source]) -> list[int]:
    """Return the number of each change's transaction, 0 for none."""
    return [transaction_number(source.gtid or "") for source in sources]
