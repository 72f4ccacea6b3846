"""Documents as values: what stands at a path, and the update that makes one document of another."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.mongodb_documents import MISSING, NoWay, at, changes, is_same, put, take

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(st.none(), st.integers(0, 2), st.just(Int64(1)), st.text("x", max_size=1), st.lists(st.just(1)))
DOCUMENTS = st.recursive(
    st.dictionaries(NAMES, VALUES, max_size=3), lambda within: st.dictionaries(NAMES, VALUES | within, max_size=3)
)


def updated(document: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """Return a document behind an update, as MongoDB documents it."""
    for path, value in sorted(update.get("$set", {}).items()):
        document = put(document, path, value)
    for path in update.get("$unset", {}):
        document = take(document, path, document)
    return document


@given(DOCUMENTS, DOCUMENTS)
def test_the_changes_make_the_one_document_of_the_other(now: dict[str, Any], then: dict[str, Any]) -> None:
    """In every field, with its type; the order of new ones is the server's matter, but for documents within."""
    update = changes(now, then)
    assert update is not None
    left = updated(now, update)
    assert left.keys() == then.keys()
    assert all(is_same(left[name], then[name]) for name in then)
    is_changed = now.keys() != then.keys() or not all(is_same(now[name], then[name]) for name in then)
    assert bool(update) is is_changed


@pytest.mark.parametrize("name", ["a.b", "$a", ""])
def test_a_name_that_cannot_stand_in_a_path_asks_for_the_whole_document(name: str) -> None:
    """At any depth; where it does not differ it hinders nothing."""
    assert changes({"x": {name: 1}}, {"x": {name: 2}}) is None
    assert changes({name: 1, "b": 1}, {name: 1, "b": 2}) == {"$set": {"b": 2}}


def test_a_path_leads_through_documents_only() -> None:
    """Not into arrays, nor through values; a field that has the dots in its own name comes first."""
    document = {"a": {"b": 1}, "l": [1], "x.y": 2, "x": {"y": 3}, "n": None}
    assert [at(document, path) for path in ("a.b", "x.y", "n", "l.0", "a.b.c", "q")] == [1, 2, None, *[MISSING] * 3]
    assert put(document, "x.y", 9)["x.y"] == 9
    assert put({}, "a.b.c", 1) == {"a": {"b": {"c": 1}}}
    for path in ("l.0", "a.b.c", "n.m"):
        with pytest.raises(NoWay):
            put(document, path, 1)


def test_what_is_taken_away_takes_along_what_was_made_for_it() -> None:
    """A document around it that was not there before, once that is empty; not one that holds something else."""
    assert take({"a": {"b": 1}, "c": 1}, "a.b", {"c": 1}) == {"c": 1}
    assert take({"a": {"b": 1}}, "a.b", {"a": {}}) == {"a": {}}
    assert take({"a": {"b": 1, "c": 2}}, "a.b", {}) == {"a": {"c": 2}}
    assert take({"a": {}}, "a.b", {}) == {"a": {}}
    assert take({"a": 1}, "a.b", {}) == {"a": 1}
