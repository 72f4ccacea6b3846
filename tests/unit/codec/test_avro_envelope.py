"""Avro envelopes in the Confluent wire format, with schemas as the converter writes them."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from app.codec.envelope import decoder_for
from app.codec.wire import frame, unframe
from app.core.errors import ContractViolation, Undecodable, Unready
from app.core.event import LEFT_OUT, ChangeEvent
from app.core.store import Converter, StoreKind

PLACEHOLDER = "left-out-5d1f0b"


def optional(kind: object) -> list[object]:
    """Return a type that may be null."""
    return ["null", kind]


def named(kind: str, name: str, **more: object) -> dict[str, object]:
    """Return a type with a semantic name."""
    return {"type": kind, "connect.version": 1, "connect.name": name, **more}


KEY: Any = {
    "type": "record",
    "name": "Key",
    "namespace": "pg.public.kitchen",
    "fields": [{"name": "id", "type": "int"}],
}
ROW: Any = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "ts3", "type": optional(named("long", "io.debezium.time.Timestamp"))},
        {"name": "ts6", "type": optional(named("long", "io.debezium.time.MicroTimestamp"))},
        {
            "name": "amount",
            "type": optional(
                named("bytes", "org.apache.kafka.connect.data.Decimal", scale=2, precision=12, logicalType="decimal")
            ),
        },
        {"name": "raw", "type": optional("bytes")},
        {"name": "bits", "type": optional(named("bytes", "io.debezium.data.Bits"))},
        {"name": "rate", "type": optional("double")},
        {"name": "big", "type": optional("string")},
        {
            "name": "days",
            "type": optional({"type": "array", "items": optional(named("int", "io.debezium.time.Date"))}),
        },
    ],
}
SOURCE: Any = {
    "type": "record",
    "name": "Source",
    "namespace": "io.debezium.connector.postgresql",
    "fields": [
        {"name": "snapshot", "type": optional("string")},
        {"name": "schema", "type": "string"},
        {"name": "table", "type": "string"},
        {"name": "sequence", "type": optional("string")},
        {"name": "lsn", "type": optional("long")},
        {"name": "txId", "type": optional("long")},
        {"name": "ts_ms", "type": "long"},
    ],
}
ENVELOPE: Any = {
    "type": "record",
    "name": "Envelope",
    "namespace": "pg.public.kitchen",
    "fields": [
        {"name": "before", "type": optional(ROW)},
        {"name": "after", "type": optional("Value")},
        {"name": "source", "type": SOURCE},
        {"name": "op", "type": "string"},
    ],
}


class Schemas:
    """A registry of two schemas; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.ready = True

    def schema(self, schema_id: int) -> object:
        """Return a schema by its id."""
        if not self.ready:
            raise Unready("the registry does not answer")
        self.asked += 1
        return {1: KEY, 2: ENVELOPE, 3: {"type": "nonsense"}}[schema_id]


def packed(schema: Any, record: object, schema_id: int) -> bytes:  # noqa: ANN401 - whatever Avro takes as a schema
    """Return a framed record."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return frame(schema_id, out.getvalue())


ROW_VALUE = {
    "id": 1,
    "ts3": 1_772_282_096_789,
    "ts6": 1_772_282_096_789_012,
    "amount": None,
    "raw": b"\x01\x02",
    "bits": b"\x05\x01",
    "rate": float("inf"),
    "big": PLACEHOLDER,
    "days": [20512, None],
}
SOURCE_VALUE = {
    "snapshot": "false",
    "schema": "public",
    "table": "kitchen",
    "sequence": '["5","9"]',
    "lsn": 9,
    "txId": 776,
    "ts_ms": 1,
}


def value(**parts: object) -> bytes:
    """Return a framed create."""
    record = {"before": None, "after": ROW_VALUE, "source": SOURCE_VALUE, "op": "c"}
    return packed(ENVELOPE, record | parts, 2)


def decode(data: bytes, schemas: Schemas | None = None) -> ChangeEvent | None:
    """Decode a framed record."""
    decoder = decoder_for(StoreKind.POSTGRES, Converter.AVRO, PLACEHOLDER, schemas or Schemas())
    return decoder.decode(packed(KEY, {"id": 1}, 1), data)


def test_a_frame_is_a_zero_byte_and_the_id() -> None:
    """Framing and unframing are each other's inverse."""
    assert frame(7, b"x") == b"\x00\x00\x00\x00\x07x"
    assert unframe(frame(7, b"x")) == (7, b"x")


def test_an_avro_change_is_the_same_as_one_in_json() -> None:
    """Semantic types are told by `connect.name`, also where `after` only names the type of `before`."""
    event = decode(value(after=ROW_VALUE | {"amount": Decimal("12.34")}))
    assert event is not None
    assert event.key == {"id": 1}
    assert event.table == "public.kitchen"
    assert event.after == {
        "id": 1,
        "ts3": 1_772_282_096_789_000,
        "ts6": 1_772_282_096_789_012,
        "amount": "12.34",
        "raw": b"\x01\x02",
        "bits": 0x0105,
        "rate": float("inf"),
        "big": LEFT_OUT,
        "days": [20512, None],
    }


def test_each_schema_is_asked_for_once() -> None:
    """A registry is not asked for every record."""
    schemas = Schemas()
    decoder = decoder_for(StoreKind.POSTGRES, Converter.AVRO, PLACEHOLDER, schemas)
    for _ in range(3):
        decoder.decode(packed(KEY, {"id": 1}, 1), value())
    assert schemas.asked == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "bad_frame"),
        (b"\x00\x00\x00", "bad_frame"),
        (b'{"op":"c"}', "bad_frame"),
        (frame(99, b""), "unknown_schema"),
        (frame(3, b""), "bad_avro"),
        (frame(2, b"\xff\xff\xff"), "bad_avro"),
        (frame(2, b""), "bad_avro"),
        (value() + b"more", "bad_avro"),
        (packed(KEY, {"id": 1}, 1), "bad_envelope"),
    ],
)
def test_what_is_wrong_with_an_avro_record_has_a_reason(data: bytes, reason: str) -> None:
    """Hostile bytes end in quarantine."""
    with pytest.raises(Undecodable) as refused:
        decode(data)
    assert refused.value.reason == reason


def test_a_registry_that_does_not_answer_is_no_fault_of_the_record() -> None:
    """The partition waits, nothing goes to quarantine."""
    schemas = Schemas()
    schemas.ready = False
    with pytest.raises(Unready):
        decode(value(), schemas)


def test_avro_without_a_registry_is_refused_at_start() -> None:
    """Not at the first record."""
    with pytest.raises(ContractViolation):
        decoder_for(StoreKind.POSTGRES, Converter.AVRO, PLACEHOLDER)
