"""The way by columns and the way by records send the same bytes, whatever the records hold."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import fastavro
import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.kafka import MemorySink
from app.agents import rows as rows_module
from app.agents.block_consumer import Block, FetchEpoch, RawRecord
from app.agents.ingest import Ingest, Role, Source
from app.agents.rows import RowReader
from app.codec.envelope import decoder_for
from app.codec.typed_reader import typed_reader_for
from app.codec.wire import frame
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, Replica, StoreTable
from app.core.dialects import BY_LOG
from app.core.digest import RowDigester
from app.core.published import QuarantinedRecord
from app.core.store import Converter, StoreKind

K = FieldKind
KEY = bytes(range(32))
TARGETS = 3
PLACEHOLDER = "left-out-5d1f0b"
KINDS = {"pg": StoreKind.POSTGRES, "my": StoreKind.MARIADB}
TYPES = {
    "i": FieldType(K.INT32),
    "u": FieldType(K.UINT64),
    "b": FieldType(K.BOOL),
    "d": FieldType(K.DECIMAL, scale=2),
    "free": FieldType(K.DECIMAL),
    "whole": FieldType(K.DECIMAL, scale=0),
    "f": FieldType(K.FLOAT64),
    "f4": FieldType(K.FLOAT32),
    "s": FieldType(K.STRING),
    "ci": FieldType(K.STRING, collation="ci_trim"),
    "at": FieldType(K.INSTANT),
    "at3": FieldType(K.INSTANT, precision=3, zone="Europe/Paris"),
    "local": FieldType(K.LOCAL_TIMESTAMP),
    "local3": FieldType(K.LOCAL_TIMESTAMP, precision=2),
    "day": FieldType(K.DATE),
    "doc": FieldType(K.JSON),
    "list": FieldType(K.ARRAY, element=FieldType(K.INT32)),
    "uuid": FieldType(K.UUID),
    "raw": FieldType(K.BYTES),
    "big": FieldType(K.STRING),
}
ENCODED = {"local3": "millis"}


def _both(name: str) -> dict[str, str]:
    return dict.fromkeys(KINDS, name)


def contract(fields: tuple[str, ...], *, keys: tuple[str, ...] = ("id",)) -> EntityContract:
    """Return a contract of some of the fields; `big` may be left out by the log, `ci` is changed on the way."""
    return EntityContract(
        entity="items",
        version=1,
        number=7,
        key=tuple(KeyField(name, FieldType(K.STRING if name == "code" else K.INT64), _both(name)) for name in keys),
        fields=tuple(
            Field(
                name,
                TYPES[name],
                _both(name),
                normalise=("trim",) if name == "ci" else (),
                large=name == "big",
                encodings=_both(ENCODED[name]) if name in ENCODED else {},
            )
            for name in fields
        ),
        authority="pg",
        stores=(StoreTable("pg", "public.items", "topic"), StoreTable("my", "shop.items", "topic")),
        replicas=(Replica("my", 1000, 10_000),),
    )


# -- records ---------------------------------------------------------------------------------------------------------

integers = st.one_of(
    st.integers(-200, 200),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.sampled_from([1 << 31, -(1 << 63), (1 << 64) - 1, 1 << 64, -(1 << 63) - 1, 10**30]),
)
decimals = st.one_of(
    st.decimals(-1000, 1000, places=2, allow_nan=False).map(str),
    st.sampled_from(["0", "-0.00", "007.50", "1.005", "-3", "100", "1.", ".5", "1e3", "NaN", "12\n3", "\u0663.\u0665"]),
)
stamps = st.one_of(
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.sampled_from(
        [
            "2026-02-28T12:34:56Z",
            "2026-02-28T12:34:56.789Z",
            "2026-02-30T12:34:56.789Z",
            "2026-02-28 12:34:56.789012+01",
            "0000-00-00T00:00:00Z",
            "2026-02-28T123456.789012Z",
            "infinity",
        ]
    ),
)
oddities = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 1.0, 0.1]),
    decimals,
    stamps,
    st.text(max_size=5),
    st.sampled_from(["x" * 63, "x" * 64, "ä" * 40, "\x00", PLACEHOLDER, "bGVmdC1vdXQtNWQxZjBi", " Straße "]),
    st.lists(st.one_of(st.none(), integers), max_size=3),
    st.just([PLACEHOLDER]),
    st.dictionaries(st.text(max_size=3), st.one_of(integers, st.none()), max_size=2),
)
USUAL: dict[FieldKind, st.SearchStrategy[Any]] = {
    K.INT32: st.integers(-5000, 5000),
    K.UINT64: st.integers(0, 1 << 40),
    K.BOOL: st.one_of(st.booleans(), st.integers(0, 1)),
    K.DECIMAL: decimals,
    K.FLOAT64: st.floats(-10, 10),
    K.FLOAT32: st.floats(-10, 10, width=32),
    K.STRING: st.text(max_size=8),
    K.INSTANT: stamps,
    K.LOCAL_TIMESTAMP: st.integers(0, 1 << 50),
    K.DATE: st.integers(-1000, 30_000),
    K.JSON: st.sampled_from(['{"a": 1}', "[1, 2]", "nonsense"]),
    K.ARRAY: st.lists(st.integers(-5, 5), max_size=3),
    K.UUID: st.uuids().map(str),
    K.BYTES: st.sampled_from(["3q2+7w==", "", "?"]),
}
mostly = st.sampled_from([True] * 9 + [False])


@st.composite
def images(draw: st.DrawFn, of: EntityContract, key: dict[str, Any]) -> dict[str, Any] | None:
    """Draw a row image of a key."""
    is_calm = draw(st.booleans())
    if not is_calm and not draw(mostly):
        return draw(st.one_of(st.none(), st.just({})))
    row: dict[str, Any] = dict(key)
    for one in of.fields:
        row[one.name] = draw(USUAL[one.type.kind] if is_calm or draw(mostly) else oddities)
    row["skipped"] = draw(st.one_of(st.none(), st.text(max_size=3), st.just(["[[", {"a": 1}])))
    if not is_calm and draw(st.integers(0, 10)) == 0:
        del row[draw(st.sampled_from(sorted(row)))]
    if not is_calm and draw(st.integers(0, 10)) == 0:
        row[draw(st.sampled_from(sorted(key)))] = draw(oddities)
    return row


def _source(draw: st.DrawFn, store: str, operation: object, number: int) -> dict[str, Any]:
    markers = ["first", "true", "last", True, "incremental", "false", None] if operation == "r" else ["false", None]
    source: dict[str, Any] = {"ts_ms": 1, "snapshot": draw(st.sampled_from(markers)), "table": "items"}
    if store == "pg":
        told = {"schema": "public", "lsn": 500 + number, "txId": 700 + number, "sequence": f'["{400 + number}","9"]'}
        odd = {
            "lsn": st.sampled_from([None, 0, -1, 1 << 63, 1 << 64, 1.5, "7"]),
            "sequence": st.sampled_from(
                [None, '[null,"5"]', "[]", '["1","2","3"]', "x", '["-1","2"]', 5, '["1e","2"]']
            ),
            "txId": st.sampled_from([None, 0, -1, 1 << 63, 10**19, "5"]),
            "schema": st.just(5),
        }
    else:
        gtid = f"0-101-{number}"
        told = {"db": "shop", "file": "binlog.000001", "pos": 500 + number, "row": 0, "gtid": gtid}
        odd = {
            "file": st.sampled_from(["nonsense", "b.²", None, 5, "b.99999999999"]),
            "pos": st.sampled_from([None, -1, 1 << 63, 1 << 64, 2.0, True]),
            "row": st.sampled_from([None, -1, 1 << 32, True]),
            "gtid": st.sampled_from([None, "", "7", "0-1", "99-1-1", "a-b-c", "²-1-1", 5]),
            "db": st.none(),
        }
    if not draw(mostly):
        name = draw(st.sampled_from(sorted(odd)))
        told[name] = draw(odd[name])
        if draw(st.booleans()):
            del told[draw(st.sampled_from(sorted(told)))]
    return source | told


@st.composite
def changes(draw: st.DrawFn, of: EntityContract, store: str, number: int) -> tuple[bytes | None, bytes | None]:
    """Draw a record of a change."""
    key = {part.name: draw(st.integers(0, 4)) if part.name != "code" else draw(st.text(max_size=2)) for part in of.key}
    operation: object = draw(st.sampled_from(["c", "u", "u", "u", "d", "r"]))
    if not draw(mostly):
        operation = draw(st.sampled_from(["t", "m", "x", 5, None]))
    after = None if operation in {"d", "t"} else draw(images(of, key))
    before = draw(st.one_of(st.none(), images(of, key)))
    record = {"before": before, "after": after, "source": _source(draw, store, operation, number), "op": operation}
    if not draw(mostly):
        record[draw(st.sampled_from(["before", "after", "source"]))] = draw(st.sampled_from([None, 5, [], "x", {}]))
    text = json.dumps(record, ensure_ascii=draw(st.booleans()))
    value = _disturbed(draw, text.encode("utf-8", "surrogatepass"))
    raw_key: bytes | None = json.dumps(key).encode()
    if not draw(mostly):
        raw_key = draw(st.sampled_from([None, b"{}", b"5", b"", b"{", b'{"other":1}', b'{"id":null}', b'{"id":1e30}']))
    return raw_key, value


def _disturbed(draw: st.DrawFn, value: bytes) -> bytes:
    match draw(st.integers(0, 30)):
        case 0:
            return value.replace(b'"skipped": "', b'"skipped": "\xff')
        case 1:
            return value.replace(PLACEHOLDER.encode(), b"\\u006c" + PLACEHOLDER[1:].encode())
        case 2:
            return value.replace(b'"op": ', b'"op": "d", "op": ')
        case 3:
            return value.replace(b'"after": {', b'"after": {"s": 5, "i": "x", ')
        case 4:
            return value[: draw(st.integers(0, len(value)))]
        case 5:
            return value.replace(b'"skipped": ', b'"deep": ' + b"[" * 1020 + b"]" * 1020 + b', "skipped": ')
        case 6:
            return value.replace(b'"id": ', b'"\\u0069d": ')
        case 7:
            return value + draw(st.sampled_from([b" ", b"x", b"{}", b"\x00"]))
    return value


@st.composite
def records(draw: st.DrawFn, of: EntityContract, store: str) -> list[tuple[bytes | None, bytes | None]]:
    """Draw the records of a topic."""
    others = st.sampled_from(
        [
            (b'{"id":1}', None),
            (None, b'{"ts_ms":1}'),
            (None, b'{"status":"BEGIN","id":"5"}'),
            (None, b'{"ddl":"ALTER","source":{}}'),
            (b'{"id":1}', b"null"),
            (b'{"id":1}', b"[1]"),
            (None, b"\xff"),
        ]
    )
    count = draw(st.integers(1, 12))
    return [draw(changes(of, store, n) if draw(mostly) else others) for n in range(count)]


# -- the same in Avro ------------------------------------------------------------------------------------------------


def _named(kind: str, name: str, **more: object) -> dict[str, object]:
    return {"type": kind, "connect.version": 1, "connect.name": name, **more}


ANYTHING: Any = ["null", "boolean", "long", "double", "string", {"type": "array", "items": ["null", "long"]}, "bytes"]
AVRO: dict[str, Any] = {
    "id": "long",
    "code": "string",
    "d": [
        "null",
        _named("bytes", "org.apache.kafka.connect.data.Decimal", scale=2, precision=9, logicalType="decimal"),
    ],
    "local": ["null", _named("long", "io.debezium.time.MicroTimestamp")],
    "local3": ["null", _named("long", "io.debezium.time.Timestamp")],
    "f4": ["float", "null"],
    "skipped": [{"type": "enum", "name": "colour", "symbols": ["red", "green"]}, "null", "string", "double"],
    "numbers": {"type": "record", "name": "numbers", "fields": [{"name": "a", "type": ["long", "null"]}]},
    "map": {"type": "map", "values": "string"},
}
NUMBERS: Any = ["null", "long"]
TEXT: Any = ["null", "string"]
SOURCES: dict[str, dict[str, Any]] = {
    "pg": {"schema": "string", "lsn": NUMBERS, "txId": NUMBERS, "sequence": TEXT},
    "my": {"db": "string", "file": "string", "pos": "long", "row": "int", "gtid": TEXT},
}


class Schemas:
    """A registry of one table's schemas."""

    def __init__(self, of: EntityContract, store: str) -> None:
        columns = [*(part.name for part in of.key), *(f.name for f in of.fields), "skipped", "numbers", "map"]
        source = {"ts_ms": "long", "snapshot": ["string", "boolean", "null"], "table": "string", **SOURCES[store]}
        envelope = {
            "before": ["null", _record("Value", {name: AVRO.get(name, ANYTHING) for name in columns})],
            "after": ["null", "Value"],
            "source": _record("Source", source),
            "op": "string",
            "at": ["null", "long"],
        }
        self.by_id: dict[int, Any] = {
            1: _record("Key", {part.name: AVRO[part.name] for part in of.key}),
            2: _record("Envelope", envelope),
        }

    def schema(self, schema_id: int) -> object:
        """Return a schema by its id."""
        return self.by_id[schema_id]

    def packed(self, schema_id: int, record: object) -> bytes:
        """Return a framed record."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(self.by_id[schema_id]), record)
        return frame(schema_id, out.getvalue())


def _record(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]}


def _fitting(column: str, value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """Return a value that the column's schema takes, the same one if it can be."""
    match AVRO.get(column, ANYTHING)[-1]:
        case "null":
            return value if isinstance(value, float) else None
        case {"type": "bytes"}:
            return int(abs(hash(str(value))) % 10**9).to_bytes(5, "big", signed=True) if value is not None else None
        case {"type": "long"}:
            return value if type(value) is int and abs(value) < 1 << 62 else None
        case _:
            if isinstance(value, dict) or (isinstance(value, list) and PLACEHOLDER in value):
                return b"bytes"
            if isinstance(value, list):
                return [n if n is None or abs(n) < 1 << 62 else 5 for n in value]
            return 7 if type(value) is int and abs(value) >= 1 << 63 else value


