"""One form for each value, whatever store and form it came in; and refusals where there is none."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest

from app.core.contract import FieldKind, FieldType
from app.core.errors import ContractViolation
from app.core.normalise import NORMALISATIONS, encode, folding, normalisation, reader
from app.core.types.canonical import Canonical, Dialect, Micros, Misfit

PG, MY = Dialect.POSTGRES_CDC, Dialect.BINLOG_CDC
PG_SQL, MY_SQL = Dialect.POSTGRES_SQL, Dialect.BINLOG_SQL
K = FieldKind
STAMP = 1_772_282_096_789_012
PARIS = FieldType(K.INSTANT, zone="Europe/Paris")


def read(raw: object, kind: FieldKind | FieldType, dialect: Dialect = PG, encoding: str = "") -> Canonical:
    """Read a raw value."""
    type_ = kind if isinstance(kind, FieldType) else FieldType(kind)
    return reader(type_, dialect, encoding)(raw)


@pytest.mark.parametrize(
    ("kind", "dialect", "raw", "canonical"),
    [
        (K.BOOL, PG, True, True),
        (K.BOOL, MY, 1, True),
        (K.BOOL, MY, 0, False),
        (K.BOOL, MY_SQL, b"\x01", True),
        (K.BOOL, PG_SQL, "f", False),
        (K.INT8, MY, -128, -128),
        (K.INT8, MY, True, 1),
        (K.INT64, PG, (1 << 63) - 1, (1 << 63) - 1),
        (K.INT64, PG_SQL, "-9223372036854775808", -(1 << 63)),
        (K.UINT64, MY, "AP//////////", (1 << 64) - 1),
        (K.UINT64, MY, "BQ==", 5),
        (K.UINT64, MY, "AA==", 0),
        (K.UINT64, PG, "18446744073709551615", (1 << 64) - 1),
        (K.UINT64, MY_SQL, "18446744073709551615", (1 << 64) - 1),
        (K.DECIMAL, PG, "12345.6789", "12345.6789"),
        (K.DECIMAL, MY, "1.1000", "1.1"),
        (K.DECIMAL, PG, "0.00", "0"),
        (K.DECIMAL, PG, "-0.00", "0"),
        (K.DECIMAL, PG, "-007.50", "-7.5"),
        (K.DECIMAL, PG, "1E+3", "1000"),
        (K.DECIMAL, PG, "12.5e-3", "0.0125"),
        (K.DECIMAL, PG, "NAN", "NaN"),
        (K.DECIMAL, PG, "NEGATIVE_INFINITY", "-Infinity"),
        (K.DECIMAL, PG, 12, "12"),
        (K.DECIMAL, MY, 1.2345678901234567e19, "12345678901234567000"),
        (K.DECIMAL, MY, 0.1, "0.1"),
        (K.DECIMAL, PG, {"scale": 3, "value": "BNI="}, "1.234"),
        (K.DECIMAL, MY_SQL, Decimal("0E-8"), "0"),
        (K.DECIMAL, MY, "9" * 65, "9" * 65),
        (K.FLOAT64, PG, 0.1, "0.1"),
        (K.FLOAT64, PG, -0.0, "0.0"),
        (K.FLOAT64, PG, "NaN", "NaN"),
        (K.FLOAT64, PG, "-Infinity", "-Infinity"),
        (K.FLOAT64, PG_SQL, struct.pack(">d", float("nan")), "NaN"),
        (K.FLOAT64, PG_SQL, struct.pack(">d", 5e-324), "5e-324"),
        (K.FLOAT64, MY_SQL, 1.7976931348623157e308, "1.7976931348623157e+308"),
        (K.FLOAT64, PG, 3, "3.0"),
        (K.FLOAT32, PG, 0.1, repr(struct.unpack("f", struct.pack("f", 0.1))[0])),
        (K.FLOAT32, MY_SQL, 0.10000000149011612, repr(struct.unpack("f", struct.pack("f", 0.1))[0])),
        (K.STRING, PG, "ab   ", "ab   "),
        (K.STRING, PG, "", ""),
        (K.STRING, MY, "💶\u0000é", "💶\u0000é"),
        (K.BYTES, PG, "3q2+7w==", b"\xde\xad\xbe\xef"),
        (K.BYTES, PG, "", b""),
        (K.BYTES, MY_SQL, b"\xde\xad", b"\xde\xad"),
        (K.BYTES, PG_SQL, memoryview(b"\xde\xad"), b"\xde\xad"),
        (K.BYTES, PG_SQL, "\\xdead", b"\xde\xad"),
        (K.DATE, PG, 20512, 20512),
        (K.DATE, PG_SQL, "2026-02-28", 20512),
        (K.DATE, PG_SQL, "0044-03-15 BC", -735160),
        (K.DATE, PG_SQL, "9999-12-31", 2932896),
        (K.DATE, PG_SQL, "infinity", "infinity"),
        (K.DATE, MY_SQL, "0000-00-00", None),
        (K.TIME, PG, 86_399_123_456, 86_399_123_456),
        (K.TIME, PG_SQL, "23:59:59.123456", 86_399_123_456),
        (K.TIME, PG_SQL, "24:00:00", 86_400_000_000),
        (K.TIME, MY_SQL, "-838:59:59.000000", -3_020_399_000_000),
        (K.TIME, PG, "21:59:59.123456Z", 79_199_123_456),
        (K.TIME, PG_SQL, "23:59:59.123456+02", 79_199_123_456),
        (K.LOCAL_TIMESTAMP, PG, STAMP, STAMP),
        (K.LOCAL_TIMESTAMP, PG_SQL, "2026-02-28 12:34:56.789012", STAMP),
        (K.LOCAL_TIMESTAMP, MY_SQL, "2026-02-28 12:34:56.789012", STAMP),
        (K.INSTANT, PG, "2026-02-28T12:34:56.789012Z", STAMP),
        (K.INSTANT, PG, "2026-02-28T12:34:56Z", STAMP - 789_012),
        (K.INSTANT, MY, STAMP, STAMP),
        (K.INSTANT, PG_SQL, "2026-02-28 12:34:56.789012+00", STAMP),
        (K.INSTANT, PG_SQL, "2026-02-28 18:04:56.789012+05:30", STAMP),
        (K.INSTANT, PG_SQL, "0044-03-15 00:00:00+00 BC", -735160 * 86_400_000_000),
        (K.INSTANT, PG_SQL, "infinity", "infinity"),
        (K.INSTANT, PG, "+10000-01-01T00:00:00Z", 253_402_300_800_000_000),
        (K.INSTANT, PG, Micros(STAMP), STAMP),
        (K.INTERVAL, PG, "P0Y0M1DT2H0M0S", (0, 1, 7_200_000_000)),
        (K.INTERVAL, PG, "P1Y-2M3DT-4H5M-6.5S", (10, 3, -14_106_500_000)),
        (K.INTERVAL, PG_SQL, "10 3 -14106500000", (10, 3, -14_106_500_000)),
        (K.INTERVAL, PG, "P0Y0M0DT0H0M-0.000001S", (0, 0, -1)),
        (K.UUID, PG, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (K.UUID, MY, "oO68mZwLTvi7bWu5vTgKEQ==", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (K.UUID, MY_SQL, bytes.fromhex("a0eebc999c0b4ef8bb6d6bb9bd380a11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (K.UUID, PG, "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (K.ENUM, PG, "busy", "busy"),
        (K.JSON, PG, '{"b": [1, 2.0, 1e2], "a": null}', '{"a":null,"b":[1,2,100]}'),
        (K.JSON, MY, '{"a":12345678901234567890123}', '{"a":12345678901234567890123}'),
        (K.JSON, MY, {"a": 0.1, "b": True}, '{"a":0.1,"b":true}'),
        (K.JSON, PG, '"💶"', '"💶"'),
        (K.INET, PG, "10.0.0.1", "10.0.0.1"),
        (K.INET, PG_SQL, "10.0.0.1/32", "10.0.0.1"),
        (K.INET, PG_SQL, "10.0.0.1/24", "10.0.0.1/24"),
        (K.INET, PG, "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        (K.BITS, PG, "BQA=", "101"),
        (K.BITS, MY, True, "1"),
        (K.BITS, PG, 5, "101"),
        (K.BITS, PG_SQL, "00000101", "101"),
        (K.BITS, MY_SQL, "0", "0"),
    ],
)
def test_a_value_has_one_form(kind: FieldKind, dialect: Dialect, raw: object, canonical: Canonical) -> None:
    """The forms that stores were seen to send, and the one they all become."""
    found = read(raw, kind, dialect)
    assert found == canonical
    assert type(found) is type(canonical)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (K.BOOL, 2),
        (K.BOOL, "yes"),
        (K.BOOL, 1.0),
        (K.BOOL, []),
        (K.INT8, 128),
        (K.INT32, "five"),
        (K.INT32, "BQ=="),
        (K.BITS, -1),
        (K.BITS, "=="),
        (K.BITS, 1.0),
        (K.UINT32, -1),
        (K.INT64, 1 << 63),
        (K.INT64, 1.0),
        (K.INT64, "1.5"),
        (K.INT64, "٣"),
        (K.INT64, "9" * 5_000),
        (K.INT64, None),
        (K.INT64, {}),
        (K.UINT64, "not base64"),
        (K.DECIMAL, "1,5"),
        (K.DECIMAL, "1e999999"),
        (K.DECIMAL, "9" * 200_000),
        (K.DECIMAL, "0" * 100_000 + "x"),
        (K.DECIMAL, "1_000"),
        (K.DECIMAL, True),
        (K.DECIMAL, {"scale": 1}),
        (K.FLOAT64, "0x10"),
        (K.FLOAT64, True),
        (K.FLOAT64, (1 << 53) + 1),
        (K.FLOAT32, 1e300),
        (K.STRING, 1),
        (K.STRING, ["a"]),
        (K.BYTES, "not base64!"),
        (K.DATE, "2026-02-30"),
        (K.DATE, "1900-02-29"),
        (K.DATE, "2026-02-28T00:00:00Z"),
        (K.DATE, 1_772_282_096_789_012),
        (K.TIME, "25:61:00"),
        (K.TIME, 1.5),
        (K.INSTANT, "yesterday"),
        (K.INSTANT, "2026-02-28T12:34:56.7890123Z"),
        (K.INSTANT, 1.5),
        (K.INSTANT, True),
        (K.INTERVAL, 86_400_000_000),
        (K.INTERVAL, "P"),
        (K.INTERVAL, "PT"),
        (K.UUID, "a0eebc99"),
        (K.UUID, "zzeebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (K.JSON, "{"),
        (K.JSON, '{"a":1,"a":2}'),
        (K.JSON, "[NaN]"),
        (K.JSON, "[" * 100_000),
        (K.JSON, "[" * 300 + "]" * 300),
        (K.JSON, '{"a":1e999999}'),
        (K.INET, "300.0.0.1"),
        (K.INET, "10.0.0.1; drop"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(kind: FieldKind, raw: object) -> None:
    """Nothing is guessed, whatever was sent."""
    with pytest.raises(Misfit) as refused:
        read(raw, kind)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("type_", "encoding", "raw", "canonical"),
    [
        (FieldType(K.LOCAL_TIMESTAMP), "millis", 1_772_282_096_789, 1_772_282_096_789_000),
        (FieldType(K.LOCAL_TIMESTAMP), "seconds", 1_772_282_096, 1_772_282_096_000_000),
        (FieldType(K.LOCAL_TIMESTAMP), "nanos", STAMP * 1000, STAMP),
        (FieldType(K.LOCAL_TIMESTAMP), "millis", Micros(STAMP), STAMP),
        (FieldType(K.TIME), "millis", 1_000, 1_000_000),
        (FieldType(K.UINT16), "bits", "BQE=", 0x0105),
        (FieldType(K.BYTES), "hex", "dead", b"\xde\xad"),
    ],
)
def test_a_contract_tells_what_a_schemaless_record_does_not(
    type_: FieldType, encoding: str, raw: object, canonical: Canonical
) -> None:
    """The unit of a number, the order of bits, the form of bytes."""
    assert read(raw, type_, PG, encoding) == canonical


def test_finer_than_a_microsecond_is_refused() -> None:
    """Nothing is cut off in silence."""
    with pytest.raises(Misfit):
        read(1_001, FieldType(K.INSTANT), PG, "nanos")


@pytest.mark.parametrize("raw", [STAMP + 3_600_000_000, "2026-02-28T12:34:56.789012Z"])
def test_a_wall_clock_is_brought_to_an_instant_by_its_zone(raw: object) -> None:
    """A number is a wall clock's reading, a text with offset is an instant already."""
    assert read(raw, PARIS) == STAMP


