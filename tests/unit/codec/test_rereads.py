"""The conductor's records: rows of the signal table, and how far a table was read again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codec.rereads import decode_done, encode_done, record_key
from app.codec.slice_signals import SignalForm, SliceWord, begin_row, is_slice_id, name_of, slice_id, whole_row, word_of
from app.core.conducting import Done
from app.core.errors import Undecodable

DONE = Done("orders", "pg", 3, ("7", "x"), b"\x01" * 17, 10, 2, 1, 4, 5, 6, 7, 8, 9)


def mirrored(entity: str, value: bytes) -> bytes:
    """Stand in for a seal, which opens as it seals."""
    return value[::-1] if entity == "orders" else b""


def test_the_signal_asks_for_the_slice_and_then_for_its_own_row() -> None:
    """In this order, each by a name that is matched as a whole, with a dot that is a dot."""
    row = begin_row(slice_id(0xA1), "public.or$ders", "driftline.driftline_signal", "id > 5")
    data = json.loads(row.data)
    tables = [r"public\.or\$ders", r"driftline\.driftline_signal"]
    assert (row.id, row.type, data["type"]) == ("driftline-slice-a1", "execute-snapshot", "incremental")
    assert data["data-collections"] == tables
    assert data["additional-conditions"] == [
        {"data-collection": tables[0], "filter": "id > 5"},
        {"data-collection": tables[1], "filter": "id = 'driftline-slice-a1'"},
    ]


def test_the_signal_to_mongodb_names_collections_as_they_are() -> None:
    """Its connector takes a name that it does not know for a plain one; conditions are matched by expressions still."""
    name = slice_id(0xA1)
    row = begin_row(name, "shop.or$ders", "driftline.driftline_signal", '{"_id": {"$gt": 5}}', SignalForm.DOCUMENT)
    data = json.loads(row.data)
    assert (row.id, row.type, data["type"]) == (name, "execute-snapshot", "incremental")
    assert data["data-collections"] == ["shop.or$ders", "driftline.driftline_signal"]
    assert data["additional-conditions"] == [
        {"data-collection": r"shop\.or\$ders", "filter": '{"_id": {"$gt": 5}}'},
        {"data-collection": r"driftline\.driftline_signal", "filter": json.dumps({"_id": name})},
    ]


def test_a_document_of_the_signal_collection_is_named_by_its_id() -> None:
    """As the connector's own windows are; and it says a word as a row does."""
    word = SliceWord(slice_id(5), "orders", b"", b"", b"\x01" * 17)
    row = whole_row(word)
    document = {"_id": row.id, "type": row.type, "data": row.data}
    assert name_of(document) == row.id == name_of({"id": row.id})
    assert word_of(document) == word
    assert word_of({"_id": "7-open", "type": "snapshot-window-open", "payload": ""}) is None


@given(low=st.binary(max_size=20), end=st.binary(max_size=20), begun=st.binary(min_size=17, max_size=17))
def test_a_word_is_read_as_it_was_said(low: bytes, end: bytes, begun: bytes) -> None:
    """Through the row of the signal table, which only logs."""
    word = SliceWord(slice_id(5), "orders", low, low + end if end else b"", begun)
    row = whole_row(word)
    assert len(row.id) <= 64
    assert row.type == "log"
    assert word_of({"id": row.id, "type": row.type, "data": row.data}) == word


@pytest.mark.parametrize("name", ["driftline-slice-", "driftline-slice-x", "driftline-slice-1-open", "mine", None, 5])
def test_rows_of_others_are_no_slices(name: object) -> None:
    """Debezium's own windows are in the same table."""
    assert not is_slice_id(name)
    assert word_of({"id": f"{name}-whole", "type": "log", "data": "{}"}) is None


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        '{"message": "m", "entity": "e", "low": "zz", "high": "", "begun": ""}',
        json.dumps({"message": "m", "entity": "e", "low": "", "high": "", "begun": "00"}),
        json.dumps({"message": "m", "entity": "e", "low": "02", "high": "01", "begun": "00" * 17}),
        json.dumps({"message": "m", "entity": "e", "low": "01" * 2_000, "high": "", "begun": "00" * 17}),
    ],
)
def test_a_word_that_is_malformed_is_told(data: str) -> None:
    """Whoever may write the table may write anything."""
    with pytest.raises(Undecodable):
        word_of({"id": "driftline-slice-1-whole", "type": "log", "data": data})


def test_progress_comes_back_and_its_key_goes_sealed() -> None:
    """Who may not open it learns everything but where the pass stands."""
    value = encode_done(DONE, mirrored)
    assert json.loads(value)["after"] == mirrored("orders", b'["7", "x"]').hex()
    assert decode_done(value, mirrored) == DONE
    assert decode_done(value) == replace(DONE, after=())
    assert record_key(DONE) == b"orders/pg"


@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"entity": 5}', encode_done(DONE, mirrored)[:-9]])
def test_progress_that_is_none_is_told(value: bytes | None) -> None:
    """Somebody else wrote it."""
    with pytest.raises(Undecodable):
        decode_done(value)
