"""MongoDB's envelopes: those of a real connector, and others written after its documentation.

`mongodb_events.jsonl` is what Debezium 3.5.0 wrote of a server that speaks MongoDB's protocol, not MongoDB's own, with
the settings of `connectors/mongodb-source.json`.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.codec.envelope import decoder_for
from app.codec.slice_signals import is_slice_id, name_of
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField
from app.core.digest import Dialect, RowDigester
from app.core.errors import Undecodable, Unmappable
from app.core.event import ChangeEvent, Operation, Reading
from app.core.position import mongo_place
from app.core.store import Converter, StoreKind

EVENTS = Path(__file__).parents[2] / "data" / "mongodb_events.jsonl"
DECODER = decoder_for(StoreKind.MONGODB, Converter.JSON, "left-out-5d1f0b")
OF_A_SIGNAL = ("signal", "signal_read_again", "window_open", "window_close")
OBJECT_ID = "65a1b2c3d4e5f60718293a4b"
DOCUMENT = {
    "_id": {"$oid": OBJECT_ID},
    "customer": {"$numberLong": "9007199254740993"},
    "amount": {"$numberDecimal": "1.250"},
    "status": "new",
    "rate": {"$numberDouble": "NaN"},
    "at": {"$date": {"$numberLong": "1772282096789"}},
    "iso": {"$date": "2026-02-28T12:34:56.789Z"},
    "blob": {"$binary": {"base64": "3q2+7w==", "subType": "00"}},
    "old_blob": {"$binary": "3q2+7w==", "$type": "00"},
    "ship": {"city": "Köln", "lines": [{"$numberInt": "1"}, None]},
}


def envelope(op: str, **parts: object) -> bytes:
    """Return a change as the connector writes it."""
    value: dict[str, Any] = {
        "op": op,
        "before": None,
        "after": orjson.dumps(DOCUMENT).decode(),
        "updateDescription": None,
        "source": {
            "version": "3.6.3.Final",
            "connector": "mongodb",
            "name": "docs",
            "ts_ms": 1_772_282_096_000,
            "snapshot": "false",
            "db": "shop",
            "sequence": None,
            "collection": "orders",
            "ord": 7,
            "lsid": None,
            "txnNumber": None,
            "wallTime": None,
        },
        "ts_ms": 1_772_282_096_100,
        "transaction": None,
    }
    source = parts.pop("source", {})
    assert isinstance(source, dict)
    value["source"] |= source
    return orjson.dumps(value | parts)


def decode(value: bytes, key: object = None) -> ChangeEvent:
    """Decode a change of the document."""
    event = DECODER.decode(orjson.dumps({"id": orjson.dumps(key or DOCUMENT["_id"]).decode()}), value)
    assert event is not None
    return event


def test_a_document_is_a_row_of_its_fields() -> None:
    """Extended JSON of both writings becomes plain values; dots reach into documents within."""
    event = decode(envelope("c"))
    after = event.after
    assert after is not None
    assert event.key == {"_id": OBJECT_ID}
    assert event.table == "shop.orders"
    assert after["customer"] == 9_007_199_254_740_993
    assert after["amount"] == Decimal("1.250")
    assert after["rate"] == "NaN"
    assert after["at"] == 1_772_282_096_789_000
    assert after["blob"] == after["old_blob"] == "3q2+7w=="
    assert after["ship.city"] == "Köln"
    assert after["ship"] == {"city": "Köln", "lines": [1, None]}


def test_a_field_that_is_not_there_is_null() -> None:
    """SQL stores have nothing else to compare it with."""
    after = decode(envelope("c")).after
    assert after is not None
    assert after["coupon"] is None
    assert after["ship.zip"] is None
    assert after["status.x"] is None


def test_a_place_is_the_cluster_time_and_the_order_in_the_transaction() -> None:
    """Seconds and ordinal together are the cluster time."""
    at = 1_772_282_096 << 32 | 7
    assert decode(envelope("c")).place == mongo_place(at, 0)
    within = {"lsid": '{"id": 1}', "txnNumber": 4}
    event = decode(envelope("u", source=within, transaction={"id": "x", "total_order": 3}))
    assert event.place == mongo_place(at, 3)
    assert event.transaction == '{"id": 1}:4'


def recorded() -> dict[str, ChangeEvent | None]:
    """Return what the recorded events of a stream are, by their case."""
    told = [orjson.loads(line) for line in EVENTS.read_bytes().splitlines()]
    return {
        each["case"]: DECODER.decode(orjson.dumps(each["key"]), orjson.dumps(each["value"]))
        for each in told
        if each["case"] not in {"initial_read", "last_read"}
    }


def test_what_a_real_connector_writes_is_read() -> None:
    """With bare NaN, an order in a transaction, and reads of a running snapshot where they stand in the log."""
    events = recorded()
    beside = {"heartbeat", "transaction_begin", "transaction_end"}
    assert {case for case, event in events.items() if event is None} == beside
    changes = {case: event for case, event in events.items() if event is not None and case not in OF_A_SIGNAL}
    operations = {case: (event.operation.name, event.reading) for case, event in changes.items()}
    assert operations == {
        "create": ("CREATE", Reading.LIVE),
        "update": ("UPDATE", Reading.LIVE),
        "replace": ("UPDATE", Reading.LIVE),
        "update_in_transaction": ("UPDATE", Reading.LIVE),
        "create_in_transaction": ("CREATE", Reading.LIVE),
        "incremental_read": ("READ", Reading.INCREMENTAL),
        "delete": ("DELETE", Reading.LIVE),
    }
    places = [event.place for event in changes.values()]
    assert places == sorted(set(places)), "the file has them in the order of the log"
    assert {event.table for event in changes.values()} == {"shop.samples"}
    created, updated = changes["create"].after, changes["update"].after
    assert created is not None
    assert updated is not None
    assert created["amount"] == Decimal("1.250")
    assert created["rate"] == "NaN"
    assert created["at"] == 1_772_282_096_789_000
    assert (created["ship.city"], updated["ship.city"]) == ("Köln", "Bern")
    assert (created["half"], updated["half"]) == (0.5, None)
    together = (changes["update_in_transaction"], changes["create_in_transaction"])
    assert together[0].transaction == together[1].transaction != ""
    assert changes["delete"].key == {"_id": "text"}


def test_what_a_signal_brings_is_read() -> None:
    """Its document, then its reading, then the window of a last look; each by its place, and named by its `_id`."""
    events = recorded()
    changes = [event for case in OF_A_SIGNAL if (event := events[case]) is not None]
    assert [(event.operation, event.reading) for event in changes] == [
        (Operation.CREATE, Reading.LIVE),
        (Operation.READ, Reading.INCREMENTAL),
        (Operation.CREATE, Reading.LIVE),
        (Operation.CREATE, Reading.LIVE),
    ]
    places = [event.place for event in changes]
    assert places == sorted(set(places))
    names = [name_of(event.after or {}) for event in changes]
    assert names[0] == names[1]
    assert [is_slice_id(name) for name in names] == [True, True, False, False]


@pytest.mark.parametrize("case", ["initial_read", "last_read"])
def test_a_read_of_an_initial_snapshot_is_refused(case: str) -> None:
    """It carries the connector's clock and no ordinal: a place made of them would stand anywhere in the log."""
    told = next(each for each in map(orjson.loads, EVENTS.read_bytes().splitlines()) if each["case"] == case)
    with pytest.raises(Undecodable, match="initial snapshot of MongoDB"):
        DECODER.decode(orjson.dumps(told["key"]), orjson.dumps(told["value"]))


