"""Digests of rows: the same across stores, different for every difference, and never of a value that was left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField
from app.core.digest import DIGEST_BYTES, Dialect, RowDigester, keyed_hash, partition_of, row_digest
from app.core.errors import ContractViolation, Unmappable
from app.core.event import LEFT_OUT

K = FieldKind
SECRET = bytes(range(32))
STORES = {"pg": Dialect.POSTGRES_CDC, "my": Dialect.BINLOG_CDC}


def both(name: str) -> dict[str, str]:
    """Name a column the same in both stores."""
    return {"pg": name, "my": name}


ORDERS = EntityContract(
    entity="order",
    version=1,
    number=0x01020304,
    key=(KeyField("tenant", FieldType(K.INT32), both("tenant")), KeyField("code", FieldType(K.STRING), both("code"))),
    fields=(
        Field("customer", FieldType(K.INT64), both("customer")),
        Field("amount", FieldType(K.DECIMAL), {"pg": "amount", "my": "total"}),
        Field("status", FieldType(K.STRING), both("status"), normalise=("trim_end",)),
        Field("paid", FieldType(K.BOOL), both("paid")),
        Field("updated", FieldType(K.INSTANT), both("updated")),
        Field("note", FieldType(K.STRING), both("note"), large=True),
        Field("scan", FieldType(K.BYTES), both("scan"), large=True),
    ),
    authority="pg",
    stores=(),
    replicas=(),
)
ROW = {
    "tenant": 1,
    "code": "A",
    "customer": 5,
    "amount": "1.250",
    "status": "new",
    "paid": True,
    "updated": "2026-02-28T12:34:56.789012Z",
    "note": "text",
    "scan": "3q2+7w==",
}
COPY = {
    "tenant": 1,
    "code": "A",
    "customer": 5,
    "total": "1.25",
    "status": "new  ",
    "paid": 1,
    "updated": 1_772_282_096_789_012,
    "note": "text",
    "scan": "3q2+7w==",
    "loaded_at": 17,
}


def digester(store: str = "pg", contract: EntityContract = ORDERS, secret: bytes = SECRET) -> RowDigester:
    """Return the digester of a store."""
    return RowDigester(contract, store, STORES[store], secret)


def test_a_row_and_its_copy_have_one_digest_and_one_key() -> None:
    """Columns may be named, written and padded in each store's way."""
    assert digester().groups(ROW) == digester("my").groups(COPY)
    assert digester().canonical_key(ROW) == digester("my").canonical_key({"tenant": 1, "code": "A"})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("customer", 6),
        ("customer", None),
        ("amount", "1.2"),
        ("status", "New"),
        ("status", " new"),
        ("status", ""),
        ("status", None),
        ("paid", False),
        ("paid", None),
        ("updated", "2026-02-28T13:34:56.789012Z"),
        ("note", "texts"),
        ("note", None),
        ("scan", ""),
        ("scan", None),
    ],
)
def test_every_difference_shows_in_its_own_group(column: str, value: object) -> None:
    """A field that is not large changes the main group alone, a large one its own."""
    before, after = digester().groups(ROW), digester().groups(ROW | {column: value})
    changed = [i for i in range(3) if before[i * 16 : i * 16 + 16] != after[i * 16 : i * 16 + 16]]
    assert changed == [{"note": 1, "scan": 2}.get(column, 0)]


def test_swapped_values_are_a_difference() -> None:
    """The field's name is part of what is digested."""
    contract = replace(
        ORDERS, fields=(Field("a", FieldType(K.STRING), both("a")), Field("b", FieldType(K.STRING), both("b")))
    )
    one = digester(contract=contract)
    assert one.groups({"a": "x", "b": "y"}) != one.groups({"a": "y", "b": "x"})
    assert one.groups({"a": "ab", "b": "c"}) != one.groups({"a": "a", "b": "bc"})
    assert one.groups({"a": None, "b": ""}) != one.groups({"a": "", "b": None})


def test_a_large_field_that_was_left_out_is_zero_and_no_other() -> None:
    """Its group is filled from what is remembered."""
    left = digester().groups(ROW | {"note": LEFT_OUT})
    assert left[16:32] == bytes(DIGEST_BYTES)
    assert left[:16] == digester().groups(ROW)[:16]
    assert left[32:] == digester().groups(ROW)[32:]
    assert "note" not in digester().values(ROW | {"note": LEFT_OUT})
    assert "note" not in digester().field_digests(ROW | {"note": LEFT_OUT})


def test_a_field_that_may_not_be_left_out_makes_the_row_unmappable() -> None:
    """The contract has to call it large."""
    with pytest.raises(Unmappable) as refused:
        digester().groups(ROW | {"status": LEFT_OUT})
    assert refused.value.field == "status"
    assert "large" in refused.value.hint


@pytest.mark.parametrize(("letters", "fits"), [(8_000, True), (8_193, False), (70_000, False)])
def test_a_key_has_a_length_that_records_can_hold(letters: int, *, fits: bool) -> None:
    """A longer one has no form, one by one and by columns; its value is not told."""
    made, long = digester(), "k" * letters
    (key,) = made.canonical_keys(1, [[1], [long]])
    assert (key is not None) is fits
    if fits:
        assert made.canonical_key(ROW | {"code": long}) == key
        return
    with pytest.raises(Unmappable, match="more than the 8192") as refused:
        made.canonical_key(ROW | {"code": long})
    assert long not in str(refused.value)


