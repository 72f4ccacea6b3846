"""A state knows what it is a state of, and whether its changelog can still complete it."""

from __future__ import annotations

import pytest

from app import topics
from app.core import state_identity
from app.core.state_identity import ChangelogPast, StateIdentity, why_lost

OWN = StateIdentity("shop", 3, "topic-id")


@pytest.mark.parametrize(
    "other",
    [StateIdentity("shop2", 3, "topic-id"), StateIdentity("shop", 2, "topic-id"), StateIdentity("shop", 3, "later-id")],
)
def test_another_deployment_partition_or_changelog_is_foreign(other: StateIdentity) -> None:
    """Any one of them is enough."""
    assert other.record() != OWN.record()
    assert StateIdentity("shop", 3, "topic-id").record() == OWN.record()


def test_another_format_has_a_group_a_changelog_and_an_identity_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a state of another version is never read, nor written to, in any of the places where one is kept."""

    def kept() -> set[str | bytes]:
        return {OWN.record(), topics.group_of("shop"), topics.changelog_of("shop")}

    assert topics.OBSERVATIONS.version == state_identity.STATE_FORMAT, (
        "what an older group left is redelivered to a new"
    )
    ours, later = kept(), state_identity.STATE_FORMAT + 1
    for module in (state_identity, topics):
        monkeypatch.setattr(module, "STATE_FORMAT", later)
    assert len(ours | kept()) == 6


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
