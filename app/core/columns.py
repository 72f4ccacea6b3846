"""Columns of raw values -> bytes, a column at once: the same bytes that come of each value alone.

Most columns of a block hold values of one raw type, often few different ones. Both are found out by operations on sets
that run in C, and only what is left is done value by value. A value that needs a closer look (a container, a number
beyond 64 bits, one that the log left out, whatever does not fit) is no error here: None stands for it, and its row is
read by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from app.core.canonical_key import key_writer
from app.core.contract import FieldKind, FieldType
from app.core.normalise import NULL, TAGS, encode, reader_of_many
from app.core.types.canonical import Canonical, Micros, Misfit, Read
from app.core.types.numbers import INTEGER_RANGES

WriteColumn = Callable[[Sequence[object]], list[bytes | None]]
"""Writes the values of a column, in their order; None stands where a value needs a closer look."""

_NONE: Final = type(None)
_PLAIN: Final[frozenset[type]] = frozenset({str, int, bool, float, bytes, Micros})
_PLAIN_OR_NULL: Final = _PLAIN | {_NONE}
_LOWEST, _HIGHEST = -(1 << 63), (1 << 64) - 1  # parsers of JSON agree on integers up to here, and on no others
_MANY: Final = 2  # different values are many if each comes less often than this
_SHORT: Final = 64
_LENGTH: Final = struct.Struct(">I")
_ZERO: Final = 0x80
_NUMBERS: Final = frozenset({FieldKind.INSTANT, FieldKind.LOCAL_TIMESTAMP, *INTEGER_RANGES})

_Write = Callable[[Canonical], bytes]
_Many = tuple[type, Callable[[Sequence[Any]], Sequence[bytes | None] | None]]
"""What writes many values of one raw type, none of them None; it returns None if one of them needs a closer look."""


def field_writer(prefix: bytes, type_: FieldType, read: Read, encoding: str, *, is_changed: bool) -> WriteColumn:
    """Return what encodes a column of a field, each value behind `prefix`.

    `is_changed` says that `read` does more to a value than its type asks for.
    """
    write = encode(type_)
    found = None if is_changed else reader_of_many(type_, encoding)
    many: _Many | None = None
    if found is not None:
        kind, read_many = found
        write_many = _encoder_of_many(prefix, type_.kind)

        def encode_many(raws: Sequence[Any]) -> Sequence[bytes | None] | None:
            values = read_many(raws)
            return None if values is None else write_many(values)

        many = kind, encode_many
    return _column(lambda raw: prefix + write(read(raw)), prefix + NULL, many)


def key_part_writer(type_: FieldType, read: Read) -> WriteColumn:
    """Return what writes a column of one part of a key; keys have no NULL."""
    write = key_writer(type_)
    many: _Many | None = (int, _key_integers(type_.kind)) if type_.kind in INTEGER_RANGES else None
    return _column(lambda raw: write(read(raw)), None, many)


def _column(write_one: Callable[[object], bytes], null: bytes | None, many: _Many | None) -> WriteColumn:
    def one(raw: object) -> bytes | None:
        if raw is None:
            return null
        kind = type(raw)
        if kind not in _PLAIN or (kind is int and not _LOWEST <= raw <= _HIGHEST):  # type: ignore[operator] # an int
            return None
        try:
            return write_one(raw)
        # A zero date reads as None, and what writes a part of a key fails on it.
        except (Misfit, UnicodeEncodeError, struct.error, TypeError):
            return None

    raw_type, write_many = many if many is not None else (_NONE, None)

    def column(raws: Sequence[object]) -> list[bytes | None]:
        kinds = set(map(type, raws))
        # Values of different types may count as equal (1, True and 1.0 do), so no set is made of them.
        if len(kinds - {_NONE}) > 1 or not kinds <= _PLAIN_OR_NULL:
            return [one(raw) for raw in raws]
        different = set(raws)
        if write_many is not None and raw_type in kinds and len(different) * _MANY > len(raws):
            whole = raws if _NONE not in kinds else [raw for raw in raws if raw is not None]
            written = write_many(whole)
            if written is not None:
                if whole is raws:
                    return list(written)
                rest = iter(written)
                return [null if raw is None else next(rest) for raw in raws]
        known = {raw: one(raw) for raw in different}
        return [known[raw] for raw in raws]

    return column


def _encoder_of_many(prefix: bytes, kind: FieldKind) -> Callable[[Sequence[Any]], list[bytes | None] | None]:
    """Return what encodes canonical values of a kind: numbers in digits, or texts."""
    head = prefix + TAGS[kind]
    length = _LENGTH.pack
    heads = [head + length(n) for n in range(_SHORT)]

    def numbers(values: Sequence[int]) -> list[bytes | None]:
        return [heads[len(data := b"%d" % value)] + data for value in values]

    def texts(values: Sequence[str]) -> list[bytes | None] | None:
        try:
            datas = list(map(str.encode, values))
        except UnicodeEncodeError:
            return None
        return [(heads[n] if (n := len(data)) < _SHORT else head + length(n)) + data for data in datas]

    return numbers if kind in _NUMBERS else texts


def _key_integers(kind: FieldKind) -> Callable[[Sequence[int]], list[bytes | None] | None]:
    lowest, highest = max(0, INTEGER_RANGES[kind][0]), INTEGER_RANGES[kind][1]
    heads = [bytes([_ZERO + size]) for size in range(9)]

    def write(values: Sequence[int]) -> list[bytes | None] | None:
        if min(values) < lowest or max(values) > highest:
            return None
        return [heads[size := (value.bit_length() + 7) >> 3] + value.to_bytes(size, "big") for value in values]

    return write