def test_a_value_that_does_not_fit_names_the_field_and_not_the_value() -> None:
    """In the contract's words, with the store."""
    with pytest.raises(Unmappable) as refused:
        digester().groups(ROW | {"paid": "perhaps"})
    assert refused.value.field == "paid"
    assert "order in pg" in str(refused.value)
    assert "perhaps" not in str(refused.value)
    with pytest.raises(Unmappable):
        digester().values(ROW | {"paid": "perhaps"})


def test_a_column_that_is_not_there_is_not_null() -> None:
    """A dropped or filtered column must not compare as NULL."""
    row = {name: value for name, value in ROW.items() if name != "status"}
    for reading in (digester().groups, digester().values, digester().field_digests):
        with pytest.raises(Unmappable) as refused:
            reading(row)
        assert refused.value.field == "status"


@pytest.mark.parametrize("value", [None, LEFT_OUT, "x", 1 << 40])
def test_a_key_without_a_value_is_unmappable(value: object) -> None:
    """Keys are never NULL and always fit."""
    with pytest.raises(Unmappable):
        digester().canonical_key({"tenant": value, "code": "A"})


def test_unlike_versions_keys_and_entities_are_never_equal() -> None:
    """A digest of another version, entity or deployment key compares with nothing."""
    digests = [
        digester().groups(ROW),
        digester(contract=replace(ORDERS, version=2)).groups(ROW),
        digester(contract=replace(ORDERS, number=5)).groups(ROW),
        digester(secret=bytes(32)).groups(ROW),
    ]
    parts = [d[i : i + 16] for d in digests for i in (0, 16, 32)]
    assert len(set(parts)) == 12


def test_values_are_those_before_normalisation() -> None:
    """A repair must not write what was only made for comparing."""
    assert digester("my").values(COPY) == {
        "customer": 5,
        "amount": "1.25",
        "status": "new  ",
        "paid": True,
        "updated": 1_772_282_096_789_012,
        "note": "text",
        "scan": b"\xde\xad\xbe\xef",
    }


def test_field_digests_name_the_fields_that_differ() -> None:
    """Across stores and by what is compared, so blanks that do not count do not show."""
    left, right = digester().field_digests(ROW), digester("my").field_digests(COPY | {"total": "1.24", "note": "t"})
    assert {name for name in left if left[name] != right[name]} == {"amount", "note"}


def test_a_key_by_its_collation_is_one_key() -> None:
    """Two writings that the collation holds equal are one row."""
    key = (KeyField("code", FieldType(K.STRING, collation="ci_trim"), both("code")),)
    one = digester(contract=replace(ORDERS, key=key))
    assert one.canonical_key({"code": "Ab "}) == one.canonical_key({"code": "aB"})


def test_a_row_digest_is_its_only_group_or_the_hash_of_all() -> None:
    """With no large field nothing is hashed twice."""
    groups = digester().groups(ROW)
    assert row_digest(groups[:16]) == groups[:16]
    assert row_digest(groups) != groups[:16]
    assert len(row_digest(groups)) == DIGEST_BYTES


def test_a_key_hash_tells_entity_and_key_apart() -> None:
    """And needs the deployment's key."""
    hashes = {
        keyed_hash(SECRET, 1, b"a"),
        keyed_hash(SECRET, 2, b"a"),
        keyed_hash(SECRET, 1, b"b"),
        keyed_hash(b"k", 1, b"a"),
    }
    assert len(hashes) == 4
    assert {partition_of(h, 4) for h in hashes} <= {0, 1, 2, 3}


def test_digests_are_pinned() -> None:
    """A change of the encoding changes every digest of every deployment: raise `ALGORITHM` with it."""
    assert digester().groups(ROW).hex() == PINNED
    assert keyed_hash(SECRET, 7, b"key").hex() == PINNED_KEY
    assert row_digest(digester().groups(ROW)).hex() == PINNED_ROW


def test_a_contract_that_cannot_be_compiled_is_refused() -> None:
    """When the worker starts."""
    wrong = replace(ORDERS, fields=(Field("a", FieldType(K.STRING), both("a"), normalise=("rot13",)),))
    with pytest.raises(ContractViolation):
        digester(contract=wrong)
    keyed = replace(ORDERS, key=(KeyField("a", FieldType(K.FLOAT64), both("a")),))
    with pytest.raises(ContractViolation):
        digester(contract=keyed)


PINNED = "837b173f543879a09f8454d954d08517baa0e90a3aa3e83aaa4d7028d9230648ed272fa981a350ed3af65a7e42ab6a1f"
PINNED_KEY = "7e7277b807ef78773128ffad861642e0"
PINNED_ROW = "de6413f451721fc93198be3e720cd8d5"


def test_a_spelling_tells_apart_what_the_digest_holds_equal() -> None:
    """In any field, and the same from both stores; a row without a value of a field has none."""
    pg, my = digester("pg"), digester("my")
    values = pg.values(ROW)
    assert my.spelling({**my.values(COPY), "status": "new"}) == pg.spelling(values)
    assert row_digest(my.groups(COPY)) == row_digest(pg.groups(ROW))
    assert my.spelling(my.values(COPY)) != pg.spelling(values)
    assert len({pg.spelling({**values, name: None}) for name in values} | {pg.spelling(values)}) == 1 + len(values)
    assert pg.spelling({name: value for name, value in values.items() if name != "note"}) == b""
    assert digester(secret=bytes(32)).spelling(values) != pg.spelling(values)
    assert digester(contract=replace(ORDERS, version=2)).spelling(values) != pg.spelling(values)
