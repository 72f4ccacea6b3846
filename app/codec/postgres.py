"""PostgreSQL's part of an envelope: table, place in the log, transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from app.codec.wire import Reason, undecodable
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
        parts = orjson.loads(sequence)
        if not isinstance(parts, list) or len(parts) != _SEQUENCE_PARTS:
            raise undecodable(Reason.BAD_ENVELOPE, "source.sequence is not a pair")
        commit = int(parts[0] or 0)
        if lsn is None:  # an incremental read stands at its window's close, which only the sequence tells
            lsn = int(parts[1] or 0)
    if not isinstance(lsn, int):
        raise undecodable(Reason.BAD_ENVELOPE, "source has neither lsn nor sequence")
    return postgres_place(commit or lsn, lsn, is_delete=is_delete)


def transaction_of(source: Mapping[str, object]) -> str:
    """Return the transaction's id as PostgreSQL's log knows it, or an empty text."""
    number = source.get("txId")
    return "" if number is None else str(number)
