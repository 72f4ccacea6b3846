"""Slices of a collection of MongoDB: where they end, what chooses them, and what is never taken for read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from bson import ObjectId, json_util
from bson.int64 import Int64
from secantus import SecantusDBServer

from app.adapters.mongodb_slice_store import MongodbSliceStore
from app.codec.slice_signals import SignalForm, SignalRow, begin_row
from app.core.conducting import Key, Look, Part
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, StoreTable
from app.core.errors import Unready
from tests.mongodb_server import DATABASE, SCHEMA, Admin, mongodb_store

pytestmark = pytest.mark.stack

OID = [ObjectId(f"65a1b2c3d4e5f60718293a{n:02x}") for n in range(10)]
HOSTILE = ['"}, {"$where": "1"}', "$gt", '{"$oid": "65a1b2c3d4e5f60718293a00"}', "\N{SNOWMAN}\\", "a\x00b", "%s"]


def part_of(kind: FieldKind) -> Part:
    """Return the collection of a contract with a key of this kind."""
    contract = EntityContract(
        entity="orders",
        version=1,
        number=1,
        key=(KeyField("id", FieldType(kind), {"docs": "_id"}),),
        fields=(Field("name", FieldType(FieldKind.STRING), {"docs": "name"}),),
        authority="docs",
        stores=(StoreTable("docs", f"{DATABASE}.orders", "docs.t"),),
        replicas=(),
    )
    return Part(contract, "docs")


NUMBERS, TEXTS = part_of(FieldKind.INT64), part_of(FieldKind.STRING)


@pytest.fixture
def store(server: SecantusDBServer, admin: Admin) -> Iterator[MongodbSliceStore]:
    """The store."""
    del admin
    made = MongodbSliceStore(mongodb_store(server))
    yield made
    made.close()


def fill(admin: Admin, ids: Sequence[object]) -> None:
    """Put documents there."""
    admin[DATABASE]["orders"].insert_many([{"_id": each} for each in ids])


def slices(store: MongodbSliceStore, admin: Admin, part: Part, rows: int) -> list[list[object]]:
    """Walk over a collection, and return the keys that each slice's condition chooses there."""
    found: list[list[object]] = []
    after: Key = ()
    while True:
        bound = store.bound(Look(part, after, rows))
        chosen = json_util.loads(store.condition(part, after, bound.end))
        keys = [each["_id"] for each in admin[DATABASE]["orders"].find(chosen).sort("_id")]
        assert bound.rows == len(keys)
        found.append(keys)
        if not bound.end:
            return found
        after = bound.end


@pytest.mark.parametrize(
    ("part", "ids"),
    [
        (NUMBERS, [-5, 0, 7, 2**31, Int64(8), 2**53 + 1, 2**63 - 1]),
        (TEXTS, [*HOSTILE, "", "a", "ab", "Z"]),
        (TEXTS, OID),
    ],
)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_every_document_is_in_one_slice(
    store: MongodbSliceStore, admin: Admin, part: Part, ids: list[object], rows: int
) -> None:
    """In the store's own order, and no slice is larger than it may be."""
    fill(admin, ids)
    walked = slices(store, admin, part, rows)
    assert sorted(map(repr, ids)) == sorted(repr(key) for each in walked for key in each)
    assert all(len(each) <= rows for each in walked)


def test_an_empty_collection_is_one_empty_slice(store: MongodbSliceStore, admin: Admin) -> None:
    """And so is one that is not there."""
    assert slices(store, admin, NUMBERS, 10) == [[]]
    assert slices(store, admin, TEXTS, 10) == [[]]


def test_keys_of_whole_numbers_are_digits(store: MongodbSliceStore, admin: Admin) -> None:
    """From which the range of canonical keys is told, as of the SQL stores."""
    fill(admin, [1, Int64(2), 3])
    bound = store.bound(Look(NUMBERS, (), 2))
    assert bound.end == ("2",)
    assert NUMBERS.range_of((), bound.end)[1]


@pytest.mark.parametrize(
    ("part", "key", "text"),
    [
        (NUMBERS, 2**53 + 1, "9007199254740993"),
        (TEXTS, 'a"b', json.dumps('a"b')),
        (TEXTS, OID[0], json.dumps({"$oid": str(OID[0])})),
    ],
)
def test_a_key_is_extended_json(store: MongodbSliceStore, admin: Admin, part: Part, key: object, text: str) -> None:
    """As progress keeps it."""
    fill(admin, [key])
    assert store.bound(Look(part, (), 1)).end == (text,)


@pytest.mark.parametrize(("after", "end"), [((), ()), (('"a"',), ()), ((), ('"b"',)), (('"a"',), ('"b"',))])
def test_a_condition_always_names_types(store: MongodbSliceStore, after: Key, end: Key) -> None:
    """Or a document with an `_id` that the connector cannot read would end it."""
    chosen = json.loads(store.condition(TEXTS, after, end))["_id"]
    assert chosen["$type"] == ["string", "objectId"]
    assert ("$gt" in chosen, "$lte" in chosen) == (bool(after), bool(end))


@pytest.mark.parametrize(
    ("part", "ids"),
    [
        (NUMBERS, [1, 2, "3"]), (NUMBERS, [1, 2, 2.5]), (NUMBERS, [1, OID[0]]), (TEXTS, ["a", OID[0]]),
        (TEXTS, ["a", 1]), (TEXTS, [OID[0], True]), (TEXTS, ["a", {"b": 1}]), (TEXTS, [b"bytes", OID[0]]),
    ],
)  # fmt: skip
def test_a_collection_of_several_types_of_key_is_not_read(
    store: MongodbSliceStore, admin: Admin, part: Part, ids: list[object]
) -> None:
    """The connector would leave out those of one type unseen, and the pass would say of them that they are nowhere."""
    fill(admin, ids)
    with pytest.raises(Unready, match="whose _id is no"):
        slices(store, admin, part, 100)


def test_another_type_that_comes_in_the_middle_of_a_pass_is_met_at_its_end(
    store: MongodbSliceStore, admin: Admin
) -> None:
    """Whoever ends a pass says which keys are nowhere."""
    fill(admin, ["a", "b", "c"])
    bound = store.bound(Look(TEXTS, (), 2))
    fill(admin, [OID[0]])
    with pytest.raises(Unready, match="whose _id is no string,"):
        store.bound(Look(TEXTS, bound.end, 2))


def test_a_signal_has_three_fields_in_their_order_and_is_added_once(store: MongodbSliceStore, admin: Admin) -> None:
    """The connector reads them so, and takes no other document for a signal."""
    row = begin_row("driftline-slice-1", "shop.orders", store.signal_table, "{}", store.form)
    store.signal(row)
    store.signal(SignalRow(row.id, "log", "{}"))
    [document] = admin[SCHEMA]["driftline_signal"].find()
    assert list(document.items()) == [("_id", row.id), ("type", row.type), ("data", row.data)]
    assert store.form is SignalForm.DOCUMENT


def test_a_store_that_is_down_is_unready(store: MongodbSliceStore, admin: Admin) -> None:
    """Told with the role, and without a key."""
    admin.admin.command(
        "configureFailPoint", "failCommand", mode={"times": 1}, data={"failCommands": ["find"], "errorCode": 10107}
    )
    with pytest.raises(Unready, match=r"cannot be asked \(.*10107\).*conduct"):
        store.bound(Look(NUMBERS, (), 1))
    assert store.bound(Look(NUMBERS, (), 1)).rows == 0
