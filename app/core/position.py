"""The order of changes within one store, as bytes that compare as that store's log orders them.

A position is epoch (2 bytes), phase (1) and place (17). Phase `SNAPSHOT` stands before phase `STREAM`, since the
first streamed change may carry the snapshot's own log position. The place is what was measured to be strictly
ordered and stable under replay: for PostgreSQL the previous commit, the LSN, and delete before create; for
MariaDB and MySQL the binlog file's number, the offset in it, the row, and delete before create; for MongoDB the
cluster time and the order in its transaction. Positions of two stores are never compared.
"""

from __future__ import annotations

import struct
from typing import Final

SNAPSHOT: Final = 0
STREAM: Final = 1
PLACE_BYTES: Final = 17
POSITION_BYTES: Final = 20

BEFORE_ALL: Final = bytes(POSITION_BYTES)
"""A position before every change of any epoch."""

_POSTGRES = struct.Struct(">QQB")
_BINLOG = struct.Struct(">IQIB")
_MONGO = struct.Struct(">QQB")
_HEAD = struct.Struct(">HB")


def postgres_place(previous_commit_lsn: int, lsn: int, *, is_delete: bool) -> bytes:
    """Order by the previous commit first: LSNs alone are the order of writing, not of committing."""
    return _POSTGRES.pack(previous_commit_lsn, lsn, 0 if is_delete else 1)


def binlog_place(file_number: int, offset: int, row: int, *, is_delete: bool) -> bytes:
    """Order within a binlog of MariaDB or MySQL; a changed primary key's delete and create share all three numbers."""
    return _BINLOG.pack(file_number, offset, row, 0 if is_delete else 1)


def mongo_place(cluster_time: int, ordinal: int) -> bytes:
    """Order by cluster time (seconds << 32 | increment), then by the order within the transaction."""
    return _MONGO.pack(cluster_time, ordinal, 1)


def position(epoch: int, phase: int, place: bytes) -> bytes:
    """Join the three parts of a position."""
    return _HEAD.pack(epoch, phase) + place


def epoch_of(at: bytes) -> int:
    """Return the epoch in which a position was seen."""
    return int.from_bytes(at[:2], "big")


def phase_of(at: bytes) -> int:
    """Return `SNAPSHOT` or `STREAM`."""
    return at[2]


def place_of(at: bytes) -> bytes:
    """Return the place of a position in its store's log."""
    return at[3:]
