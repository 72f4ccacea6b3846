"""A table that is altered while it is watched, with its contract, before it or never: what each change says."""

from __future__ import annotations

from dataclasses import replace

from app.agents.rows import RowBucket, RowReader
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, StoreTable
from app.core.digest import Dialect, RowDigester
from app.core.event import ChangeEvent, Operation, Reading
from app.core.observation import PRESENT, UNMAPPABLE

KEY = bytes(range(32))
INT32, INT64 = FieldType(FieldKind.INT32), FieldType(FieldKind.INT64)
CONTRACT = EntityContract(
    "items",
    1,
    7,
    (KeyField("id", INT64, {"pg": "id"}),),
    (Field("name", FieldType(FieldKind.STRING), {"pg": "name"}), Field("stock", INT32, {"pg": "stock"})),
    "pg",
    (StoreTable("pg", "public.items", "pg.public.items"),),
    (),
)
ROW: dict[str, object] = {"id": 1, "name": "pen", "stock": 5}


def read(contract: EntityContract, image: dict[str, object]) -> tuple[int, bytes]:
    """Return flags and digests of an update that leaves an image."""
    digester = RowDigester(contract, "pg", Dialect.POSTGRES_CDC, KEY)
    buckets = {0: RowBucket()}
    event = ChangeEvent(Operation.UPDATE, Reading.LIVE, "items", {"id": 1}, None, image, bytes(17), "", 0)
    RowReader(contract, "pg", digester, KEY, 1).add(event, b"1", 0, buckets)
    ((_, _, flags, _, _, _, digests),) = buckets[0].rows
    return flags, digests


KNOWN, (_, BEFORE) = PRESENT, read(CONTRACT, ROW)
UNKNOWN = PRESENT | UNMAPPABLE


def test_a_column_added_with_a_default_changes_nothing_that_is_compared() -> None:
    """No row is written for it, and the contract does not know it: rows from before and after have one digest."""
    assert read(CONTRACT, {**ROW, "colour": "red"}) == (KNOWN, BEFORE)


def test_a_contract_that_knows_a_column_before_the_table_has_it_makes_rows_unknown() -> None:
    """Until the table has it: a value that is not there is not NULL."""
    colour = Field("colour", FieldType(FieldKind.STRING), {"pg": "colour"})
    more = replace(CONTRACT, fields=(*CONTRACT.fields, colour), version=2)
    assert read(more, ROW)[0] == UNKNOWN
    assert read(more, {**ROW, "colour": None})[0] == KNOWN
    assert read(more, {**ROW, "colour": None}) != read(more, {**ROW, "colour": "red"})


def test_a_dropped_column_makes_rows_unknown_until_the_contract_drops_it() -> None:
    """Nobody says what it would hold."""
    dropped: dict[str, object] = {"id": 1, "name": "pen"}
    assert read(CONTRACT, dropped)[0] == UNKNOWN
    assert read(replace(CONTRACT, fields=CONTRACT.fields[:1], version=2), dropped)[0] == KNOWN


def test_a_renamed_column_makes_rows_unknown_until_the_contract_follows() -> None:
    """And then they have the digest that they had: a field's name is the contract's, and its column the store's."""
    renamed: dict[str, object] = {"id": 1, "title": "pen", "stock": 5}
    assert read(CONTRACT, renamed)[0] == UNKNOWN
    name = replace(CONTRACT.fields[0], columns={"pg": "title"})
    follows = replace(CONTRACT, fields=(name, CONTRACT.fields[1]))
    assert read(follows, renamed) == (KNOWN, BEFORE)
    assert read(follows, ROW)[0] == UNKNOWN


def test_a_widened_column_makes_only_rows_unknown_that_did_not_fit_before() -> None:
    """A wider contract takes them all, with digests of its own."""
    wide: dict[str, object] = {**ROW, "stock": 1 << 40}
    assert read(CONTRACT, ROW) == (KNOWN, BEFORE)
    assert read(CONTRACT, wide)[0] == UNKNOWN
    wider = replace(CONTRACT, fields=(CONTRACT.fields[0], replace(CONTRACT.fields[1], type=INT64)), version=2)
    assert read(wider, wide)[0] == read(wider, ROW)[0] == KNOWN


def test_a_column_of_another_type_is_not_guessed() -> None:
    """A number that became a text is read where it is one, and unknown where it is none."""
    assert read(CONTRACT, {**ROW, "stock": "5"}) == (KNOWN, BEFORE)
    assert read(CONTRACT, {**ROW, "stock": "five"})[0] == UNKNOWN
