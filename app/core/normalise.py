"""Raw value -> canonical value -> unambiguous bytes, by the contract's type and the dialect of the store.

`reader` makes the first step, `normalisation` the named functions that a contract may put between, `encode` the last.
`app.core.types.canonical` says what canonical values are.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.core.contract import FieldKind, FieldType
from app.core.errors import ContractViolation
from app.core.types import numbers, structured, temporal, text
from app.core.types.canonical import ENCODINGS, Canonical, Dialect, Misfit, Read

Change = Callable[[Canonical], Canonical]

_LENGTH: Final = struct.Struct(">I")
_NULL: Final = b"\x00"
_TAGS: Final = {kind: bytes([number]) for number, kind in enumerate(FieldKind, start=1)}
_TEXTS: Final = frozenset({FieldKind.STRING, FieldKind.ENUM})
_STAMPS: Final = frozenset({FieldKind.INSTANT, FieldKind.LOCAL_TIMESTAMP, FieldKind.TIME})
_SQL: Final = frozenset({Dialect.POSTGRES_SQL, Dialect.BINLOG_SQL})
_FINEST: Final = 6


def reader(type_: FieldType, dialect: Dialect, encoding: str = "") -> Read:  # noqa: PLR0911, C901 - one line for each kind
    """Return what reads raw values of a dialect as a type; a type or encoding that is unknown is a refusal."""
    if encoding and encoding not in ENCODINGS:
        raise ContractViolation(f"unknown encoding {encoding!r}", hint=f"one of {', '.join(sorted(ENCODINGS))}")
    if type_.collation not in text.COLLATIONS:
        raise ContractViolation(
            f"unknown collation {type_.collation!r}", hint=f"one of {', '.join(sorted(text.COLLATIONS))}"
        )
    if not 0 <= type_.precision <= _FINEST:
        raise ContractViolation("a precision outside 0 to 6 digits of the second")
    match type_.kind:
        case FieldKind.BOOL:
            return numbers.read_bool
        case FieldKind.DECIMAL:
            return numbers.decimal(type_.scale)
        case FieldKind.FLOAT32 | FieldKind.FLOAT64:
            return numbers.floating(single=type_.kind is FieldKind.FLOAT32)
        case FieldKind.STRING | FieldKind.ENUM:
            return text.read_string
        case FieldKind.BYTES:
            return text.read_bytes if dialect in _SQL else text.bytes_by_log(form=encoding)
        case FieldKind.DATE:
            return temporal.read_date
        case FieldKind.TIME:
            return temporal.time_of_day(type_, encoding)
        case FieldKind.LOCAL_TIMESTAMP:
            return temporal.local_timestamp(type_, encoding)
        case FieldKind.INSTANT:
            return temporal.instant(type_, dialect, encoding)
        case FieldKind.INTERVAL:
            return temporal.read_interval
        case FieldKind.UUID:
            return text.read_uuid
        case FieldKind.JSON:
            return structured.read_json
        case FieldKind.INET:
            return text.read_inet
        case FieldKind.ARRAY:
            if type_.element is None:
                raise ContractViolation("an array without the type of its elements", hint="state `element`")
            return structured.array(reader(type_.element, dialect, encoding))
        case _:
            return numbers.integer(type_.kind, bits=encoding == "bits" and dialect not in _SQL)


def encode(type_: FieldType) -> Callable[[Canonical], bytes]:
    """Return what turns canonical values of a type into bytes: type tag, length, bytes; NULL has a tag of its own."""
    kind = type_.kind
    tag = _TAGS[kind]
    pack = _LENGTH.pack

    if kind in {FieldKind.BOOL, FieldKind.DATE, *_STAMPS, *numbers.INTEGER_RANGES}:

        def encode_number(value: Canonical) -> bytes:
            if value is None:
                return _NULL
            data = b"%d" % value if value.__class__ is not str else value.encode()  # type: ignore[str-bytes-safe, union-attr] # a number, or an infinity's text
            return tag + pack(len(data)) + data

        return encode_number

    if kind is FieldKind.BYTES:

        def encode_bytes(value: Canonical) -> bytes:
            return _NULL if value is None else tag + pack(len(value)) + value  # type: ignore[arg-type, operator] # bytes by their kind

        return encode_bytes

    if kind is FieldKind.ARRAY or kind is FieldKind.INTERVAL:
        part = encode(type_.element or FieldType(FieldKind.INT64))

        def encode_parts(value: Canonical) -> bytes:
            if value is None:
                return _NULL
            data = b"".join(map(part, value))  # type: ignore[arg-type] # a tuple by its kind
            return tag + pack(len(data)) + data

        return encode_parts

    def encode_text(value: Canonical) -> bytes:
        if value is None:
            return _NULL
        try:
            data = value.encode()  # type: ignore[union-attr] # a str by its kind
        except UnicodeEncodeError:
            raise Misfit("text that is not Unicode") from None
        return tag + pack(len(data)) + data

    return encode_text


def folding(type_: FieldType) -> Change | None:
    """Return what makes values that the type's collation holds equal the same, or None where there is nothing to do."""
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
        colon and not (number.isascii() and number.isdigit() and len(number) <= 4)
    ):  # noqa: PLR2004 - digits of the number
        form = f"{base}:2" if known.takes_number else base
        raise ContractViolation(f"malformed normalisation {name!r}", hint=f"write it as {form}")
    return known.make(type_, int(number or 0)), f"{name}@{known.version}"