def test_snapshots_and_deletes_are_told_apart() -> None:
    """A delete carries the key alone where there are no pre-images."""
    read = decode(envelope("r", source={"snapshot": "true"}))
    assert (read.operation, read.reading) == (Operation.READ, Reading.INITIAL)
    delete = decode(envelope("d", after=None))
    assert (delete.operation, delete.after, delete.before) == (Operation.DELETE, None, None)


def test_an_update_without_the_whole_document_is_refused() -> None:
    """A connector that captures only the changed fields cannot be compared."""
    with pytest.raises(Undecodable) as refused:
        decode(envelope("u", after=None))
    assert refused.value.reason == "bad_envelope"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (envelope("c", after="{"), "bad_json"),
        (envelope("c", after="[1]"), "bad_envelope"),
        (envelope("c", after='{"n":{"$numberLong":"x"}}'), "bad_envelope"),
        (envelope("c", after='{"n":{"$numberDouble":"x"}}'), "bad_envelope"),
        (envelope("c", after='{"n":{"$numberDecimal":"x"}}'), "bad_envelope"),
        (envelope("c", after='{"n":{"$numberDecimal":1e1}}'), "bad_envelope"),
        (envelope("c", after='{"n":{"$numberDecimal":["x"]}}'), "bad_envelope"),
        (envelope("c", after='{"n":' + "[" * 400 + "]" * 400 + "}"), "too_deep"),
        (envelope("c", after='{"x":NaN,"n":' + "[" * 400 + "]" * 400 + "}"), "too_deep"),
        (envelope("c", after='{"x":NaN,"n":' + "[" * 100_000 + "]" * 100_000 + "}"), "too_deep"),
        (envelope("c", after='{"x":NaN,"n"}'), "bad_json"),
    ],
)
def test_a_document_that_is_none_has_a_reason(value: bytes, reason: str) -> None:
    """The text of a document is hostile too."""
    with pytest.raises(Undecodable) as refused:
        decode(value)
    assert refused.value.reason == reason


