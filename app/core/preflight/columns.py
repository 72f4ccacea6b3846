"""Whether a column holds what the contract's type says: a table of types per kind of store, and what is narrower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from app.core.contract import Field, FieldKind, FieldType, KeyField
from app.core.preflight.facts import ColumnFact
from app.core.preflight.problems import Found, Problem
from app.core.store import Converter, StoreKind
from app.core.types.numbers import INTEGER_RANGES

_K = FieldKind
_INTEGERS: Final = frozenset(INTEGER_RANGES)
_PG_INT: Final = frozenset({"int2", "int4", "int8", "numeric"})
_PG_TEXT: Final = frozenset({"text", "varchar", "bpchar", "citext", "xml"})
_MY_INT: Final = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "bit"})
_MY_WIDE_INT: Final = _MY_INT | {"year"}
_MY_TEXT: Final = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_MY_DOCUMENT: Final = frozenset({"json", "longtext", "mediumtext", "text"})
_MY_BYTES: Final = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})

_POSTGRES: Final[Mapping[FieldKind, frozenset[str]]] = {
    _K.BOOL: frozenset({"bool", "bit", "int2", "int4"}),
    **dict.fromkeys(_INTEGERS, _PG_INT),
    _K.DECIMAL: frozenset({"numeric", "money", "int2", "int4", "int8", "float4", "float8"}),
    _K.FLOAT32: frozenset({"float4", "float8"}),
    _K.FLOAT64: frozenset({"float4", "float8"}),
    _K.STRING: _PG_TEXT,
    _K.BYTES: frozenset({"bytea"}),
    _K.DATE: frozenset({"date"}),
    _K.TIME: frozenset({"time"}),
    _K.LOCAL_TIMESTAMP: frozenset({"timestamp", "timestamptz"}),
    _K.INSTANT: frozenset({"timestamptz", "timestamp"}),
    _K.INTERVAL: frozenset({"interval"}),
    _K.UUID: frozenset({"uuid", "bytea"}) | _PG_TEXT,
    _K.ENUM: _PG_TEXT,
    _K.JSON: frozenset({"json", "jsonb", "text", "varchar"}),
    _K.INET: frozenset({"inet", "cidr", "text", "varchar"}),
    _K.BITS: frozenset({"bit", "varbit"}),
}
_BINLOG: Final[Mapping[FieldKind, frozenset[str]]] = {
    _K.BOOL: frozenset({"tinyint", "bit", "smallint", "int"}),
    **dict.fromkeys(_INTEGERS, _MY_WIDE_INT),
    **dict.fromkeys((_K.INT8, _K.UINT8), _MY_INT),
    _K.DECIMAL: frozenset({"decimal", "float", "double"}) | (_MY_INT - {"bit"}),
    _K.FLOAT32: frozenset({"float", "double"}),
    _K.FLOAT64: frozenset({"float", "double"}),
    _K.STRING: _MY_TEXT | {"enum", "set"},
    _K.BYTES: _MY_BYTES,
    _K.DATE: frozenset({"date"}),
    _K.TIME: frozenset({"time"}),
    _K.LOCAL_TIMESTAMP: frozenset({"datetime", "timestamp"}),
    _K.INSTANT: frozenset({"timestamp", "datetime"}),
    _K.INTERVAL: _MY_TEXT,
    _K.UUID: frozenset({"binary"}) | _MY_TEXT,
    _K.ENUM: frozenset({"enum"}) | _MY_TEXT,
    _K.JSON: _MY_DOCUMENT,
    _K.ARRAY: _MY_DOCUMENT,
    _K.INET: _MY_TEXT,
    _K.BITS: frozenset({"bit"}),
}
_BITS: Final = {
    "int2": 16,
    "int4": 32,
    "int8": 64,
    "tinyint": 8,
    "smallint": 16,
    "mediumint": 24,
    "int": 32,
    "bigint": 64,
}
_CLOCKS: Final = frozenset({_K.INSTANT, _K.LOCAL_TIMESTAMP, _K.TIME})
_STAMPS_WITHOUT_ZONE: Final = frozenset({"timestamp", "datetime"})
_FLOATS: Final = frozenset({"float4", "float8", "float", "double"})
_SHORT_FLOATS: Final = frozenset({"float4", "float"})
_MILLIS_DIGITS_MAX: Final = 3
_FULL_CHARSETS: Final = frozenset({"", "utf8mb4", "utf16", "utf16le", "utf32"})
WIDE_TEXT: Final = 65_535
"""Columns of at least so many characters count as unbounded."""


def types_of(kind: StoreKind) -> Mapping[FieldKind, frozenset[str]]:
    """Return the column types that hold each contract type; PostgreSQL's arrays are those of their elements."""
    return _POSTGRES if kind is StoreKind.POSTGRES else _BINLOG


