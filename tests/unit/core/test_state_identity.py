"""A state knows what it is a state of, and whether its changelog can still complete it."""

from __future__ import annotations

import json

import pytest

from app.core.state_identity import ChangelogPast, Kinship, StateIdentity, why_lost

OWN = StateIdentity("shop", 3, "topic-id")


@pytest.mark.parametrize(
    "other",
    [StateIdentity("shop2", 3, "topic-id"), StateIdentity("shop", 2, "topic-id"), StateIdentity("shop", 3, "later-id")],
)
def test_another_deployment_partition_or_changelog_is_foreign(other: StateIdentity) -> None:
    """Any one of them is enough."""
    assert OWN.kinship(other.record()) is Kinship.FOREIGN


@pytest.mark.parametrize("held", [None, b"", b"\xff", b"[]", b"{}", b"7", b"[1]"])
def test_what_is_no_identity_is_foreign(held: bytes | None) -> None:
    """Whatever the bytes are, they raise nothing."""
    assert OWN.kinship(held) is Kinship.FOREIGN


def test_our_own_state_of_another_format_is_told_apart() -> None:
    """It is not deleted as if it were worthless: a person decides."""
    later = json.dumps([2, "shop", 3, "topic-id"], separators=(",", ":")).encode()
    assert OWN.kinship(later) is Kinship.OTHER_FORMAT
    assert OWN.kinship(OWN.record()) is Kinship.OWN


@pytest.mark.parametrize(
    ("stored", "past", "word"),
    [
        (10, ChangelogPast(0, 10, 5), "ends at 10"),
        (None, ChangelogPast(1, 10, 5), "before 1"),
        (10, ChangelogPast(12, 20, 5), "before 12"),
        (None, ChangelogPast(0, 0, 5), "empty"),
    ],
)
def test_what_no_place_holds_any_more_is_named(stored: int | None, past: ChangelogPast, word: str) -> None:
    """A changelog that was cut at its end, at its beginning, or is not there."""
    assert word in (why_lost(stored, past) or "")


@pytest.mark.parametrize(
    ("stored", "past"),
    [
        (9, ChangelogPast(0, 10, 5)),
        (10, ChangelogPast(11, 20, 5)),
        (None, ChangelogPast(0, 10, 5)),
        (None, ChangelogPast(0, 0, None)),
        (None, ChangelogPast(0, 0, 0)),
    ],
)
def test_a_state_that_can_be_completed_is_not_lost(stored: int | None, past: ChangelogPast) -> None:
    """It stands at the end, or all that it lacks is there, or nothing ever was."""
    assert why_lost(stored, past) is None
