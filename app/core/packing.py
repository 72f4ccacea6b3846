"""One unambiguous form of plain values, for hashes that bind them: type, length, bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

_LENGTH: Final = struct.Struct(">I").pack


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
            tag, body = b"b", value
        elif kind is str:
            tag, body = b"s", value.encode()
        elif kind is int:
            tag, body = b"i", b"%d" % value
        elif kind is bool:
            tag, body = b"t", b"\x01" if value else b"\x00"
        elif isinstance(value, Enum):
            tag, body = b"e", str(value.value).encode()
        elif kind is tuple:
            tag, body = b"l", b"".join(map(packed, value))
        else:
            raise TypeError(f"{kind.__name__} has no signed form")
        told += (name, tag, _LENGTH(len(body)), body)
    return b"".join(told)
