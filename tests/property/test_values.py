"""Laws of values: one form each, unlike values unlike bytes, keys in order, what SQL is given comes back."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.sql_values import binder
from app.codec.envelope import decoder_for
from app.core.canonical_key import decode_key, key_writer
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField
from app.core.digest import Dialect, RowDigester
from app.core.errors import Undecodable, Unmappable
from app.core.normalise import NORMALISATIONS, encode, folding, normalisation, reader
from app.core.store import Converter, StoreKind
from app.core.types import calendar
from app.core.types.canonical import Canonical, Misfit
from app.core.types.numbers import INTEGER_RANGES, decimal_text

K = FieldKind
MICROS = st.integers(-60_000_000_000_000_000, 250_000_000_000_000_000)
YEARS_1_TO_9999 = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DECIMALS = (
    st.decimals(allow_nan=True, allow_infinity=True)
    .filter(lambda d: not d.is_snan())
    .map(lambda d: decimal_text("NaN" if d.is_nan() else str(d)))
)
FLOATS = st.floats().map(reader(FieldType(K.FLOAT64), Dialect.MONGO_CDC))
UUIDS = st.uuids().map(str)
# A JSON value in its one form, made through the reader: its own idempotence is a law below.
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
)
JSONS = JSON_VALUES.map(
    lambda value: reader(FieldType(K.JSON), Dialect.MONGO_CDC)(value if isinstance(value, dict) else [value])
)
INETS = st.ip_addresses().map(str)

CANONICALS: dict[FieldKind, st.SearchStrategy[Any]] = {
    **{kind: st.integers(*bounds) for kind, bounds in INTEGER_RANGES.items()},
    K.BOOL: st.booleans(),
    K.DECIMAL: DECIMALS,
    K.FLOAT64: FLOATS,
    K.STRING: TEXT,
    K.ENUM: TEXT,
    K.BYTES: st.binary(),
    K.DATE: st.integers(-700_000, 2_932_896),
    K.TIME: st.integers(0, 86_400_000_000),
    K.LOCAL_TIMESTAMP: MICROS,
    K.INSTANT: MICROS,
    K.INTERVAL: st.tuples(st.integers(-9999, 9999), st.integers(-9999, 9999), st.integers(-(10**15), 10**15)),
    K.UUID: UUIDS,
    K.JSON: JSONS,
    K.INET: INETS,
    K.BITS: st.integers(0, 1 << 200).map("{:b}".format),
}
KEY_KINDS = [K.INT64, K.UINT64, K.DECIMAL, K.STRING, K.BYTES, K.DATE, K.INSTANT, K.BOOL, K.UUID]


@st.composite
def kind_and_two(draw: st.DrawFn) -> tuple[FieldKind, Canonical, Canonical]:
    """Draw a kind and two of its values, often the same."""
    kind = draw(st.sampled_from(sorted(CANONICALS, key=str)))
    one = draw(st.none() | CANONICALS[kind])
    other = draw(st.just(one) | st.none() | CANONICALS[kind])
    return kind, one, other


@given(kind_and_two())
def test_unlike_values_have_unlike_bytes(drawn: tuple[FieldKind, Canonical, Canonical]) -> None:
    """And the same value the same bytes."""
    kind, one, other = drawn
    write = encode(FieldType(kind))
    assert (write(one) == write(other)) is (one == other)


@given(st.lists(st.none() | TEXT, min_size=2, max_size=4), st.lists(st.none() | TEXT, min_size=2, max_size=4))
def test_a_row_of_bytes_is_read_in_one_way(one: list[str | None], other: list[str | None]) -> None:
    """Bytes of several values joined tell where each ends, as do those of arrays."""
    write = encode(FieldType(K.STRING))
    assert (b"".join(map(write, one)) == b"".join(map(write, other))) is (one == other)
    array = encode(FieldType(K.ARRAY, element=FieldType(K.STRING)))
    assert (array(tuple(one)) == array(tuple(other))) is (one == other)


@st.composite
def keys(draw: st.DrawFn) -> tuple[list[FieldKind], tuple[Any, ...], tuple[Any, ...]]:
    """Draw the kinds of a key and two keys of them."""
    kinds = draw(st.lists(st.sampled_from(KEY_KINDS), min_size=1, max_size=3))
    first = tuple(draw(CANONICALS[kind]) for kind in kinds)
    return kinds, first, tuple(draw(st.just(v) | CANONICALS[k]) for k, v in zip(kinds, first, strict=True))


def _rank(kind: FieldKind, value: Any) -> Any:  # noqa: ANN401 - whatever sorts
    if kind is not K.DECIMAL:
        return value
    return (2, Decimal(0)) if value == "NaN" else (1, Decimal(value))


@given(keys())
@settings(max_examples=300)
def test_keys_sort_as_their_values_and_come_back(
    drawn: tuple[list[FieldKind], tuple[Any, ...], tuple[Any, ...]],
) -> None:
    """For any mixture of parts; PostgreSQL's NaN is above all numbers."""
    kinds, one, other = drawn
    contract = EntityContract(
        "e", 1, 1, tuple(KeyField(f"k{i}", FieldType(kind), {}) for i, kind in enumerate(kinds)), (), "pg", (), ()
    )

    def written(values: tuple[Any, ...]) -> bytes:
        return b"".join(key_writer(FieldType(kind))(value) for kind, value in zip(kinds, values, strict=True))

    def ranked(values: tuple[Any, ...]) -> list[Any]:
        return [_rank(kind, value) for kind, value in zip(kinds, values, strict=True)]

    assert (written(one) < written(other)) is (ranked(one) < ranked(other))
    assert (written(one) == written(other)) is (one == other)
    assert decode_key(contract, written(one)) == one


