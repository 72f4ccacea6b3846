"""One unambiguous form of plain values, for hashes that bind them: type, length, bytes."""

from __future__ import annotations

from enum import Enum


def packed(value: object) -> bytes:
    """Return type, length and bytes of a value; `TypeError` for a type that has no form here."""
    if isinstance(value, bytes):
        body, tag = value, b"b"
    elif isinstance(value, str):
        body, tag = value.encode(), b"s"
    elif isinstance(value, bool):
        body, tag = bytes([value]), b"t"
    elif isinstance(value, int):
        body, tag = str(value).encode(), b"i"
    elif isinstance(value, Enum):
        body, tag = str(value.value).encode(), b"e"
    elif isinstance(value, tuple):
        body, tag = b"".join(map(packed, value)), b"l"
    else:
        raise TypeError(f"{type(value).__name__} has no signed form")
    return tag + len(body).to_bytes(4, "big") + body