@st.composite
def avro_changes(
    draw: st.DrawFn, of: EntityContract, store: str, schemas: Schemas, number: int
) -> tuple[bytes | None, bytes | None]:
    """Draw a record of a change in Avro."""
    key = {part.name: draw(st.integers(0, 4)) if part.name != "code" else draw(st.text(max_size=2)) for part in of.key}
    operation = draw(st.sampled_from(["c", "u", "u", "u", "d", "r", "t", "x"]))
    source = _source(draw, store, operation, number)
    for name, type_ in {"table": "string", **SOURCES[store]}.items():
        usual: Any = 5 if "long" in type_ or type_ == "int" else "1"
        if type(source.get(name)) is not type(usual) or (usual == 5 and not -(1 << 31) <= source[name] < 1 << 63):
            source[name] = None if "null" in type_ else usual
    told: dict[str, Any] = {
        "op": operation,
        "source": source,
        "at": draw(st.one_of(st.none(), st.integers(0, 1 << 62))),
    }
    for image in ("before", "after"):
        row = draw(st.one_of(st.none(), images(of, key))) if (image == "before") is (operation == "d") else None
        if image == "after" and operation not in {"d", "t"}:
            row = draw(images(of, key))
        told[image] = (
            None
            if not row
            else {
                **{f.name: _fitting(f.name, row.get(f.name)) for f in of.fields},
                **key,
                "skipped": draw(st.sampled_from(["red", "a text", "\u00e9", None, 0.5])),
                "numbers": {"a": draw(st.one_of(st.none(), st.integers(-(1 << 63), (1 << 63) - 1)))},
                "map": draw(st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2)),
            }
        )
    value = schemas.packed(2, told)
    match draw(st.integers(0, 12)):
        case 0:
            at = draw(st.integers(0, len(value) - 1))
            value = value[:at] + bytes([draw(st.integers(0, 255))]) + value[at + 1 :]
        case 1:
            value = value[: draw(st.integers(0, len(value)))]
        case 2:
            value += b"\x00"
    return schemas.packed(1, key), value