@given(st.binary(max_size=40), st.lists(st.sampled_from(KEY_KINDS), min_size=1, max_size=3))
def test_any_bytes_are_a_key_or_refused(data: bytes, kinds: list[FieldKind]) -> None:
    """Nothing else is raised."""
    parts = tuple(KeyField(f"k{i}", FieldType(kind), {}) for i, kind in enumerate(kinds))
    contract = EntityContract("e", 1, 1, parts, (), "pg", (), ())
    try:
        decode_key(contract, data)
    except Undecodable:
        return


RAW = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from([kind for kind in FieldKind if kind is not K.ARRAY]).map(FieldType) | st.just(
    FieldType(K.ARRAY, element=FieldType(K.STRING))
)


@given(RAW, TYPES, st.sampled_from(Dialect), st.sampled_from(["", "millis", "bits", "hex", "nanos"]))
@settings(max_examples=500)
def test_any_raw_value_is_read_or_refused(raw: object, type_: FieldType, dialect: Dialect, encoding: str) -> None:
    """Nothing else is raised, and what was read has bytes."""
    if raw is None:
        return
    try:
        encode(type_)(reader(type_, dialect, encoding)(raw))
    except Misfit:
        return


@given(kind_and_two())
def test_a_canonical_value_read_again_is_itself(drawn: tuple[FieldKind, Canonical, Canonical]) -> None:
    """Reading is idempotent where a canonical value is also a raw one."""
    kind, value, _ = drawn
    if value is None or kind is K.BYTES:
        return
    assert reader(FieldType(kind), Dialect.MONGO_CDC)(value) == value


NORMALISED = [
    (f"{name}:2" if rule.takes_number else name, kind)
    for name, rule in sorted(NORMALISATIONS.items())
    for kind in sorted(rule.kinds, key=str)
    if kind in CANONICALS
]


@pytest.mark.parametrize(("name", "kind"), NORMALISED)
@given(data=st.data())
@settings(max_examples=30)
def test_a_normalisation_twice_is_as_once(name: str, kind: FieldKind, data: st.DataObject) -> None:
    """So a value that is normalised already stays as it is."""
    change, _ = normalisation(name, FieldType(kind))
    once = change(data.draw(CANONICALS[kind]))
    assert change(once) == once
    encode(FieldType(kind))(once)


@given(TEXT, st.sampled_from(["trim", "ci", "ci_trim"]))
def test_a_folded_text_stays_folded(text: str, collation: str) -> None:
    """A collation's form is one form."""
    fold = folding(FieldType(K.STRING, collation=collation))
    assert fold is not None
    assert fold(fold(text)) == fold(text)


@given(st.integers(-10_000_000, 10_000_000))
def test_days_and_dates_are_each_others_inverse(days: int) -> None:
    """Also in the years that `datetime` does not know."""
    assert calendar.days_of(*calendar.date_of(days)) == days
    assert calendar.date_days(calendar.date_text(days)) == days


@given(MICROS)
def test_a_timestamp_as_text_is_read_back(micros: int) -> None:
    """In PostgreSQL's writing."""
    assert calendar.stamp_micros(calendar.stamp_text(micros)) == (micros, False)


@given(YEARS_1_TO_9999)
def test_a_timestamp_is_the_same_from_text_and_number(micros: int) -> None:
    """PostgreSQL's log writes text, MariaDB's a number."""
    days, rest = divmod(micros, calendar.DAY)
    text = f"{calendar.date_text(days)}T{calendar.clock_text(rest)}Z"
    type_ = FieldType(K.INSTANT)
    assert reader(type_, Dialect.POSTGRES_CDC)(text) == reader(type_, Dialect.BINLOG_CDC)(micros) == micros


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_the_same_however_it_was_widened(number: float) -> None:
    """As the shortest text of four bytes, or as eight bytes."""
    single = reader(FieldType(K.FLOAT32), Dialect.POSTGRES_CDC)
    shortest = next(f"{number:.{digits}g}" for digits in range(1, 18) if _single(f"{number:.{digits}g}") == number)
    assert single(number) == single(float(shortest)) == single(struct.pack(">d", number))


