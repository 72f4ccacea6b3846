"""A key that a store's columns cannot hold is refused like any value that they cannot: nothing ends for it."""

from __future__ import annotations

from typing import Final

import pytest

from app.adapters.sql_table import SqlTable
from app.core.canonical_key import key_writer
from app.core.command import RefusalReason
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, Replica, StoreTable
from app.core.guard import Refused
from app.core.store import StoreKind

STORES: Final = {"pg": StoreKind.POSTGRES, "my": StoreKind.MARIADB}


def _contract(type_: FieldType) -> EntityContract:
    columns = dict.fromkeys(STORES, "id")
    return EntityContract(
        entity="things",
        version=1,
        number=7,
        key=(KeyField("id", type_, columns),),
        fields=(Field("name", FieldType(FieldKind.STRING), dict.fromkeys(STORES, "name")),),
        authority="pg",
        stores=tuple(StoreTable(store, "shop.things", f"{store}.things") for store in STORES),
        replicas=(Replica("my", 3_000, 30_000),),
    )


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (FieldType(FieldKind.DATE), "infinity"),
        (FieldType(FieldKind.DECIMAL, scale=2), "NaN"),
    ],
)
def test_a_key_that_mariadb_does_not_have_is_refused(type_: FieldType, value: str) -> None:
    """PostgreSQL has dates without end, and numbers that are none."""
    contract = _contract(type_)
    key = key_writer(type_)(value)
    assert SqlTable(contract, "pg", STORES["pg"], b"d" * 32).where(key)
    with pytest.raises(Refused, match="its key") as refused:
        SqlTable(contract, "my", STORES["my"], b"d" * 32).where(key)
    assert refused.value.reason is RefusalReason.NOT_HELD_BY_COLUMN