def test_a_key_without_id_is_refused() -> None:
    """The key is a document's `_id`, whatever its type."""
    assert DECODER.key_of(b'{"id":"1004"}') == {"_id": 1004}
    assert DECODER.key_of(b'{"id":"{\\"$numberLong\\":\\"5\\"}"}') == {"_id": 5}
    with pytest.raises(Undecodable) as refused:
        DECODER.key_of(b'{"key":"1"}')
    assert refused.value.reason == "wrong_key"


def test_a_document_has_the_digest_of_its_row_in_postgres() -> None:
    """The point of it all, for a third kind of store."""
    columns = {
        "customer": FieldKind.INT64,
        "amount": FieldKind.DECIMAL,
        "status": FieldKind.STRING,
        "rate": FieldKind.FLOAT64,
        "at": FieldKind.INSTANT,
        "blob": FieldKind.BYTES,
        "coupon": FieldKind.STRING,
    }
    contract = EntityContract(
        "order",
        1,
        7,
        (KeyField("id", FieldType(FieldKind.STRING), {"pg": "id", "docs": "_id"}),),
        tuple(Field(name, FieldType(kind), {"pg": name, "docs": name}) for name, kind in columns.items()),
        "pg",
        (),
        (),
    )
    row = {
        "id": OBJECT_ID,
        "customer": 9_007_199_254_740_993,
        "amount": "1.25",
        "status": "new",
        "rate": "NaN",
        "at": "2026-02-28T12:34:56.789Z",
        "blob": "3q2+7w==",
        "coupon": None,
    }
    event = decode(envelope("c"))
    assert event.after is not None
    assert event.key is not None
    docs = RowDigester(contract, "docs", Dialect.MONGO_CDC, b"k" * 32)
    pg = RowDigester(contract, "pg", Dialect.POSTGRES_CDC, b"k" * 32)
    assert docs.groups(event.after) == pg.groups(row)
    assert docs.canonical_key(event.key) == pg.canonical_key(row)