# -- both ways -------------------------------------------------------------------------------------------------------


@dataclass
class Way:
    """An ingest of one table, and everything it told."""

    sink: MemorySink = field(default_factory=MemorySink)
    rejected: list[QuarantinedRecord] = field(default_factory=list)
    read_by_columns: int = 0

    def put(self, record: QuarantinedRecord) -> None:
        """Take a record that could not be read."""
        self.rejected.append(record)

    def consumed(self, store: str, entity: str, records: int) -> None:
        """Count nothing."""

    def heard(self, store: str, at_wall_ms: int) -> None:
        """Note nothing."""

    def quarantined(self, store: str, reason: str) -> None:
        """Count nothing."""

    def sent(self) -> list[tuple[int, bytes | None]]:
        """Return the observations in their order."""
        return [(record.partition, record.value) for record in self.sink.sent]


async def _nothing(_store: str) -> list[tuple[str, int, int]]:
    return []


def take(
    of: EntityContract,
    store: str,
    told: Sequence[tuple[bytes | None, bytes | None]],
    schemas: Schemas | None = None,
    *,
    by_columns: bool,
) -> Way:
    """Let an ingest read records as two blocks: of JSON, or of Avro if there are schemas."""
    converter = Converter.JSON if schemas is None else Converter.AVRO
    way = Way()
    kind = KINDS[store]
    digester = RowDigester(of, store, BY_LOG[kind], KEY)
    typed = partial(typed_reader_for, kind, converter, PLACEHOLDER, schemas) if by_columns else None
    reader = RowReader(of, store, digester, KEY, TARGETS, typed=typed, known_keys_max=6)
    ingest = Ingest(
        sources=[
            Source("topic", store, Role.TABLE, decoder_for(kind, converter, PLACEHOLDER, schemas), "items", reader),
        ],
        contracts=[of],
        observations="observations",
        partitions=TARGETS,
        sink=way.sink,
        quarantine=way,
        watermarks=_nothing,
        counts=way,
        tell_waiting=lambda _block, _fault, _delay_s: None,
        wall_ms=lambda: 0,
    )
    raw = [RawRecord(10 + n, 0, key, value, ()) for n, (key, value) in enumerate(told)]
    way.read_by_columns = len(reader.plain(raw).at)
    half = len(raw) // 2

    async def stream() -> AsyncIterator[Block]:
        epoch = FetchEpoch(1)
        yield Block(TP("topic", 0), 10, 10 + half, raw[:half], epoch)
        yield Block(TP("topic", 0), 10 + half, 10 + len(raw), raw[half:], epoch)

    asyncio.run(ingest.tables(stream()))
    ingest.mark()
    return way


