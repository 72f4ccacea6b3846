"""Values over which comparers of stores stumble: what counts as the same, and what does not."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest

from app.codec.mongodb import image_of
from app.core.contract import FieldKind, FieldType
from app.core.normalise import encode, folding, reader
from app.core.types.canonical import Canonical, Dialect, Misfit

K = FieldKind
PG, MY, MONGO = Dialect.POSTGRES_CDC, Dialect.BINLOG_CDC, Dialect.MONGO_CDC
PG_SQL, MY_SQL = Dialect.POSTGRES_SQL, Dialect.BINLOG_SQL


def written(raw: object, type_: FieldType | FieldKind, dialect: Dialect = PG) -> bytes:
    """Return the bytes that a raw value adds to its row's digest."""
    type_ = type_ if isinstance(type_, FieldType) else FieldType(type_)
    value: Canonical = None if raw is None else reader(type_, dialect)(raw)
    fold = folding(type_)
    return encode(type_)(value if fold is None or value is None else fold(value))


def in_document(extended: str, type_: FieldType | FieldKind) -> bytes:
    """Return the bytes of a value in a document of MongoDB."""
    return written(image_of(f'{{"v":{extended}}}')["v"], type_, MONGO)


def test_not_a_number_is_equal_to_itself() -> None:
    """In every writing of it, as in PostgreSQL and unlike in Python."""
    for kind in (K.FLOAT64, K.DECIMAL):
        forms = [written(raw, kind) for raw in ("NaN", "NAN", float("nan"))]
        assert len({*forms, in_document('{"$numberDouble":"NaN"}', kind)}) == 1
        assert written("NaN", kind) != written("Infinity", kind) != written("-Infinity", kind)


def test_minus_zero_is_zero() -> None:
    """Stores and drivers lose its sign."""
    assert written(-0.0, K.FLOAT64) == written(0, K.FLOAT64) == written(struct.pack(">d", -0.0), K.FLOAT64, PG_SQL)
    assert written("-0.00", K.DECIMAL) == written(Decimal(0), K.DECIMAL, MY_SQL)
    assert written('{"n":-0.0}', K.JSON) == written('{"n":0}', K.JSON)


def test_a_number_too_small_for_a_double_is_zero_there_and_itself_as_a_decimal() -> None:
    """No store holds 1e-400 as a float; a decimal keeps all its digits."""
    assert written("1e-400", K.FLOAT64) == written(0.0, K.FLOAT64)
    assert written("1e-400", K.DECIMAL) != written("0", K.DECIMAL)
    assert written("1e-400", K.DECIMAL) == written("0." + "0" * 399 + "1", K.DECIMAL)


def test_a_number_in_json_keeps_the_digits_that_a_double_would_lose() -> None:
    """Numbers are compared as written, not through 53 bits."""
    assert written('{"n":9007199254740993}', K.JSON) != written('{"n":9007199254740992}', K.JSON)
    assert written('{"n":0.1000000000000000055}', K.JSON) != written('{"n":0.1}', K.JSON)


def test_json_is_compared_by_what_it_says_and_not_by_how_it_is_written() -> None:
    """Order of keys, blanks, and the forms of a number do not count; the order of a list does."""
    assert written('{"b": [1, 2.0, 1e2], "a": null}', K.JSON) == written('{"a":null,"b":[1.0,2,100]}', K.JSON, MY)
    assert written("[1,2]", K.JSON) != written("[2,1]", K.JSON)
    assert written('{"a":null}', K.JSON) != written("{}", K.JSON)
    assert written('"1"', K.JSON) != written("1", K.JSON)
    with pytest.raises(Misfit):
        written('{"a":1,"a":2}', K.JSON)


def test_two_is_not_true() -> None:
    """A tinyint(1) holds more than a truth, and what is neither is not guessed."""
    assert written(1, K.BOOL, MY) == written(True, K.BOOL) == written("t", K.BOOL, PG_SQL)
    with pytest.raises(Misfit):
        written(2, K.BOOL, MY)


def test_a_zero_date_is_null_and_not_a_day() -> None:
    """As the log says of a column that may be NULL; the first day of 1970 is another."""
    for kind, zero, first in (
        (K.DATE, "0000-00-00", "1970-01-01"),
        (K.LOCAL_TIMESTAMP, "0000-00-00 00:00:00", "1970-01-01 00:00:00"),
    ):
        assert written(zero, kind, MY_SQL) == written(None, kind)
        assert written(first, kind, MY_SQL) == written(0, kind, MY) != written(None, kind)