K = FieldKind
# For each type of BSON: what it is compared as, its writings in extended JSON (canonical, relaxed, and that of version
# 1), and the value that PostgreSQL's log has for it.
TYPES: dict[str, tuple[FieldType | FieldKind, list[str], object]] = {
    "int32": (K.INT32, ['{"$numberInt":"-2147483648"}', "-2147483648"], -(1 << 31)),
    "int64": (K.INT64, ['{"$numberLong":"9223372036854775807"}', "9223372036854775807"], (1 << 63) - 1),
    "int64 for a number of 32 bits": (K.INT32, ['{"$numberLong":"5"}', '{"$numberInt":"5"}', "5"], 5),
    "double": (K.FLOAT64, ['{"$numberDouble":"0.1"}', "0.1"], 0.1),
    "double that is whole": (K.FLOAT64, ['{"$numberDouble":"5.0"}', "5.0", "5"], 5.0),
    "the smallest double": (K.FLOAT64, ['{"$numberDouble":"5E-324"}', "4.9E-324"], 5e-324),
    "minus zero": (K.FLOAT64, ['{"$numberDouble":"-0.0"}', "-0.0"], 0.0),
    "no number": (K.FLOAT64, ['{"$numberDouble":"NaN"}', "NaN"], "NaN"),
    "infinity": (K.FLOAT64, ['{"$numberDouble":"-Infinity"}', "-Infinity"], "-Infinity"),
    "decimal": (K.DECIMAL, ['{"$numberDecimal":"1.250"}', '{"$numberDecimal":"125E-2"}'], "1.25"),
    "a large decimal": (K.DECIMAL, ['{"$numberDecimal":"9.9E+33"}'], "99" + "0" * 32),
    "a decimal that is none": (K.DECIMAL, ['{"$numberDecimal":"NaN"}'], "NaN"),
    "string": (K.STRING, ['"💶 e\\u0301"'], "💶 e\u0301"),
    "symbol": (K.STRING, ['{"$symbol":"s"}'], "s"),
    "bool": (K.BOOL, ["true"], True),
    "null": (K.STRING, ["null", '{"$undefined":true}'], None),
    "date": (
        K.INSTANT,
        [
            '{"$date":{"$numberLong":"1772282096789"}}',
            '{"$date":"2026-02-28T12:34:56.789Z"}',
            '{"$date":1772282096789}',
        ],
        "2026-02-28T12:34:56.789Z",
    ),
    "a date before 1970": (K.INSTANT, ['{"$date":{"$numberLong":"-1"}}', '{"$date":-1}'], "1969-12-31T23:59:59.999Z"),
    "a date beyond 9999": (K.INSTANT, ['{"$date":{"$numberLong":"253402300800000"}}'], "+10000-01-01T00:00:00Z"),
    "objectId": (K.STRING, ['{"$oid":"65a1b2c3d4e5f60718293a4b"}'], "65a1b2c3d4e5f60718293a4b"),
    "binData": (
        K.BYTES,
        ['{"$binary":{"base64":"3q0=","subType":"00"}}', '{"$binary":"3q0=","$type":"00"}'],
        "3q0=",
    ),
    "binData of a UUID": (
        K.UUID,
        [
            '{"$binary":{"base64":"oO68mZwLTvi7bWu5vTgKEQ==","subType":"04"}}',
            '{"$uuid":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}',
            '{"$binary":"oO68mZwLTvi7bWu5vTgKEQ==","$type":"04"}',
        ],
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
    ),
    "array": (
        FieldType(K.ARRAY, element=FieldType(K.INT64)),
        ['[{"$numberLong":"1"},null,2]', '[1,null,{"$numberInt":"2"}]'],
        [1, None, 2],
    ),
    "array of decimals": (
        FieldType(K.ARRAY, element=FieldType(K.DECIMAL)),
        ['[{"$numberDecimal":"1.50"},null]'],
        ["1.5", None],
    ),
    "object": (
        K.JSON,
        [
            '{"n":{"$numberLong":"9007199254740993"},"d":{"$numberDouble":"1.5"},"e":{"$numberDecimal":"1.10"}}',
            '{"e":{"$numberDecimal":"1.1"},"d":1.5,"n":9007199254740993}',
        ],
        '{"d": 1.5, "e": 1.1, "n": 9007199254740993}',
    ),
}


def groups_of(type_: FieldType | FieldKind, dialect: Dialect, value: object) -> bytes:
    """Return the digest of a row of one field."""
    type_ = type_ if isinstance(type_, FieldType) else FieldType(type_)
    contract = EntityContract(
        "e",
        1,
        7,
        (KeyField("id", FieldType(K.STRING), {"s": "_id"}),),
        (Field("v", type_, {"s": "v"}),),
        "s",
        (),
        (),
    )
    return RowDigester(contract, "s", dialect, b"k" * 32).groups({"v": value})


@pytest.mark.parametrize("name", TYPES)
def test_each_type_of_bson_has_the_digest_of_its_value_in_postgres(name: str) -> None:
    """In every writing of it."""
    type_, writings, value = TYPES[name]
    expected = groups_of(type_, Dialect.POSTGRES_CDC, value)
    for writing in writings:
        after = decode(envelope("c", after=f'{{"v":{writing}}}')).after
        assert after is not None
        assert groups_of(type_, Dialect.MONGO_CDC, after["v"]) == expected, writing


@pytest.mark.parametrize(
    "writing",
    [
        '{"$timestamp":{"t":1,"i":2}}',
        '{"$regularExpression":{"pattern":"a","options":""}}',
        '{"$minKey":1}',
        '{"$code":"x"}',
    ],
)
@pytest.mark.parametrize("kind", [K.STRING, K.INT64, K.INSTANT, K.BYTES])
def test_a_type_of_bson_that_no_other_store_has_is_not_guessed(writing: str, kind: FieldKind) -> None:
    """Such a row is unknown(schema)."""
    after = decode(envelope("c", after=f'{{"v":{writing}}}')).after
    assert after is not None
    with pytest.raises(Unmappable):
        groups_of(kind, Dialect.MONGO_CDC, after["v"])