@pytest.fixture(autouse=True)
def _small_chunks_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is cut by size be cut within a few records."""
    monkeypatch.setattr(rows_module, "CHUNK_RECORDS", 5)
    monkeypatch.setattr(rows_module, "BLOCK_BYTES_MAX", 300)


CONTRACTS = [
    contract(tuple(TYPES)),
    contract(("i", "d", "s", "b", "at")),
    contract(("s", "big"), keys=("id", "code")),
    contract(("u", "local", "at3"), keys=("code",)),
    contract(("big",)),
]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), of=st.sampled_from(CONTRACTS), store=st.sampled_from(sorted(KINDS)))
def test_both_ways_send_the_same_bytes(data: st.DataObject, of: EntityContract, store: str) -> None:
    """Whatever the records are, what compare is told and what goes to quarantine does not depend on the way."""
    told = data.draw(records(of, store))
    one, other = (take(of, store, told, by_columns=by_columns) for by_columns in (True, False))
    assert one.sent() == other.sent()
    assert one.rejected == other.rejected


@settings(max_examples=100, deadline=None)
@given(data=st.data(), of=st.sampled_from(CONTRACTS), store=st.sampled_from(sorted(KINDS)))
def test_both_ways_send_the_same_bytes_of_avro(data: st.DataObject, of: EntityContract, store: str) -> None:
    """A program reads what the general reader reads, and leaves to it what that one refuses."""
    schemas = Schemas(of, store)
    told = [data.draw(avro_changes(of, store, schemas, n)) for n in range(data.draw(st.integers(1, 8)))]
    one, other = (take(of, store, told, schemas, by_columns=by_columns) for by_columns in (True, False))
    assert one.sent() == other.sent()
    assert one.rejected == other.rejected


# -- what chance meets too seldom ------------------------------------------------------------------------------------


def update(number: int = 0, key: object = 1, before: object = None, op: str = "u", **row: object) -> bytes:
    """Return an update of PostgreSQL's."""
    source = {"schema": "public", "table": "items", "lsn": 500 + number, "txId": 7, "sequence": '["4","5"]'}
    after = None if op in {"d", "t"} else {"id": key, **row}
    record = {"before": before, "after": after, "source": {**source, "snapshot": "first"}, "op": op}
    return json.dumps(record).encode()


