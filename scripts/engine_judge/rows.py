"""Raw Debezium changes of the drill's table as rows, and the digest of a row, field by field.

The digest is keyed BLAKE2b of 16 bytes over, for each field in the contract's order: length and text of its name, a
number for its type, length and bytes of its value; one zero byte stands for NULL. Which entity and contract version it
belongs to is in the personalisation.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from engine_judge.moments import Place

# The numbers by which types stand in a digest.
BOOL, INT32, DECIMAL, STRING, INSTANT = 1, 4, 10, 13, 18
FIELDS = (
    ("name", STRING),
    ("price", DECIMAL),
    ("quantity", INT32),
    ("placed_at", INSTANT),
    ("open", BOOL),
    ("note", STRING),
)
ABSENT = b""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """One raw change: the row's number, where it stands in its log, and the row after it (None: no row)."""

    number: int
    place: Place
    is_snapshot: bool
    row: dict[str, Any] | None


def read_change(value: bytes | None) -> Change | None:
    """Read a change of either store; None for the tombstone behind a delete."""
    if value is None:
        return None
    envelope = orjson.loads(value)
    image = envelope["after"] if envelope["after"] is not None else envelope["before"]
    return Change(image["id"], place_of(envelope["source"]), envelope["op"] == "r", envelope["after"])


def place_of(source: dict[str, Any]) -> Place:
    """Return the place in the log: commit and LSN in PostgreSQL; file, offset and row in MariaDB."""
    if "lsn" in source:
        previous_commit, lsn = (int(part) for part in orjson.loads(source["sequence"]))
        return (previous_commit, lsn)
    return (int(source["file"].rpartition(".")[2]), source["pos"], source["row"])


def number_of(entity: str) -> int:
    """Return the number by which an entity stands in keys and digests."""
    return int.from_bytes(hashlib.blake2b(entity.encode()).digest()[:4], "big")


def key_bytes(number: int) -> bytes:
    """Return a positive integer as it stands in keys: 0x80 plus its length in bytes, then the bytes."""
    length = (number.bit_length() + 7) // 8
    return bytes([0x80 + length]) + number.to_bytes(length, "big")


def hash_of_key(digest_key: bytes, entity: str, number: int) -> bytes:
    """Return the keyed hash under which published records speak of a row."""
    told = number_of(entity).to_bytes(4, "big") + key_bytes(number)
    return hashlib.blake2b(told, key=digest_key, digest_size=16, person=b"DLkey\x01").digest()


class Digester:
    """Digests rows of one entity under one key."""

    def __init__(self, digest_key: bytes, entity: str, contract_version: int) -> None:
        self._key = digest_key
        self._person = struct.pack(">3sBIIH", b"DLg", 1, number_of(entity), contract_version, 0)

    def of(self, row: dict[str, Any] | None) -> bytes:
        """Return the digest of a row, `ABSENT` for none."""
        if row is None:
            return ABSENT
        told = b""
        for name, kind in FIELDS:
            told += struct.pack(">H", len(name)) + name.encode()
            value = row[name]
            if value is None:
                told += b"\x00"
            else:
                text = canonical(kind, value).encode()
                told += bytes([kind]) + struct.pack(">I", len(text)) + text
        return hashlib.blake2b(told, key=self._key, digest_size=16, person=self._person).digest()


def canonical(kind: int, value: Any) -> str:  # noqa: ANN401 - whatever JSON held
    """Return a value's one form as text, whichever store it came from."""
    if kind == BOOL:
        return "1" if value else "0"
    if kind == INT32:
        return str(int(value))
    if kind == DECIMAL:
        cents = Decimal(value).quantize(Decimal("0.01"))
        text = format(cents, "f").rstrip("0").rstrip(".")
        return "0" if text == "-0" else text
    if kind == INSTANT:
        # PostgreSQL's connector writes ISO 8601, MariaDB's microseconds since 1970.
        if isinstance(value, int):
            return str(value)
        since = datetime.fromisoformat(value) - _EPOCH
        return str((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
    return str(value)
