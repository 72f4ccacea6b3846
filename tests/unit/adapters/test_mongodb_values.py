"""What is written into a document: exactly the canonical value, in the type that the field has if that can hold it."""

from __future__ import annotations

import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from app.adapters.mongodb_documents import MISSING, is_same
from app.adapters.mongodb_values import Forms
from app.core.contract import FieldKind, FieldType
from app.core.errors import Unmappable
from app.core.types.canonical import Canonical

HEX = "65a1b2c3d4e5f60718293a4b"
UUID = "00112233-4455-6677-8899-aabbccddeeff"
UUID_BYTES = bytes.fromhex(UUID.replace("-", ""))
AT = 1_700_000_000_123_000
PARIS = "Europe/Paris"

WRITTEN = [
    # What the field has, and can hold it.
    (FieldType(FieldKind.INT64), "", 5, 1, 5),
    (FieldType(FieldKind.INT64), "", 5, Int64(1), Int64(5)),
    (FieldType(FieldKind.INT64), "", 5, "1", "5"),
    (FieldType(FieldKind.DECIMAL), "", "0.1", 2.5, 0.1),
    (FieldType(FieldKind.DECIMAL), "", "5", 1, 5),
    (FieldType(FieldKind.DECIMAL), "", "1.5", Decimal128("7.00"), Decimal128("1.5")),
    (FieldType(FieldKind.DECIMAL), "", "NaN", 1.0, float("nan")),
    (FieldType(FieldKind.STRING), "", HEX, ObjectId(), ObjectId(HEX)),
    (FieldType(FieldKind.BYTES), "", b"ab", Binary(b"c", 5), Binary(b"ab", 5)),
    (FieldType(FieldKind.BYTES), "", b"ab", "x", "YWI="),
    (FieldType(FieldKind.BYTES), "hex", b"ab", "x", "6162"),
    (FieldType(FieldKind.UUID), "", UUID, "x", UUID),
    (FieldType(FieldKind.UUID), "", UUID, Binary(bytes(16), 3), Binary(UUID_BYTES, 3)),
    (FieldType(FieldKind.DATE), "", 20_000, 1, 20_000),
    (FieldType(FieldKind.DATE), "", 20_000, "1999-01-01", "2024-10-04"),
    (FieldType(FieldKind.INSTANT), "", AT + 456, "x", "2023-11-14 22:13:20.123456+00"),
    (FieldType(FieldKind.INSTANT, zone=PARIS), "", AT, DatetimeMS(0), DatetimeMS(AT // 1_000 + 3_600_000)),
    (FieldType(FieldKind.BOOL), "", True, 0, 1),
    (FieldType(FieldKind.INTERVAL), "", (1, -2, 3), [0, 0, 0], [1, -2, 3]),
    (FieldType(FieldKind.ARRAY, element=FieldType(FieldKind.INT64)), "", (1, None, 2), [5], [1, None, 2]),
    (FieldType(FieldKind.JSON), "", f'{{"a":2,"o":"{HEX}","z":1}}', {"o": ObjectId(HEX), "a": 1, "q": 1},
     {"o": ObjectId(HEX), "a": 2, "z": 1}),
    # What says the same already stays, whatever it is.
    (FieldType(FieldKind.DECIMAL), "", "1.5", Decimal128("1.50"), Decimal128("1.50")),
    (FieldType(FieldKind.INT64), "", 1, True, True),
    (FieldType(FieldKind.JSON), "", '{"a":1}', {"a": 1.0}, {"a": 1.0}),
    (FieldType(FieldKind.STRING), "", None, MISSING, MISSING),
    (FieldType(FieldKind.STRING), "", None, "x", None),
    # What the field has cannot hold it: the type of the contract's kind.
    (FieldType(FieldKind.INT64), "", 2**40, 1, Int64(2**40)),
    (FieldType(FieldKind.INT64), "", 5, DatetimeMS(0), Int64(5)),
    (FieldType(FieldKind.DECIMAL), "", "123456789.123456789123456", 1.5, Decimal128("123456789.123456789123456")),
    (FieldType(FieldKind.FLOAT64), "", "2.0", 1, 2.0),
    (FieldType(FieldKind.FLOAT64), "", "2.5", 1, 2.5),
    (FieldType(FieldKind.STRING), "", "x", ObjectId(), "x"),
    # It has nothing.
    (FieldType(FieldKind.INT32), "", 5, MISSING, 5),
    (FieldType(FieldKind.INT64), "", 5, MISSING, Int64(5)),
    (FieldType(FieldKind.UINT64), "", 2**63, "0", "9223372036854775808"),
    (FieldType(FieldKind.DECIMAL), "", "1" * 34, MISSING, Decimal128("1" * 34)),
    (FieldType(FieldKind.FLOAT64), "", "NaN", MISSING, float("nan")),
    (FieldType(FieldKind.BOOL), "", True, MISSING, True),
    (FieldType(FieldKind.BYTES), "", b"ab", MISSING, b"ab"),
    (FieldType(FieldKind.UUID), "", UUID, MISSING, Binary(UUID_BYTES, 4)),
    (FieldType(FieldKind.INSTANT), "", AT, MISSING, DatetimeMS(AT // 1_000)),
    (FieldType(FieldKind.INSTANT), "micros", AT + 456, MISSING, Int64(AT + 456)),
    (FieldType(FieldKind.INSTANT), "seconds", 5_000_000, MISSING, Int64(5)),
    (FieldType(FieldKind.LOCAL_TIMESTAMP, zone=PARIS), "utc", AT, MISSING, DatetimeMS(AT // 1_000 - 3_600_000)),
    (FieldType(FieldKind.TIME), "", 1_500_000, MISSING, "00:00:01.500000"),
    (FieldType(FieldKind.TIME), "millis", 1_500_000, MISSING, Int64(1_500)),
    (FieldType(FieldKind.INTERVAL), "", (1, -2, 3), MISSING, "1 -2 3"),
    (FieldType(FieldKind.INET), "", "10.0.0.1", MISSING, "10.0.0.1"),
    (FieldType(FieldKind.BITS), "", "101", MISSING, "101"),
    (FieldType(FieldKind.JSON), "", '{"a":1,"b":[1.5,null,"x",123456789012]}', MISSING,
     {"a": 1, "b": [1.5, None, "x", Int64(123456789012)]}),
]  # fmt: skip

REFUSED = [
    (FieldType(FieldKind.DECIMAL), "1" * 35, MISSING),  # more than 34 digits
    (FieldType(FieldKind.UINT64), 2**63, MISSING),  # no integer of BSON
    (FieldType(FieldKind.INSTANT), AT + 456, MISSING),  # finer than a millisecond
    (FieldType(FieldKind.INSTANT), AT + 456, DatetimeMS(0)),
    (FieldType(FieldKind.INSTANT), "infinity", DatetimeMS(0)),
    (FieldType(FieldKind.STRING), "\ud800", MISSING),  # no Unicode
    (FieldType(FieldKind.JSON), f'{{"$oid":"{HEX}"}}', MISSING),  # read as an ObjectId
    (FieldType(FieldKind.JSON), "null", MISSING),  # read as NULL
    (FieldType(FieldKind.JSON), "1" * 40, MISSING),
]


@pytest.mark.parametrize(("type_", "encoding", "canonical", "now", "expected"), WRITTEN)
def test_a_value_is_written_in_the_type_that_can_hold_it(
    type_: FieldType, encoding: str, canonical: Canonical, now: object, expected: object
) -> None:
    """To the last bit, and of the type that is told."""
    written = Forms(type_, encoding).write(canonical, now)
    assert written is expected or is_same(written, expected), written


@pytest.mark.parametrize(("type_", "canonical", "now"), REFUSED)
def test_a_value_that_would_read_otherwise_is_not_written(type_: FieldType, canonical: Canonical, now: object) -> None:
    """It has no form in BSON, or one that reads as something else."""
    with pytest.raises(Unmappable):
        Forms(type_, "").write(canonical, now)


def test_a_key_is_looked_for_in_each_type_that_reads_as_it() -> None:
    """A text of 24 digits may be an ObjectId; a number may be text; numbers of all types are one to an index."""
    text = Forms(FieldType(FieldKind.STRING), "")
    assert text.spellings(HEX)[:2] == [ObjectId(HEX), HEX]
    assert text.spellings("a-b") == ["a-b"]
    assert Forms(FieldType(FieldKind.INT64), "").spellings(5) == [Int64(5), "5"]
    assert Binary(UUID_BYTES, 4) in Forms(FieldType(FieldKind.UUID), "").spellings(UUID)
    assert DatetimeMS(AT // 1_000) in Forms(FieldType(FieldKind.INSTANT), "").spellings(AT)