def _single(text: str) -> float | None:
    try:
        return float(struct.unpack("f", struct.pack("f", float(text)))[0])
    except OverflowError:
        return None


@given(st.integers(0, (1 << 64) - 1))
def test_an_unsigned_number_is_the_same_as_digits_and_as_bytes(number: int) -> None:
    """The connector sends unsigned bigints as base64 of big-endian bytes, and digits never pass for those."""
    data = number.to_bytes(number.bit_length() // 8 + 1, "big")
    read = reader(FieldType(K.UINT64), Dialect.BINLOG_CDC)
    assert read(base64.b64encode(data).decode()) == read(str(number)) == read(number) == number


@given(st.integers(0, 1 << 200), st.integers(0, 70))
def test_a_bit_string_is_the_same_as_digits_and_as_bytes(number: int, zeros: int) -> None:
    """Logs send its bytes, lowest first and with zeros above; SQL shows its digits, with zeros before."""
    data = number.to_bytes(number.bit_length() // 8 + 1 + zeros, "little")
    type_ = FieldType(K.BITS)
    by_log = reader(type_, Dialect.POSTGRES_CDC)(base64.b64encode(data).decode())
    assert by_log == reader(type_, Dialect.BINLOG_CDC)(data)
    assert by_log == reader(type_, Dialect.POSTGRES_SQL)("0" * zeros + f"{number:b}")


@st.composite
def value_for_sql(draw: st.DrawFn) -> tuple[FieldKind, Canonical]:
    """Draw a kind and a value that both kinds of SQL stores can hold."""
    kind = draw(st.sampled_from(sorted(set(CANONICALS) - {K.FLOAT64, K.DECIMAL}, key=str)))
    strategy = YEARS_1_TO_9999 if kind in {K.INSTANT, K.LOCAL_TIMESTAMP} else CANONICALS[kind]
    return kind, draw(st.none() | strategy)


@given(value_for_sql(), st.sampled_from([StoreKind.POSTGRES, StoreKind.MARIADB]))
def test_what_is_bound_reads_back_as_what_was_meant(drawn: tuple[FieldKind, Canonical], kind: StoreKind) -> None:
    """As far as the text itself goes; the databases are asked by the tests that need a stack."""
    field, value = drawn
    if field is K.INTERVAL and kind is StoreKind.POSTGRES:
        return
    try:
        bound = binder(kind, FieldType(field))(value)
    except Unmappable:
        assert field is K.DATE
        assert value is not None
        return
    dialect = Dialect.POSTGRES_SQL if kind is StoreKind.POSTGRES else Dialect.BINLOG_SQL
    assert value is None or reader(FieldType(field), dialect)(bound) == value


DECODERS = [
    decoder_for(StoreKind.POSTGRES, Converter.JSON, "left-out"),
    decoder_for(StoreKind.MARIADB, Converter.JSON, "left-out"),
    decoder_for(StoreKind.MONGODB, Converter.JSON, "left-out"),
    decoder_for(StoreKind.POSTGRES, Converter.JSON_SCHEMA, "left-out"),
]
WORDS = ["c", "u", "d", "r", "t", "left-out", "{}", "true", "incremental", "binlog.1"]
NAMES = [
    "op", "after", "before", "source", "schema", "payload", "fields", "field",
    "id", "lsn", "table", "file", "pos", "row", "db", "sequence",
    "snapshot", "name", "type", "items", "ts_ms", "collection", "$date", "$binary",
    "$numberLong",
]  # fmt: skip
JSON_RAW = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | TEXT | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | TEXT, inner, max_size=6),
    max_leaves=20,
)


def _calls() -> st.SearchStrategy[Callable[[bytes | None, bytes | None], object]]:
    return st.sampled_from([decoder.decode for decoder in DECODERS])


@given(_calls(), JSON_RAW, JSON_RAW)
@settings(max_examples=500)
def test_any_record_is_decoded_or_goes_to_quarantine(
    decode: Callable[[bytes | None, bytes | None], object], key: object, value: object
) -> None:
    """No other error, whatever the JSON says."""
    try:
        decode(orjson.dumps(key), orjson.dumps(value))
    except Undecodable:
        return


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), RAW))
def test_any_row_has_digests_or_is_unmappable(row: dict[str, object]) -> None:
    """And its values and field digests as well."""
    fields = (
        Field("a", FieldType(K.STRING), {"pg": "a"}),
        Field("b", FieldType(K.INT64), {"pg": "b"}),
        Field("c", FieldType(K.JSON), {"pg": "c"}, large=True),
    )
    key = (KeyField("a", FieldType(K.STRING), {"pg": "a"}), KeyField("b", FieldType(K.INT64), {"pg": "b"}))
    digester = RowDigester(EntityContract("e", 1, 1, key, fields, "pg", (), ()), "pg", Dialect.POSTGRES_CDC, b"k")
    for call in (digester.groups, digester.values, digester.field_digests, digester.canonical_key):
        try:
            call(row)
        except Unmappable:
            continue
