"""The strictest word of a policy wins, and hours that deny win over hours that allow."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.core.contract import Hours, RepairMode, RepairPolicy
from app.core.policy import columns_mode, is_open, mode_of, strictest

OBSERVE, PROPOSE, APPLY = RepairMode.OBSERVE, RepairMode.PROPOSE, RepairMode.APPLY
POLICY = RepairPolicy(
    mode=APPLY, kinds={"extra": OBSERVE, "missing": PROPOSE}, columns={"amount": PROPOSE, "secret": OBSERVE}
)


@pytest.mark.parametrize(
    ("kind", "columns", "mode"),
    [
        ("stale", ["note"], APPLY),
        ("stale", [], APPLY),
        ("stale", ["note", "amount"], PROPOSE),
        ("stale", ["amount", "secret"], OBSERVE),
        ("stale", None, OBSERVE),  # nobody knows which: as if all
        ("missing", ["note"], PROPOSE),
        ("extra", [], OBSERVE),
    ],
)
def test_the_strictest_of_replica_kind_and_fields_decides(
    kind: str, columns: list[str] | None, mode: RepairMode
) -> None:
    """A kind or a field can only narrow what the replica allows."""
    assert mode_of(POLICY, kind, columns) is mode
    assert mode_of(RepairPolicy(), kind, columns) is OBSERVE


def test_without_a_word_nothing_is_narrowed_and_nothing_is_allowed() -> None:
    """The default of a replica is to observe; of kinds and fields, to follow the replica."""
    assert RepairPolicy().mode is OBSERVE
    assert columns_mode(RepairPolicy(), None) is APPLY
    assert strictest([]) is APPLY


def at(text: str) -> int:
    """Return a moment in UTC as wall-clock time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


WORKDAYS = Hours(frozenset(range(5)), 8 * 60, 18 * 60)
FRIDAY_NIGHT = Hours(frozenset({4}), 22 * 60, 2 * 60)
ZURICH = Hours(frozenset(range(7)), 8 * 60, 9 * 60, "Europe/Zurich")


@pytest.mark.parametrize(
    ("allow", "deny", "moment", "open_"),
    [
        ((), (), "2026-11-26T03:00", True),
        ((WORKDAYS,), (), "2026-11-26T08:00", True),  # a Thursday
        ((WORKDAYS,), (), "2026-11-26T07:59", False),
        ((WORKDAYS,), (), "2026-11-26T18:00", False),
        ((WORKDAYS,), (), "2026-11-28T12:00", False),  # a Saturday
        ((WORKDAYS,), (WORKDAYS,), "2026-11-26T12:00", False),  # deny wins
        ((), (WORKDAYS,), "2026-11-26T12:00", False),
        ((), (WORKDAYS,), "2026-11-26T19:00", True),
        ((FRIDAY_NIGHT,), (), "2026-11-27T23:00", True),
        ((FRIDAY_NIGHT,), (), "2026-11-28T01:59", True),  # the morning after
        ((FRIDAY_NIGHT,), (), "2026-11-28T02:00", False),
        ((FRIDAY_NIGHT,), (), "2026-11-27T01:00", False),  # the morning before
        ((FRIDAY_NIGHT,), (), "2026-11-28T23:00", False),
        ((ZURICH,), (), "2026-11-26T07:30", True),  # winter: an hour ahead
        ((ZURICH,), (), "2026-07-26T07:30", False),  # summer: two
        ((ZURICH,), (), "2026-07-26T06:30", True),
    ],
)
def test_hours(allow: tuple[Hours, ...], deny: tuple[Hours, ...], moment: str, *, open_: bool) -> None:
    """By the clock of the zone that is named, over midnight too."""
    assert is_open(RepairPolicy(allow=allow, deny=deny), at(moment)) is open_
