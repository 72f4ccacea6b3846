"""Decoding of recorded PostgreSQL and MariaDB events, and of what is no event or should not be."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.codec.envelope import Decoder, decoder_for
from app.codec.transactions import transaction_number
from app.codec.wire import MOST_BYTES
from app.core.errors import ContractViolation, Undecodable
from app.core.event import LEFT_OUT, ChangeEvent, Operation, Reading
from app.core.position import binlog_place, postgres_place
from app.core.store import Converter, StoreKind

DATA = Path(__file__).parents[2] / "data"
PLACEHOLDER = "left-out-5d1f0b"
KINDS = {"postgres": StoreKind.POSTGRES, "mariadb": StoreKind.MARIADB}


def recorded(store: str) -> dict[str, dict[str, Any]]:
    """Return the recorded events of a store by their case."""
    lines = (DATA / f"{store}_events.jsonl").read_text().splitlines()
    return {line["case"]: line for line in map(json.loads, lines)}


def decoder(store: str = "postgres", converter: Converter = Converter.JSON) -> Decoder:
    """Return a decoder of a store's records."""
    return decoder_for(KINDS[store], converter, PLACEHOLDER)


def decode(store: str, case: str) -> ChangeEvent | None:
    """Decode one recorded event."""
    event = recorded(store)[case]
    key, value = event["key"], event["value"]
    return decoder(store).decode(key and orjson.dumps(key), value and orjson.dumps(value))


def change(**parts: object) -> bytes:
    """Return a create of PostgreSQL as bytes, with parts replaced."""
    value = recorded("postgres")["create"]["value"] | parts
    return orjson.dumps(value)


def reason_of(key: bytes | None, value: bytes, store: str = "postgres") -> str:
    """Return why a record is refused."""
    with pytest.raises(Undecodable) as refused:
        decoder(store).decode(key, value)
    return refused.value.reason


@pytest.mark.parametrize("store", KINDS)
@pytest.mark.parametrize("case", ["heartbeat", "transaction_border", "tombstone", "tombstone_without_key"])
def test_what_is_no_change_is_none(store: str, case: str) -> None:
    """Tombstones, heartbeats and borders of transactions carry no change."""
    assert decode(store, case) is None


def test_a_change_of_the_schema_is_no_change_of_a_row() -> None:
    """MariaDB's connector writes DDL to a topic of its own."""
    assert decode("mariadb", "schema_change") is None


@pytest.mark.parametrize(
    ("case", "operation", "reading"),
    [
        ("initial_read", Operation.READ, Reading.INITIAL),
        ("incremental_read", Operation.READ, Reading.INCREMENTAL),
        ("create", Operation.CREATE, Reading.LIVE),
        ("update", Operation.UPDATE, Reading.LIVE),
        ("delete", Operation.DELETE, Reading.LIVE),
        ("truncate", Operation.TRUNCATE, Reading.LIVE),
    ],
)
@pytest.mark.parametrize("store", KINDS)
def test_each_operation_is_told_apart(store: str, case: str, operation: Operation, reading: Reading) -> None:
    """The same operation comes out the same from both stores."""
    event = decode(store, case)
    assert event is not None
    assert (event.operation, event.reading) == (operation, reading)
    assert (event.after is not None) is (operation in {Operation.READ, Operation.CREATE, Operation.UPDATE})
    assert (event.key is None) is (operation is Operation.TRUNCATE)
    assert bool(event.transaction) is (reading is Reading.LIVE)


def test_a_place_in_postgres_is_the_previous_commit_and_the_lsn() -> None:
    """A snapshot has no previous commit; an incremental read stands at its window's close."""
    places = {
        case: event.place
        for case in recorded("postgres")
        if case != "row_without_key" and (event := decode("postgres", case))
    }
    assert places["initial_read"] == postgres_place(26836088, 26836088, is_delete=False)
    assert places["create"] == postgres_place(26974928, 26989320, is_delete=False)
    assert places["delete"] == postgres_place(27005168, 27005168, is_delete=True)
    assert places["key_change_create"] == postgres_place(27005168, 27005168, is_delete=False)
    assert places["incremental_read"] == postgres_place(27043000, 27043000, is_delete=False)


def test_a_place_in_mariadb_is_the_file_the_offset_and_the_row() -> None:
    """A changed primary key's delete stands before its create, although all three numbers are the same."""
    delete, create = decode("mariadb", "delete"), decode("mariadb", "key_change_create")
    assert delete is not None
    assert create is not None
    assert delete.place == binlog_place(1, 120843, 0, is_delete=True) < create.place
    assert create.transaction == "0-101-22"


