"""Canonical keys: bytes that sort as the keys do, and from which the key can be read again.

Each part is written so that it tells its own end and no part is the beginning of another: two keys are the same
bytes only if they are the same key, and bytes compare as the tuples of parts do. Text sorts by code point.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from app.core.contract import EntityContract, FieldKind, FieldType
from app.core.errors import ContractViolation, Undecodable
from app.core.types.calendar import INFINITY, MINUS_INFINITY
from app.core.types.canonical import Canonical
from app.core.types.numbers import INTEGER_RANGES

Write = Callable[[Canonical], bytes]
Take = Callable[[bytes, int], tuple[Canonical, int]]

_ZERO: Final = 0x80
_MOST_INTEGER: Final = 0x40  # bytes of an integer
_INT64: Final = struct.Struct(">Q")
_BIAS: Final = 1 << 63
_EXPONENT_BIAS: Final = 1 << 31
_MOST_EXPONENT: Final = 200_000  # beyond any decimal that is read, and small enough to be written out
_END: Final = b"\x00\x01"
_ESCAPED: Final = b"\x00\xff"
_UUID_BYTES: Final = 16
_COMPLEMENT: Final = bytes(255 - byte for byte in range(256))
_TOKENS: Final[dict[str, bytes]] = {"-Infinity": b"\x01", "0": b"\x03", "Infinity": b"\x05", "NaN": b"\x06"}
_OF_TOKENS: Final = {tag[0]: token for token, tag in _TOKENS.items()}
_NEGATIVE: Final = 0x02
_POSITIVE: Final = 0x04

_MARKED_NUMBERS: Final = frozenset({FieldKind.DATE, FieldKind.TIME, FieldKind.INSTANT, FieldKind.LOCAL_TIMESTAMP})
_TEXTS: Final = frozenset({FieldKind.STRING, FieldKind.ENUM})
KEY_KINDS: Final = frozenset(
    {*INTEGER_RANGES, *_MARKED_NUMBERS, *_TEXTS, FieldKind.BOOL, FieldKind.DECIMAL, FieldKind.BYTES, FieldKind.UUID}
)
"""The kinds that may be part of a key."""


def _write_integer(value: Canonical) -> bytes:
    number: int = value  # type: ignore[assignment] # an int by its kind
    if number >= 0:
        size = (number.bit_length() + 7) // 8
        return bytes([_ZERO + size]) + number.to_bytes(size, "big")
    size = ((-number).bit_length() + 7) // 8
    return bytes([_ZERO - size]) + ((1 << 8 * size) - 1 + number).to_bytes(size, "big")


def _take_integer(data: bytes, at: int) -> tuple[Canonical, int]:
    size = data[at] - _ZERO
    end = at + 1 + abs(size)
    if abs(size) > _MOST_INTEGER or end > len(data):
        raise ValueError
    number = int.from_bytes(data[at + 1 : end], "big")
    return (number if size >= 0 else number - ((1 << -8 * size) - 1)), end


def _write_marked(value: Canonical) -> bytes:
    if value == MINUS_INFINITY:
        return b"\x01"
    if value == INFINITY:
        return b"\x03"
    return b"\x02" + _INT64.pack(value + _BIAS)  # type: ignore[operator] # an int if no infinity


def _take_marked(data: bytes, at: int) -> tuple[Canonical, int]:
    mark = data[at]
    if mark == 0x02:  # noqa: PLR2004 - as written above
        return _INT64.unpack_from(data, at + 1)[0] - _BIAS, at + 9
    return {0x01: MINUS_INFINITY, 0x03: INFINITY}[mark], at + 1


def _write_bool(value: Canonical) -> bytes:
    return b"\x01" if value else b"\x00"


def _take_bool(data: bytes, at: int) -> tuple[Canonical, int]:
    return bool(data[at]), at + 1


def _write_bytes(value: Canonical) -> bytes:
    data: bytes = value  # type: ignore[assignment] # bytes by their kind
    return data.replace(b"\x00", _ESCAPED) + _END


def _take_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    start = at
    while True:
        at = data.index(b"\x00", at)
        if data[at : at + 2] == _END:
            return data[start:at].replace(_ESCAPED, b"\x00"), at + 2
        at += 2


def _write_text(value: Canonical) -> bytes:
    return _write_bytes(value.encode())  # type: ignore[union-attr] # a str by its kind


def _take_text(data: bytes, at: int) -> tuple[Canonical, int]:
    found, end = _take_bytes(data, at)
    return found.decode(), end


def _write_uuid(value: Canonical) -> bytes:
    text: str = value  # type: ignore[assignment] # a str by its kind
    return bytes.fromhex(text.replace("-", ""))


def _take_uuid(data: bytes, at: int) -> tuple[Canonical, int]:
    digits = data[at : at + _UUID_BYTES].hex()
    if len(digits) != 2 * _UUID_BYTES:
        raise ValueError
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}", at + _UUID_BYTES


def _write_decimal(value: Canonical) -> bytes:
    text: str = value  # type: ignore[assignment] # a str by its kind
    if text in _TOKENS:
        return _TOKENS[text]
    whole, _, fraction = text.removeprefix("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    # The number is 0.DIGITS times ten to the exponent.
    exponent = len(whole) if whole != "0" else len(digits) - len(fraction)
    body = (exponent + _EXPONENT_BIAS).to_bytes(4, "big") + digits.rstrip("0").encode() + b"\x00"
    return b"\x02" + body.translate(_COMPLEMENT) if text[0] == "-" else b"\x04" + body


def _take_decimal(data: bytes, at: int) -> tuple[Canonical, int]:
    mark = data[at]
    if mark not in {_NEGATIVE, _POSITIVE}:
        return _OF_TOKENS[mark], at + 1
    end = data.index(b"\x00" if mark == _POSITIVE else b"\xff", at + 5)
    body = data[at + 1 : end]
    if mark == _NEGATIVE:
        body = body.translate(_COMPLEMENT)
    exponent = int.from_bytes(body[:4], "big") - _EXPONENT_BIAS
    digits = body[4:].decode("ascii")
    if abs(exponent) > _MOST_EXPONENT or not digits.isdigit():
        raise ValueError
    if exponent <= 0:
        text = "0." + "0" * -exponent + digits
    elif exponent >= len(digits):
        text = digits + "0" * (exponent - len(digits))
    else:
        text = f"{digits[:exponent]}.{digits[exponent:]}"
    return ("-" if mark == _NEGATIVE else "") + text, end + 1


def _forms(type_: FieldType) -> tuple[Write, Take]:
    kind = type_.kind
    if kind in INTEGER_RANGES:
        return _write_integer, _take_integer
    if kind in _MARKED_NUMBERS:
        return _write_marked, _take_marked
    if kind in _TEXTS:
        return _write_text, _take_text
    if kind is FieldKind.BOOL:
        return _write_bool, _take_bool
    if kind is FieldKind.BYTES:
        return _write_bytes, _take_bytes
    if kind is FieldKind.UUID:
        return _write_uuid, _take_uuid
    if kind is FieldKind.DECIMAL:
        return _write_decimal, _take_decimal
    raise ContractViolation(f"a key cannot be of type {kind.value}", hint="choose a key whose values have one form")


def key_writer(type_: FieldType) -> Write:
    """Return what writes one part of a key from its canonical value (never None)."""
    return _forms(type_)[0]


def decode_key(contract: EntityContract, key: bytes) -> tuple[Canonical, ...]:
    """Read the canonical values of a key's parts again, in the contract's order; `Undecodable` if it is none."""
    values: list[Canonical] = []
    at = 0
    try:
        for part in contract.key:
            value, at = _forms(part.type)[1](key, at)
            values.append(value)
    except (ValueError, IndexError, KeyError, struct.error):
        raise _unreadable(contract) from None
    if at != len(key):
        raise _unreadable(contract)
    return tuple(values)


def _unreadable(contract: EntityContract) -> Undecodable:
    return Undecodable(
        "wrong_key",
        "not a key of this entity",
        where=contract.entity,
        hint="the key was written under another contract, or was altered",
    )