ID_1 = b'{"id": 1}'
DISGUISED = b"\\u006c" + PLACEHOLDER[1:].encode()
SELDOM: dict[str, tuple[tuple[str, ...], Sequence[tuple[bytes | None, bytes | None]], int]] = {
    "texts that are not UTF-8, where nothing is compared": (
        ("i",),
        [(ID_1, update(i=5)), (ID_1, update(i=5, note="?").replace(b"?", b"\xff"))],
        1,
    ),
    "minus zero among decimals": (("d",), [(ID_1, update(n, d=d)) for n, d in enumerate(("-0.00", "1.10", "-0.5"))], 3),
    "decimals with zeros in front": (("d",), [(ID_1, update(n, d=d)) for n, d in enumerate(("007.1", "1.10"))], 2),
    "decimals to be rounded": (("d",), [(ID_1, update(n, d=d)) for n, d in enumerate(("0.125", "1.10"))], 2),
    "a decimal of two lines": (("d",), [(ID_1, update(n, d=d)) for n, d in enumerate(("1.5\n2.5", "1.10"))], 1),
    "an integer beyond 64 bits": (("free",), [(ID_1, update(free=1 << 64)), (ID_1, update(free=5))], 1),
    "an integer out of its range": (("i",), [(ID_1, update(i=1 << 40)), (ID_1, update(i=5))], 1),
    "values that count as equal": (("b", "f"), [(ID_1, update(b=b, f=b)) for b in (1, True, 1.0, 0, False)], 2),
    "zeros of both signs": (("f", "doc"), [(ID_1, update(f=f, doc=f)) for f in (0.0, -0.0)], 2),
    "what a log left out": (("s", "big"), [(ID_1, update(s="x", big=PLACEHOLDER)), (ID_1, update(s="x", big="y"))], 2),
    "a placeholder in disguise": (
        ("s", "big"),
        [
            (ID_1, update(s="x", big=PLACEHOLDER).replace(PLACEHOLDER.encode(), DISGUISED)),
            (ID_1, update(s="x", big="y")),
        ],
        1,
    ),
    "a row that moves to another key": (("i",), [(ID_1, update(i=1, before={"id": 2})), (ID_1, update(i=1))], 1),
    "keys of other types that count as equal": (
        ("i",),
        [
            (b'{"id": 1.0}', update(i=1)),
            (b'{"id": true}', update(i=1)),
            (b'{"id": true}', update(op="d")),
            (ID_1, update(i=1)),
        ],
        4,
    ),
    "a row under another key than its record's": (("i",), [(ID_1, update(i=1, key=2)), (ID_1, update(op="d"))], 2),
    "a truncate between rows": (("i",), [(ID_1, update(1, i=1)), (None, update(2, op="t")), (ID_1, update(3, i=2))], 2),
    "nonsense between rows": (("i",), [(ID_1, update(1, i=1)), (ID_1, b"{"), (ID_1, b"{"), (ID_1, update(3, i=2))], 2),
    "a delete and its tombstone": (("i",), [(ID_1, update(1, i=1)), (ID_1, update(2, op="d")), (ID_1, None)], 2),
    "reads of a snapshot": (("i",), [(ID_1, update(1, i=1, op="r")), (ID_1, update(2, i=1, op="c"))], 2),
    "more rows than a block holds": (("i",), [(ID_1, update(n, i=n)) for n in range(30)], 30),
    "an update without a row, and a delete with one": (
        ("i",),
        [(ID_1, update(op="d").replace(b'"d"', b'"u"')), (ID_1, update(i=1).replace(b'"u"', b'"d"'))],
        0,
    ),
    "much nonsense that is not in a row": (
        ("i",),
        [(ID_1, b"{")] * 60 + [(ID_1, update(i=1))] + [(ID_1, b"{")] * 60,
        1,
    ),
    "an operation that is told twice": (("i",), [(ID_1, update(i=1).replace(b'"op"', b'"op": "d", "op"'))], 1),
    "numbers that fill their length": (
        ("s",),
        [(ID_1, update(s="x" * n)) for n in (63, 64, 200, 70_000)] + [(ID_1, update(s="\u00e4" * 63))],
        5,
    ),
    "clocks at the ends of time": (
        ("local", "local3"),
        [(ID_1, update(local=n, local3=n)) for n in (0, -1, 86_399_999_999, 9_223_372_036_825_200_000, -(1 << 63))],
        4,
    ),
    "instants of many forms": (
        ("at", "at3"),
        [
            (ID_1, update(at=at, at3=at))
            for at in ("2026-02-28T12:34:56.789012Z", "2026-02-28T12:34:56Z", "1969-12-31T23:59:59.999999Z")
        ],
        3,
    ),
    "an instant that is none": (("at",), [(ID_1, update(at="2026-02-30T12:34:56Z")), (ID_1, update(at=None))], 1),
}