def is_known(kind: StoreKind, type_: FieldType, column: ColumnFact) -> bool:
    """Tell whether a column's type maps to a contract's type at all."""
    types = types_of(kind)
    if type_.kind is _K.ARRAY and kind is StoreKind.POSTGRES:
        element = type_.element
        return column.is_array and element is not None and column.type in types.get(element.kind, frozenset())
    if column.is_array:
        return False
    if column.is_enum:
        return type_.kind in {_K.ENUM, _K.STRING}
    return column.type in types.get(type_.kind, frozenset())


def column_problems(
    kind: StoreKind, converter: Converter, store: str, member: Field | KeyField, column: ColumnFact, where: str
) -> Iterator[Found]:
    """Compare one column with the contract's type."""
    if column.is_generated and kind is StoreKind.POSTGRES:
        yield Found(Problem.COLUMN_GENERATED, where)
    if not is_known(kind, member.type, column):
        shape = f"{column.type}[]" if column.is_array else column.type
        yield Found(Problem.COLUMN_UNKNOWN_TYPE, where, f"{shape} as {member.type.kind.value}")
        return
    narrower = _narrower(member.type, column)
    if narrower:
        yield Found(Problem.COLUMN_NARROWER, where, narrower)
    wider = _wider(member.type, column)
    if wider:
        yield Found(Problem.COLUMN_WIDER, where, wider)
    yield from _encoding_problems(kind, converter, member.encodings.get(store, ""), member.type, column, where)


def _range(column: ColumnFact) -> tuple[int, int] | None:
    bits = _BITS.get(column.type)
    if bits is None:
        return None
    return (0, (1 << bits) - 1) if column.is_unsigned else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _narrower(type_: FieldType, column: ColumnFact) -> str:
    """Say how the column holds less than the contract's type, or nothing."""
    kind = type_.kind
    shown = f"{column.type} for {kind.value}"
    if kind in _INTEGERS:
        held, wanted = _range(column), INTEGER_RANGES[kind]
        return shown if held is not None and (held[0] > wanted[0] or held[1] < wanted[1]) else ""
    if kind is _K.DECIMAL:
        return _narrower_decimal(type_, column, shown)
    if kind is _K.FLOAT64:
        return shown if column.type in _SHORT_FLOATS else ""
    if kind in _CLOCKS and column.precision is not None and column.precision < type_.precision:
        return f"{column.type}({column.precision}) for {kind.value} with {type_.precision} digits of a second"
    if kind in {_K.STRING, _K.ENUM, _K.JSON} and column.charset not in _FULL_CHARSETS:
        return f"character set {column.charset} cannot hold every character"
    return ""


def _narrower_decimal(type_: FieldType, column: ColumnFact, shown: str) -> str:
    if column.type in _FLOATS:
        return f"{shown}: digits beyond the 16th are lost"
    scale = 0 if column.type in _BITS else column.scale
    if scale is None or (type_.scale is not None and scale >= type_.scale):
        return ""
    wanted = "all digits" if type_.scale is None else f"{type_.scale} digits after the point"
    return f"{column.type} keeps {scale} of {wanted}"


def _wider(type_: FieldType, column: ColumnFact) -> str:
    held = _range(column)
    if type_.kind in _INTEGERS and held is not None:
        wanted = INTEGER_RANGES[type_.kind]
        return f"{column.type} for {type_.kind.value}" if held[0] < wanted[0] or held[1] > wanted[1] else ""
    return (
        f"{column.type} for bool"
        if type_.kind is _K.BOOL and column.type in {"int2", "int4", "smallint", "int"}
        else ""
    )


def _encoding_problems(
    kind: StoreKind, converter: Converter, encoding: str, type_: FieldType, column: ColumnFact, where: str
) -> Iterator[Found]:
    """Records of JSON without schema do not tell units: a timestamp of at most three digits comes in milliseconds."""
    if converter is not Converter.JSON:
        return
    expected = _expected_encoding(kind, type_, column)
    if expected is None or encoding == expected or (expected == "micros" and not encoding):
        return
    shape = column.type if column.precision is None else f"{column.type}({column.precision})"
    if encoding:
        yield Found(
            Problem.ENCODING_WRONG, where, f"{shape} comes as {expected or 'it is'}, the contract says {encoding}"
        )
    else:
        yield Found(Problem.ENCODING_MISSING, where, f"{shape} comes as {expected}")


def _expected_encoding(kind: StoreKind, type_: FieldType, column: ColumnFact) -> str | None:
    """Return the encoding that the column's records have; None where any stated one is left to its author."""
    if type_.kind in {_K.INSTANT, _K.LOCAL_TIMESTAMP} and column.type in _STAMPS_WITHOUT_ZONE:
        if kind is not StoreKind.POSTGRES and column.type == "timestamp":
            return None
        digits = 6 if column.precision is None else column.precision
        return "millis" if digits <= _MILLIS_DIGITS_MAX else "micros"
    if type_.kind in _INTEGERS and column.type == "bit":
        return "bits"
    return None


def shorter_than_authority(authority: ColumnFact, replica: ColumnFact) -> bool:
    """Tell whether a replica's text column cannot hold every text of the authority's."""
    if replica.length is None or replica.length >= WIDE_TEXT or replica.is_enum:
        return False
    return authority.length is None or authority.length > replica.length
