"""Both tables compared whole by SQL: each row as one text, in the same spelling in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pymysql.cursors
from demo_parts.sides import Kind, Side

_AT_ONCE: Final = 10_000
_ROW: Final = {
    Kind.POSTGRES: (
        "SELECT id, concat_ws('|', coalesce(name, '~'), price, quantity, paid::int,"
        " to_char(bought_at, 'YYYY-MM-DD HH24:MI:SS.US')) FROM {table} ORDER BY id"
    ),
    Kind.MARIADB: (
        "SELECT id, concat_ws('|', coalesce(name, '~'), price, quantity, paid,"
        " date_format(bought_at, '%Y-%m-%d %H:%i:%s.%f')) FROM {table} ORDER BY id"
    ),
}


def rows_of(side: Side, table: str) -> Iterator[tuple[int, str]]:
    """Give every row of a table in the order of keys."""
    text = _ROW[side.kind].format(table=table)
    with side.connection(autocommit=False) as connection, _streaming(side.kind, connection) as cursor:
        cursor.execute(text)
        while rows := cursor.fetchmany(_AT_ONCE):
            yield from rows


def _streaming(kind: Kind, connection: Any) -> Any:  # noqa: ANN401 - two drivers without a common type
    if kind is Kind.POSTGRES:
        return connection.cursor("whole_table")
    return connection.cursor(pymysql.cursors.SSCursor)


def differing(left: Iterator[tuple[int, str]], right: Iterator[tuple[int, str]]) -> set[int]:
    """Return the keys under which the two have not the same row; both come in the order of keys."""
    found: set[int] = set()
    ours, theirs = next(left, None), next(right, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours[0] < theirs[0]):
            found.add(ours[0])  # type: ignore[index] # one of the two is there
            ours = next(left, None)
        elif ours is None or theirs[0] < ours[0]:
            found.add(theirs[0])
            theirs = next(right, None)
        else:
            if ours[1] != theirs[1]:
                found.add(ours[0])
            ours, theirs = next(left, None), next(right, None)
    return found