def test_infinite_dates_and_years_that_python_does_not_know_are_values_like_others() -> None:
    """Before Christ, beyond 9999, and PostgreSQL's infinities, in every writing of them."""
    assert written("0044-03-15 BC", K.DATE, PG_SQL) == written(-735_160, K.DATE)
    assert written("+10000-01-01T00:00:00Z", K.INSTANT) == written("10000-01-01 00:00:00+00", K.INSTANT, PG_SQL)
    assert written(9_223_372_036_825_200_000, K.LOCAL_TIMESTAMP) == written("infinity", K.LOCAL_TIMESTAMP, PG_SQL)
    assert written("infinity", K.INSTANT) != written("-infinity", K.INSTANT)


def test_the_end_of_a_day_is_not_its_beginning() -> None:
    """24:00:00 is a time of PostgreSQL's, and MariaDB's times go beyond a day and below zero."""
    assert written(86_400_000_000, K.TIME) == written("24:00:00", K.TIME, PG_SQL) != written("00:00:00", K.TIME)
    assert written("838:59:59", K.TIME, MY_SQL) == written(3_020_399_000_000, K.TIME, MY)
    assert written("-00:00:01", K.TIME, MY_SQL) != written("00:00:01", K.TIME, MY_SQL)


def test_blanks_at_the_end_count_unless_the_column_says_otherwise() -> None:
    """Never by a rule for all columns."""
    assert written("ab ", K.STRING) != written("ab", K.STRING)
    trim = FieldType(K.STRING, collation="trim")
    assert written("ab ", trim) == written("ab", trim) != written(" ab", trim)


def test_composed_and_decomposed_letters_differ_unless_case_does_not_count() -> None:
    """They look the same; a store that holds them equal says so by its collation."""
    assert written("é", K.STRING) != written("e\u0301", K.STRING)
    blind = FieldType(K.STRING, collation="ci")
    assert written("É", blind) == written("e\u0301", blind) != written("e", blind)


def test_a_character_that_a_store_cannot_hold_is_a_difference() -> None:
    """A question mark in place of an emoji, and a text that ends where a byte of zero was."""
    assert written("💶", K.STRING) != written("?", K.STRING)
    assert written("a\u0000b", K.STRING) != written("a", K.STRING)


def test_an_enum_is_its_label() -> None:
    """Not its number, which changes when labels are put in between."""
    assert written("busy", K.ENUM, MY) == written("busy", K.ENUM, PG)
    with pytest.raises(Misfit):
        written(1, K.ENUM, MY)


def test_bytes_of_zero_at_the_end_count() -> None:
    """Where a log strips those of a binary(n), its connector fills them up again."""
    assert written("3q0AAA==", K.BYTES) == written(b"\xde\xad\x00\x00", K.BYTES, MY_SQL) != written("3q0=", K.BYTES)


def test_a_uuid_is_one_in_every_writing() -> None:
    """Text of any case, with braces, without hyphens, and sixteen bytes."""
    plain = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    forms = [plain, plain.upper(), f"{{{plain}}}", plain.replace("-", ""), "oO68mZwLTvi7bWu5vTgKEQ=="]
    assert len({written(form, K.UUID) for form in forms}) == 1
    assert written(bytes.fromhex(plain.replace("-", "")), K.UUID, MY_SQL) == written(plain, K.UUID)


def test_an_address_and_its_full_prefix_are_one() -> None:
    """A network within it is another."""
    assert written("10.0.0.1", K.INET) == written("10.0.0.1/32", K.INET, PG_SQL) != written("10.0.0.1/24", K.INET)
    assert written("2001:DB8:0:0:0:0:0:1", K.INET) == written("2001:db8::1/128", K.INET)


def test_null_and_empty_and_zero_are_three_values() -> None:
    """Of every kind that has an empty value."""
    for kind, raw in ((K.STRING, ""), (K.BYTES, ""), (K.JSON, "{}"), (K.INT32, 0), (K.BOOL, False), (K.DECIMAL, "0")):
        assert written(None, kind) != written(raw, kind)
    array = FieldType(K.ARRAY, element=FieldType(K.STRING))
    assert len({written(raw, array) for raw in (None, [], [None], [""], ["NULL"])}) == 5


def test_a_decimal_of_mongodb_is_compared_by_its_number() -> None:
    """1.0, 1.00 and 1E0 are one value; what is no number is one too."""
    forms = [f'{{"$numberDecimal":"{text}"}}' for text in ("1.0", "1.00", "1", "1E0", "10E-1")]
    assert {in_document(form, K.DECIMAL) for form in forms} == {written("1", K.DECIMAL)}
    assert in_document('{"$numberDecimal":"-0"}', K.DECIMAL) == written("0", K.DECIMAL)
    assert in_document('{"$numberDecimal":"Infinity"}', K.DECIMAL) == written("Infinity", K.DECIMAL)
    assert in_document('{"$numberDecimal":"NaN"}', K.DECIMAL) == written("NaN", K.DECIMAL)