def test_rows_of_one_statement_stand_in_their_order() -> None:
    """They share file and offset; the row tells them apart."""
    event = recorded("mariadb")["update"]
    places = []
    for row in range(3):
        event["value"]["source"]["row"] = row
        found = decoder("mariadb").decode(orjson.dumps(event["key"]), orjson.dumps(event["value"]))
        assert found is not None
        places.append(found.place)
    assert places == sorted(set(places))


def test_the_table_is_named_as_its_topic_without_the_prefix() -> None:
    """Schema and table in PostgreSQL, database and table in MariaDB."""
    for store, case, table in (("postgres", "create", "public.comp"), ("mariadb", "create", "shop.comp")):
        event = decode(store, case)
        assert event is not None
        assert event.table == table


def test_a_binlog_beyond_six_digits_sorts_behind() -> None:
    """File names sort by their number."""
    event = recorded("mariadb")["create"]
    places = []
    for name in ("binlog.999999", "binlog.1000000"):
        event["value"]["source"]["file"] = name
        found = decoder("mariadb").decode(orjson.dumps(event["key"]), orjson.dumps(event["value"]))
        assert found is not None
        places.append(found.place)
    assert places == sorted(places)


@pytest.mark.parametrize(
    "form",
    [
        PLACEHOLDER,
        base64.b64encode(PLACEHOLDER.encode()).decode(),
        PLACEHOLDER.encode().hex(),
        [PLACEHOLDER],
        list(PLACEHOLDER.encode()),
        [float(byte) for byte in PLACEHOLDER.encode()],
        {PLACEHOLDER: PLACEHOLDER},
        f'{{"{PLACEHOLDER}":"{PLACEHOLDER}"}}',
    ],
)
def test_the_placeholder_in_each_form_is_a_value_left_out(form: object) -> None:
    """The connector writes it as text, bytes, array or map, by the column's type."""
    event = decoder().decode(b'{"id":1}', change(after={"id": 1, "big": form, "note": "x"}))
    assert event is not None
    assert event.after == {"id": 1, "big": LEFT_OUT, "note": "x"}


def test_the_usual_placeholder_is_a_value_where_the_deployment_has_its_own() -> None:
    """A text that a user may write must not pass for a value left out."""
    event = decoder().decode(b'{"id":1}', change(after={"id": 1, "big": "__debezium_unavailable_value"}))
    assert event is not None
    assert event.after == {"id": 1, "big": "__debezium_unavailable_value"}


@pytest.mark.parametrize("text", ["", 'quo"te', "back\\slash", "ümlaut", "new\nline"])
def test_a_placeholder_that_json_would_change_is_refused(text: str) -> None:
    """It is looked for in the record's bytes."""
    with pytest.raises(ContractViolation):
        decoder_for(StoreKind.POSTGRES, Converter.JSON, text)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b'{"id":1}', b"{", "bad_json"),
        (b'{"id":1}', b"\xff\xfe", "bad_json"),
        (b'{"id":1}', b'{"op":"c","x":NaN}', "bad_json"),
        (b'{"id":1}', b"[" * 5_000, "too_deep"),
        (b'{"id":1}', b"[]", "bad_envelope"),
        (b'{"id":1}', b'{"id":1,"status":"new"}', "bad_envelope"),
        (b'{"id":1}', b'{"op":"x","source":{}}', "bad_envelope"),
        (b'{"id":1}', b'{"op":"c","source":{},"after":{}}', "bad_envelope"),
        (b'{"id":1}', change(after=None), "bad_envelope"),
        (b'{"id":1}', change(after=[1]), "bad_envelope"),
        (b'{"id":1}', change(op="d", after={"id": 1}), "bad_envelope"),
        (b'{"id":1}', change(source={"schema": "a", "table": "b", "lsn": -1, "txId": 1}), "bad_envelope"),
        (b'{"id":1}', change(source={"schema": "a", "table": "b", "lsn": 1 << 63, "sequence": "{}"}), "bad_envelope"),
        (b'{"id":1}', change(source={"schema": "a", "table": "b", "lsn": 1, "sequence": '["x","y"]'}), "bad_envelope"),
        (
            b'{"id":1}',
            change(op="r", source={"schema": "a", "table": "b", "lsn": 1, "snapshot": "new"}),
            "bad_envelope",
        ),
        (b'{"id":1}', change(op="r", source={"schema": "a", "table": "b", "lsn": 1, "snapshot": []}), "bad_envelope"),
        (None, change(), "no_key"),
        (b"[1]", change(), "wrong_key"),
        (b"{}", change(), "wrong_key"),
        (b"7", change(), "wrong_key"),
        (b"{", change(), "bad_json"),
    ],
)
def test_what_is_wrong_with_a_record_has_a_reason(key: bytes | None, value: bytes, reason: str) -> None:
    """Hostile bytes end in quarantine under a closed list of reasons, and nothing else is raised."""
    assert reason_of(key, value) == reason


