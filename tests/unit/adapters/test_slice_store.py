"""Conditions that travel as text: what they say, and that no key can say more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.slice_store import SqlSliceStore, slice_store
from app.codec.slice_signals import SignalForm
from app.core.conducting import Key, Part
from app.core.contract import EntityContract, FieldKind, FieldType, KeyField
from app.core.store import Converter, StoreKind
from app.settings import StoreSettings
from tests.unit.core.story import contract


def settings(kind: StoreKind) -> StoreSettings:
    """Return settings of a store that is never connected to."""
    return StoreSettings("A", kind, "a", Converter.JSON, "localhost", 1, "shop", roles={}, ca_file=Path("/"))


def store(kind: StoreKind) -> SqlSliceStore:
    """Return an SQL store."""
    return SqlSliceStore(settings(kind))


def keyed(*kinds: FieldKind) -> EntityContract:
    """Return a contract with a key of these parts, in columns `k0` and so on."""
    parts = [KeyField(f"k{n}", FieldType(kind), {"A": f"k`{n}"}) for n, kind in enumerate(kinds)]
    return replace(contract(pipeline=False), key=tuple(parts))


@pytest.mark.parametrize(
    ("after", "end", "wanted"),
    [
        ((), (), ""),
        (("5",), (), "((`k``0` > 5))"),
        ((), ("9",), "((`k``0` <= 9))"),
        (("-5",), ("9",), "((`k``0` > -5)) AND ((`k``0` <= 9))"),
    ],
)
def test_a_range_of_numbers(after: Key, end: Key, wanted: str) -> None:
    """Behind one key, up to another."""
    assert store(StoreKind.MARIADB).condition(Part(keyed(FieldKind.INT64), "A"), after, end) == wanted


def test_a_key_of_several_parts_is_compared_as_the_index_is() -> None:
    """Part by part; the last may be equal where the key is included."""
    part = Part(keyed(FieldKind.INT64, FieldKind.STRING), "A")
    assert store(StoreKind.MARIADB).condition(part, ("5", "a"), ("5", "b")) == (
        "((`k``0` > 5) OR (`k``0` = 5 AND `k``1` > _utf8mb4 x'61'))"
        " AND ((`k``0` < 5) OR (`k``0` = 5 AND `k``1` <= _utf8mb4 x'62'))"
    )


@pytest.mark.parametrize("key", ["'; DROP TABLE x; --", "\\' OR 1=1", "%s", "\N{SNOWMAN}'"])
def test_a_hostile_text_is_digits(key: str) -> None:
    """Whoever writes rows writes keys; they become conditions of a statement of the connector's."""
    said = store(StoreKind.MARIADB).condition(Part(keyed(FieldKind.STRING), "A"), (key,), ())
    assert said == f"((`k``0` > _utf8mb4 x'{key.encode().hex()}'))"


def test_a_number_that_is_none_is_refused() -> None:
    """Before it becomes text of a statement."""
    with pytest.raises(ValueError, match="invalid literal"):
        store(StoreKind.MARIADB).condition(Part(keyed(FieldKind.INT64), "A"), ("1 OR 1=1",), ())


@pytest.mark.parametrize("kind", StoreKind)
def test_a_store_is_asked_in_what_its_connector_understands(kind: StoreKind) -> None:
    """A condition is SQL, or a document as text."""
    asked = slice_store(settings(kind))
    assert asked.form is (SignalForm.DOCUMENT if kind is StoreKind.MONGODB else SignalForm.SQL)