def test_an_instant_is_shown_on_the_wall_clock_of_the_zone() -> None:
    """For a local timestamp in one store and an instant in another."""
    type_ = FieldType(K.LOCAL_TIMESTAMP, zone="Europe/Paris")
    assert read("2026-02-28T12:34:56.789012Z", type_) == STAMP + 3_600_000_000
    assert read(STAMP, type_) == STAMP


@pytest.mark.parametrize("text", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"])
def test_a_wall_clock_time_that_comes_twice_or_never_is_refused(text: str) -> None:
    """At the ends of summer time nobody can tell the instant."""
    with pytest.raises(Misfit):
        read(text, PARIS, PG_SQL)


def test_precision_cuts_and_scale_rounds() -> None:
    """As the databases themselves do it."""
    assert read("2026-02-28T12:34:56.789999Z", FieldType(K.INSTANT, precision=3)) == 1_772_282_096_789_000
    assert read(-1, FieldType(K.INSTANT, precision=3), MY) == -1_000
    assert read(-1_500, FieldType(K.TIME, precision=3), MY) == -1_000
    assert read("2.345", FieldType(K.DECIMAL, scale=2)) == "2.35"
    assert read("-2.345", FieldType(K.DECIMAL, scale=2)) == "-2.35"
    assert read("-0.001", FieldType(K.DECIMAL, scale=2)) == "0"
    assert read("NaN", FieldType(K.DECIMAL, scale=2)) == "NaN"


def test_an_array_is_read_by_its_elements() -> None:
    """From a list of a log, or from the JSON that SQL gives."""
    type_ = FieldType(K.ARRAY, element=FieldType(K.DECIMAL))
    assert read(["1.50", None], type_) == ("1.5", None)
    assert read("[1.50,null]", type_, PG_SQL) == ("1.5", None)
    floats = FieldType(K.ARRAY, element=FieldType(K.FLOAT64))
    assert read([1e300, "NaN"], floats) == read('[1e+300,"NaN"]', floats, PG_SQL)
    with pytest.raises(Misfit):
        read("5", type_)
    with pytest.raises(ContractViolation):
        read([], FieldType(K.ARRAY))


@pytest.mark.parametrize(
    ("collation", "left", "right", "same"),
    [
        ("exact", "ab", "ab ", False),
        ("exact", "é", "e\u0301", False),
        ("trim", "ab", "ab  ", True),
        ("trim", "ab", "AB", False),
        ("ci", "STRASSE", "straße", True),
        ("ci", "É", "e\u0301", True),
        ("ci", "ab", "ab ", False),
        ("ci_trim", "AB ", "ab", True),
        ("ci_trim", " ab", "ab", False),
    ],
)
def test_a_collation_says_which_texts_are_one(collation: str, left: str, right: str, *, same: bool) -> None:
    """Declared for the column, never assumed."""
    fold = folding(FieldType(K.STRING, collation=collation))
    assert ((left == right) if fold is None else (fold(left) == fold(right))) is same


@pytest.mark.parametrize(
    ("name", "kind", "value", "changed"),
    [
        ("trim", K.STRING, " a ", "a"),
        ("trim_end", K.STRING, " a ", " a"),
        ("upper", K.STRING, "ß", "SS"),
        ("lower", K.STRING, "É", "é"),
        ("fold", K.STRING, "ẞ", "ss"),
        ("nfc", K.STRING, "e\u0301", "é"),
        ("collapse_blanks", K.STRING, " a   b ", "a b"),
        ("empty_to_null", K.STRING, "", None),
        ("round:2", K.DECIMAL, "2.345", "2.35"),
        ("truncate:2", K.DECIMAL, "-2.349", "-2.34"),
        ("round:3", K.INSTANT, 1_500, 2_000),
        ("truncate:3", K.INSTANT, 1_999, 1_000),
        ("round:1", K.FLOAT64, "0.25", "0.3"),
        ("round:1", K.FLOAT64, "NaN", "NaN"),
        ("truncate:3", K.STRING, "abcdef", "abc"),
        ("round:3", K.INSTANT, "infinity", "infinity"),
    ],
)
def test_a_named_normalisation_changes_a_value(
    name: str, kind: FieldKind, value: Canonical, changed: Canonical
) -> None:
    """Each name of the closed list."""
    change, versioned = normalisation(name, FieldType(kind))
    assert change(value) == changed
    assert change(None) is None
    assert versioned == f"{name}@1"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("soundex", K.STRING),
        ("trim", K.INT64),
        ("round", K.DECIMAL),
        ("trim:2", K.STRING),
        ("round:x", K.DECIMAL),
        ("round:-1", K.DECIMAL),
    ],
)
def test_a_normalisation_that_is_unknown_or_misused_is_refused(name: str, kind: FieldKind) -> None:
    """With what may be written instead."""
    with pytest.raises(ContractViolation):
        normalisation(name, FieldType(kind))


def test_every_normalisation_is_named_in_the_tests() -> None:
    """A new one needs a case above."""
    assert set(NORMALISATIONS) == {
        "trim", "trim_end", "upper", "lower", "fold", "nfc", "collapse_blanks", "empty_to_null", "round", "truncate",
    }  # fmt: skip


@pytest.mark.parametrize(
    "bad", [FieldType(K.STRING, collation="utf8"), FieldType(K.TIME, precision=7), FieldType(K.INSTANT, zone="Mars")]
)
def test_a_type_with_unknown_parameters_is_refused(bad: FieldType) -> None:
    """When the contract is compiled, not when a value comes."""
    with pytest.raises(ContractViolation):
        reader(bad, PG)
    with pytest.raises(ContractViolation):
        reader(FieldType(K.TIME), PG, "fortnights")


def test_text_that_is_not_unicode_is_refused() -> None:
    """Half of a surrogate pair has no bytes."""
    with pytest.raises(Misfit):
        encode(FieldType(K.STRING))("\ud800")