def test_a_record_too_large_is_not_parsed() -> None:
    """The size is looked at first."""
    assert reason_of(b'{"id":1}', b" " * (MOST_BYTES + 1)) == "too_large"


def test_a_key_can_be_read_where_the_value_cannot() -> None:
    """So the key can be said to be quarantined."""
    assert decoder().key_of(b'{"tenant":1,"code":"A"}') == {"tenant": 1, "code": "A"}
    assert decoder().key_of(None) is None


def test_an_error_quotes_no_value() -> None:
    """Reasons go to logs; row values never do."""
    with pytest.raises(Undecodable) as refused:
        decoder().decode(b'{"id":1}', b'{"op":"c","after":{"iban":"secret"},"source":{"lsn":"secret"}}')
    assert "secret" not in str(refused.value)


def test_a_record_with_schema_tells_units_and_meanings() -> None:
    """What the schema names is turned into what needs no schema."""
    columns = [
        {"field": "id", "type": "int32"},
        {"field": "ts3", "type": "int64", "name": "io.debezium.time.Timestamp"},
        {"field": "ts6", "type": "int64", "name": "io.debezium.time.MicroTimestamp"},
        {"field": "ts9", "type": "int64", "name": "io.debezium.time.NanoTimestamp"},
        {"field": "tm", "type": "int32", "name": "io.debezium.time.Time"},
        {
            "field": "fixed",
            "type": "bytes",
            "name": "org.apache.kafka.connect.data.Decimal",
            "parameters": {"scale": "2", "connect.decimal.precision": "12"},
        },
        {"field": "free", "type": "struct", "name": "io.debezium.data.VariableScaleDecimal"},
        {"field": "bits", "type": "bytes", "name": "io.debezium.data.Bits"},
        {"field": "raw", "type": "bytes"},
        {"field": "stamps", "type": "array", "items": {"type": "int64", "name": "io.debezium.time.Timestamp"}},
        {"field": "none", "type": "int64", "name": "io.debezium.time.Timestamp"},
    ]
    after = {
        "id": 1,
        "ts3": 1_772_282_096_789,
        "ts6": 1_772_282_096_789_012,
        "ts9": 1_772_282_096_789_012_000,
        "tm": 1_000,
        "fixed": "BNI=",
        "free": {"scale": 3, "value": "BNI="},
        "bits": "BQE=",
        "raw": "AQI=",
        "stamps": [1, None],
        "none": None,
    }
    payload = recorded("postgres")["create"]["value"] | {"after": after}
    schema = {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": columns}]}
    key = {"schema": {"type": "struct", "fields": [columns[0]]}, "payload": {"id": 1}}
    event = decoder(converter=Converter.JSON_SCHEMA).decode(
        orjson.dumps(key), orjson.dumps({"schema": schema, "payload": payload})
    )
    assert event is not None
    assert event.key == {"id": 1}
    assert event.after == {
        "id": 1,
        "ts3": 1_772_282_096_789_000,
        "ts6": 1_772_282_096_789_012,
        "ts9": 1_772_282_096_789_012,
        "tm": 1_000_000,
        "fixed": "12.34",
        "free": "1.234",
        "bits": 0x0105,
        "raw": "AQI=",
        "stamps": [1_000, None],
        "none": None,
    }


def test_a_record_without_schema_where_one_is_due_is_refused() -> None:
    """The store's converter is then set wrong."""
    with pytest.raises(Undecodable) as refused:
        decoder(converter=Converter.JSON_SCHEMA).decode(b'{"id":1}', change())
    assert refused.value.reason == "bad_envelope"


def test_transactions_are_numbers_that_tell_them_apart() -> None:
    """PostgreSQL's id stays; a GTID of MariaDB is packed; one of MySQL is hashed; none is zero."""
    assert transaction_number("") == 0
    assert transaction_number("776") == 776
    assert transaction_number("0-101-22") == 101 << 40 | 22
    hashed = transaction_number("3E11FA47-71CA-11E1-9E33-C80AA9429562:23")
    wide = transaction_number("4294967295-4294967295-18446744073709551615")
    assert len({hashed, wide, transaction_number("1-0-0"), transaction_number("0-1-0")}) == 4
    assert all(1 << 62 <= number < 1 << 63 for number in (hashed, wide))
