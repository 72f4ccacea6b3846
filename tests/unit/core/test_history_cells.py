"""A record as cells and back: nothing is lost, and nothing goes in that some database would not hold."""

from __future__ import annotations

from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.command import Approval, CommandOutcome, RepairCommand
from app.core.errors import Undecodable
from app.core.finding import Finding
from app.core.history.cells import cells_of, columns_of, record_of
from app.core.history.tables import FINDINGS, Place, entries_of, finding_of
from app.core.switch import Control, Said
from tests.unit.cli.reading_world import stale

RECORDS = (Finding, RepairCommand, Approval, CommandOutcome, Control)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: NUMBERS,
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    NoneType: st.none(),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type as it is written
    """Return what draws values of a type."""
    if hint in PLAIN:
        return PLAIN[hint]
    if get_origin(hint) is tuple:
        return st.lists(values_of(get_args(hint)[0]), max_size=3).map(tuple)
    if get_args(hint):
        return st.one_of(*map(values_of, get_args(hint)))
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return st.builds(hint, **{name: values_of(each) for name, each in get_type_hints(hint).items()})


@settings(max_examples=200)
@given(st.one_of(*map(values_of, RECORDS)))
def test_every_record_comes_back_as_it_was(record: object) -> None:
    """Whatever stands in its fields, nested ones included."""
    cells = cells_of(record)
    assert list(cells) == list(columns_of(type(record)))
    assert all(cell is None or type(cell) in {str, int} for cell in cells.values())
    assert record_of(type(record), cells) == record


def test_a_key_in_plain_has_no_column() -> None:
    """A finding's row has the sealed key and the keyed hash, and comes back without the plain one."""
    told = stale(canonical_key=b"a key in plain")
    [entry] = entries_of(Place("drifts", 0, 0, 0), told)
    assert "canonical_key" not in FINDINGS.columns
    assert b"a key in plain".hex() not in repr(entry.cells)
    assert finding_of(entry.cells).finding.canonical_key == b""
    assert finding_of(entry.cells) == stale()


@pytest.mark.parametrize(("by", "at_ms"), [("nul\0", 1), ("\ud800", 1), ("anna", 1 << 63), ("anna", -(1 << 63) - 1)])
def test_what_some_database_does_not_hold_is_refused(by: str, at_ms: int) -> None:
    """In all of them, so that none differs from another."""
    with pytest.raises(Undecodable):
        cells_of(Control(Said.PAUSE, by, at_ms))
