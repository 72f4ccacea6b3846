"""One unambiguous form of plain values, for hashes that bind them: type, length, bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

_LENGTH: Final = struct.Struct(">I").pack
_SHORT_BYTES: Final = 256


def _heads(tag: bytes) -> list[bytes]:
    """Return what stands before a short body of each length: to look it up is cheaper than to pack it again."""
    return [tag + _LENGTH(size) for size in range(_SHORT_BYTES)]


_BYTES: Final = _heads(b"b")
_STR: Final = _heads(b"s")
_INT: Final = _heads(b"i")
_ENUM: Final = _heads(b"e")
_BOOL: Final = _heads(b"t")
_TUPLE: Final = _heads(b"l")


def packed(value: object) -> bytes:
    """Return type, length and bytes of a value; `TypeError` for a type that has no form here."""
    return packed_fields((b"",), (value,))


def packed_fields(names: Iterable[bytes], values: Iterable[Any]) -> bytes:
    """Return each value as `packed` has it behind its name, in their order; the names come packed."""
    told: list[bytes] = []
    for name, value in zip(names, values, strict=True):
        # One loop without calls: it runs over each field of each command and each row of the ledger.
        kind = type(value)
        if kind is bytes:
            heads, body = _BYTES, value
        elif kind is str:
            heads, body = _STR, value.encode()
        elif kind is int:
            heads, body = _INT, b"%d" % value
        elif isinstance(value, Enum):
            heads, body = _ENUM, str(value.value).encode()
        elif kind is bool:
            heads, body = _BOOL, b"\x01" if value else b"\x00"
        elif kind is tuple:
            heads, body = _TUPLE, b"".join(map(packed, value))
        else:
            raise TypeError(f"{kind.__name__} has no signed form")
        size = len(body)
        told += (name, heads[size] if size < _SHORT_BYTES else heads[0][:1] + _LENGTH(size), body)
    return b"".join(told)
