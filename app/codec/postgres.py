"""PostgreSQL's part of an envelope: table, place in the log, transaction; of one event, and of many typed ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import orjson

from app.codec.wire import Natural, Reason, undecodable
from app.core.errors import Undecodable
from app.core.position import postgres_place

_SEQUENCE_PARTS: Final = 2


def table_of(source: Mapping[str, object]) -> str:
    """Return `schema.table`."""
    return f"{source['schema']}.{source['table']}"


def place_of(source: Mapping[str, object], *, is_delete: bool, order: int) -> bytes:  # noqa: ARG001 - the form that all stores share
    """Return the place: the previous commit, or the LSN itself where none is told, and the LSN.

    A snapshot and the first streamed transaction tell no previous commit. A snapshot taken again must still stand
    behind what was streamed before it.
    """
    sequence = source.get("sequence")
    lsn = source.get("lsn")
    commit = 0
    if isinstance(sequence, str):
        parts = _parts_of(sequence)
        commit = int(parts[0] or 0)
        if lsn is None:  # an incremental read stands at its window's close, which only the sequence tells
            lsn = int(parts[1] or 0)
    if not isinstance(lsn, int):
        raise undecodable(Reason.BAD_ENVELOPE, "source has neither lsn nor sequence")
    return postgres_place(commit or lsn, lsn, is_delete=is_delete)


def _parts_of(sequence: str) -> list[str | None]:
    parts = orjson.loads(sequence)
    if not isinstance(parts, list) or len(parts) != _SEQUENCE_PARTS:
        raise undecodable(Reason.BAD_ENVELOPE, "source.sequence is not a pair")
    return parts


def transaction_of(source: Mapping[str, object]) -> str:
    """Return the transaction's id as PostgreSQL's log knows it, or an empty text."""
    number = source.get("txId")
    return "" if number is None else str(number)


class Source(msgspec.Struct, gc=False):
    """The `source` of a change as this connector usually writes it."""

    schema: object
    table: object
    lsn: Natural
    sequence: str | None = None
    txId: Natural | None = None  # noqa: N815 - the connector's name
    snapshot: str | bool | None = None


def places_of(sources: Sequence[Source], deletes: Sequence[bool]) -> list[bytes | None]:
    """Return the place of each change as `place_of` does; None where that has more to say."""
    places: list[bytes | None] = []
    for source, is_delete in zip(sources, deletes, strict=True):
        lsn = source.lsn
        try:
            commit = 0 if source.sequence is None else int(_parts_of(source.sequence)[0] or 0)
            places.append(postgres_place(commit or lsn, lsn, is_delete=is_delete))
        except (ValueError, TypeError, struct.error, Undecodable):
            places.append(None)
    return places


def transactions_of(sources: Sequence[Source]) -> list[int]:
    """Return the number of each change's transaction, 0 for none."""
    return [source.txId or 0 for source in sources]