@pytest.mark.parametrize("case", SELDOM)
def test_both_ways_send_the_same_bytes_of(case: str) -> None:
    """The cases in which the two ways could most easily part; as many as said are read by columns."""
    fields, told, by_columns = SELDOM[case]
    of = contract(fields)
    one, other = take(of, "pg", told, by_columns=True), take(of, "pg", told, by_columns=False)
    assert one.sent() == other.sent()
    assert one.rejected == other.rejected
    assert (one.read_by_columns, other.read_by_columns) == (by_columns, 0)


@pytest.mark.parametrize(
    ("broken", "by_columns"),
    [
        (lambda value: value, 1),
        (lambda value: value.replace(b"a text", b"a te\xfft"), 0),
        (lambda value: value + b"\x00", 0),
        (lambda value: value[:-1], 0),
        (lambda value: b"\x01" + value[1:], 0),
        (lambda value: value[:4] + b"\x07" + value[5:], 0),
    ],
)
def test_both_ways_send_the_same_bytes_of_broken_avro(broken: Callable[[bytes], bytes], by_columns: int) -> None:
    """What the general reader refuses, a program does not read."""
    of = contract(("i",))
    schemas = Schemas(of, "pg")
    row = {"id": 1, "i": 5, "skipped": "a text", "numbers": {"a": None}, "map": {}}
    source = {
        "ts_ms": 1,
        "snapshot": "false",
        "schema": "public",
        "table": "items",
        "lsn": 9,
        "txId": 7,
        "sequence": None,
    }
    value = schemas.packed(2, {"before": None, "after": row, "source": source, "op": "c", "at": None})
    told: list[tuple[bytes | None, bytes | None]] = [(schemas.packed(1, {"id": 1}), broken(value))]
    one, other = (take(of, "pg", told, schemas, by_columns=way) for way in (True, False))
    assert one.sent() == other.sent()
    assert one.rejected == other.rejected
    assert one.read_by_columns == by_columns
