"""Raw value -> canonical value -> unambiguous bytes, by the contract's type and the dialect of the store.

`reader` makes the first step, `normalisation` the named functions that a contract may put between, `encode` the last.
`app.core.types.canonical` says what canonical values are.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from app.core.contract import FieldKind, FieldType
from app.core.errors import ContractViolation
from app.core.types import numbers, structured, temporal, text
from app.core.types.canonical import ENCODINGS, Canonical, Dialect, Misfit, Read, ReadMany

Change = Callable[[Canonical], Canonical]

_LENGTH: Final = struct.Struct(">I")
NULL: Final = b"\x00"
"""The bytes of NULL, of whatever type."""
TAGS: Final = {kind: bytes([number]) for number, kind in enumerate(FieldKind, start=1)}
"""The byte of each type before the length and the bytes of a value."""
_TEXTS: Final = frozenset({FieldKind.STRING, FieldKind.ENUM})
_STAMPS: Final = frozenset({FieldKind.INSTANT, FieldKind.LOCAL_TIMESTAMP, FieldKind.TIME})
_NUMBERS: Final = frozenset({FieldKind.BOOL, FieldKind.DATE, *_STAMPS, *numbers.INTEGER_RANGES})
_SQL: Final = frozenset({Dialect.POSTGRES_SQL, Dialect.BINLOG_SQL})
_LOGS_WITH_BITS: Final = frozenset({Dialect.POSTGRES_CDC, Dialect.BINLOG_CDC})
_FINEST: Final = 6
_MOST_DIGITS: Final = 4


def _array(type_: FieldType, dialect: Dialect, encoding: str) -> Read:
    if type_.element is None:
        raise ContractViolation("an array without the type of its elements", hint="state `element`")
    return structured.array(reader(type_.element, dialect, encoding))


def _bytes(_type: FieldType, dialect: Dialect, encoding: str) -> Read:
    return text.read_bytes if dialect in _SQL else text.bytes_by_log(form=encoding)


def _integer(type_: FieldType, dialect: Dialect, encoding: str) -> Read:
    return numbers.integer(type_.kind, bits=encoding == "bits" and dialect not in _SQL)


_READERS: Final[dict[FieldKind, Callable[[FieldType, Dialect, str], Read]]] = {
    **dict.fromkeys(numbers.INTEGER_RANGES, _integer),
    FieldKind.BOOL: lambda _type, _dialect, _encoding: numbers.read_bool,
    FieldKind.DECIMAL: lambda type_, _dialect, _encoding: numbers.decimal(type_.scale),
    FieldKind.FLOAT32: lambda _type, _dialect, _encoding: numbers.floating(single=True),
    FieldKind.FLOAT64: lambda _type, _dialect, _encoding: numbers.floating(single=False),
    FieldKind.STRING: lambda _type, _dialect, _encoding: text.read_string,
    FieldKind.ENUM: lambda _type, _dialect, _encoding: text.read_string,
    FieldKind.BYTES: _bytes,
    FieldKind.DATE: lambda _type, _dialect, _encoding: temporal.read_date,
    FieldKind.TIME: lambda type_, _dialect, encoding: temporal.time_of_day(type_, encoding),
    FieldKind.LOCAL_TIMESTAMP: lambda type_, _dialect, encoding: temporal.local_timestamp(type_, encoding),
    FieldKind.INSTANT: lambda type_, _dialect, encoding: temporal.instant(type_, encoding),
    FieldKind.INTERVAL: lambda _type, _dialect, _encoding: temporal.read_interval,
    FieldKind.UUID: lambda _type, _dialect, _encoding: text.read_uuid,
    FieldKind.JSON: lambda _type, _dialect, _encoding: structured.read_json,
    FieldKind.ARRAY: _array,
    FieldKind.INET: lambda _type, _dialect, _encoding: text.read_inet,
    FieldKind.BITS: lambda _type, dialect, _encoding: numbers.bit_string(by_log=dialect in _LOGS_WITH_BITS),
}


def reader(type_: FieldType, dialect: Dialect, encoding: str = "") -> Read:
    """Return what reads raw values of a dialect as a type; a type or encoding that is unknown is a refusal."""
    if encoding and encoding not in ENCODINGS:
        raise ContractViolation(f"unknown encoding {encoding!r}", hint=f"one of {', '.join(sorted(ENCODINGS))}")
    if type_.collation not in text.COLLATIONS:
        raise ContractViolation(
            f"unknown collation {type_.collation!r}", hint=f"one of {', '.join(sorted(text.COLLATIONS))}"
        )
    if not 0 <= type_.precision <= _FINEST:
        raise ContractViolation("a precision outside 0 to 6 digits of the second")
    return _READERS[type_.kind](type_, dialect, encoding)


def reader_of_many(type_: FieldType, encoding: str = "") -> tuple[type, ReadMany] | None:
    """Return what reads many raw values of one type in the form that is usual for a log, and that raw type.

    None where there is no such form, or where it is not worth a way of its own.
    """
    kind = type_.kind
    if kind in numbers.INTEGER_RANGES:
        return int, numbers.integers(kind)
    if kind in _TEXTS:
        return str, lambda raws: raws
    if kind is FieldKind.DECIMAL:
        return str, numbers.decimals(type_.scale)
    if kind is FieldKind.INSTANT:
        return str, temporal.instants(type_)
    clocks = temporal.wall_clocks(type_, encoding) if kind is FieldKind.LOCAL_TIMESTAMP else None
    return None if clocks is None else (int, clocks)


def _number_bytes(value: Any) -> bytes:  # noqa: ANN401 - a number, or an infinity's text
    return value.encode() if isinstance(value, str) else b"%d" % value


def _text_bytes(value: Any) -> bytes:  # noqa: ANN401 - a str by its kind
    try:
        return value.encode()  # type: ignore[no-any-return] # likewise
    except UnicodeEncodeError:
        raise Misfit("text that is not Unicode") from None


def _data_of(type_: FieldType) -> Callable[[Any], bytes]:
    if type_.kind in _NUMBERS:
        return _number_bytes
    if type_.kind is FieldKind.BYTES:
        return bytes
    if type_.kind in {FieldKind.ARRAY, FieldKind.INTERVAL}:
        part = encode(type_.element or FieldType(FieldKind.INT64))
        return lambda value: b"".join(map(part, value))
    return _text_bytes


def encode(type_: FieldType) -> Callable[[Canonical], bytes]:
    """Return what turns canonical values of a type into bytes: type tag, length, bytes; NULL has a tag of its own."""
    tag = TAGS[type_.kind]
    pack = _LENGTH.pack
    data_of = _data_of(type_)

    def write(value: Canonical) -> bytes:
        if value is None:
            return NULL
        data = data_of(value)
        return tag + pack(len(data)) + data

    return write


def _six_digits(value: Canonical) -> Canonical:
    if not isinstance(value, str) or not value[-1].isdigit():
        return value
    return numbers.float_text(float(f"{float(value):.6g}"))


def folding(type_: FieldType) -> Change | None:
    """Return what makes values that count as equal the same, or None where there is nothing to do.

    That is what a string's collation holds equal, and float32 to six digits: a snapshot of MariaDB carries no more.
    """
    if type_.kind is FieldKind.FLOAT32:
        return _six_digits
    fold = text.fold(type_.collation) if type_.kind in _TEXTS else None
    if fold is None:
        return None
    return lambda value: fold(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Normalisation:
    """A named, pure function on canonical values. Its version belongs to the digest: change both together.

    `make` takes the type and the number after the colon (None if there is none).
    """

    version: int
    kinds: frozenset[FieldKind]
    takes_number: bool
    make: Callable[[FieldType, int], Change]


def _on_text(change: Callable[[str], str]) -> Callable[[FieldType, int], Change]:
    return lambda _type, _number: lambda value: change(value) if isinstance(value, str) else value


def _digits(type_: FieldType, digits: int, *, half_up: bool) -> Change:
    if type_.kind is FieldKind.DECIMAL:
        return lambda value: numbers.rounded(value, digits, half_up=half_up) if isinstance(value, str) else value
    if type_.kind in _STAMPS:
        step = 10 ** (_FINEST - min(digits, _FINEST))
        half = step // 2 if half_up else 0
        return lambda value: (value + half) // step * step if isinstance(value, int) else value

    def on_float(value: Canonical) -> Canonical:
        if not isinstance(value, str) or not value[-1].isdigit():
            return value
        exact = numbers.decimal_text(value)
        return numbers.float_text(float(numbers.rounded(exact, digits, half_up=half_up)))

    return on_float


def _cut(_type: FieldType, length: int) -> Change:
    return lambda value: value[:length] if isinstance(value, str) else value


def _truncate(type_: FieldType, number: int) -> Change:
    return _cut(type_, number) if type_.kind is FieldKind.STRING else _digits(type_, number, half_up=False)


_ROUNDED: Final = frozenset({FieldKind.DECIMAL, FieldKind.FLOAT32, FieldKind.FLOAT64}) | _STAMPS
NORMALISATIONS: Final[dict[str, Normalisation]] = {
    "trim": Normalisation(1, _TEXTS, False, _on_text(lambda value: value.strip(" "))),
    "trim_end": Normalisation(1, _TEXTS, False, _on_text(lambda value: value.rstrip(" "))),
    "upper": Normalisation(1, _TEXTS, False, _on_text(str.upper)),
    "lower": Normalisation(1, _TEXTS, False, _on_text(str.lower)),
    "fold": Normalisation(1, _TEXTS, False, _on_text(text.fold_case)),
    "nfc": Normalisation(1, _TEXTS, False, _on_text(lambda value: unicodedata.normalize("NFC", value))),
    "collapse_blanks": Normalisation(
        1, _TEXTS, False, _on_text(lambda value: " ".join(filter(None, value.split(" "))))
    ),
    "empty_to_null": Normalisation(1, _TEXTS, False, lambda _type, _number: lambda value: value or None),
    "round": Normalisation(1, _ROUNDED, True, lambda type_, number: _digits(type_, number, half_up=True)),
    "truncate": Normalisation(1, _ROUNDED | {FieldKind.STRING}, True, _truncate),
}
"""The closed list of what a contract may name under `normalise`, as `trim` or `round:2`."""


def normalisation(name: str, type_: FieldType) -> tuple[Change, str]:
    """Return the function of a name for a type, and its full name with version; refuse a name that is not listed."""
    base, colon, number = name.partition(":")
    known = NORMALISATIONS.get(base)
    if known is None:
        raise ContractViolation(f"unknown normalisation {name!r}", hint=f"one of {', '.join(sorted(NORMALISATIONS))}")
    if type_.kind not in known.kinds:
        raise ContractViolation(f"normalisation {base!r} does not apply to {type_.kind.value}")
    if known.takes_number != bool(colon) or (
        colon and not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS)
    ):
        form = f"{base}:2" if known.takes_number else base
        raise ContractViolation(f"malformed normalisation {name!r}", hint=f"write it as {form}")
    return known.make(type_, int(number or 0)), f"{name}@{known.version}"
