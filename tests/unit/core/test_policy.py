"""The strictest word of a policy wins, and hours that deny win over hours that allow."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from app.core.contract import Hours, RehearsalRule, RepairMode, RepairPolicy
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


OTHERS: dict[str, object] = {
    "mode": OBSERVE,
    "kinds": {"extra": OBSERVE},
    "columns": {"amount": OBSERVE, "secret": OBSERVE},
    "transform": frozenset({"note"}),
    "upserts": False,
    "deletes": True,
    "deletes_wait": False,
    "mass_rows": 999,
    "quarantine_rows": 1,
    "quarantine_percent": 0.5,
    "automatic_per_minute": 0,
    "automatic_percent_per_minute": 0.5,
    "allow": (Hours(frozenset({0}), 1, 2, "UTC"),),
    "deny": (Hours(frozenset({0}), 1, 3, "UTC"),),
    "parents": ("customers",),
    "persons": 2,
    "approval_life_ms": 1,
    "rehearsal": RehearsalRule.REQUIRED,
    "expires_after_ms": 1,
}


def test_another_policy_has_another_name() -> None:
    """Whatever part of it is another one; the order in which a contract says it makes no difference."""
    others = [replace(POLICY, **{name: value}) for name, value in OTHERS.items()]  # type: ignore[arg-type]  # by name
    assert OTHERS.keys() == {field.name for field in fields(RepairPolicy)}
    assert len({each.policy_id for each in (POLICY, *others)}) == len(others) + 1
    turned = replace(POLICY, kinds=dict(sorted(POLICY.kinds.items(), reverse=True)))
    assert turned.policy_id == POLICY.policy_id


def test_a_policys_name_does_not_change_with_the_keys_that_a_later_version_adds() -> None:
    """What is at its default is not in it: workers and appliers of two versions agree on it."""
    assert RepairPolicy().text == "{}"
    assert replace(RepairPolicy(APPLY), deny=(Hours(frozenset({4, 0}), 1, 2, "UTC"),)).text == (
        '{"deny": [{"days": [0, 4], "end_minute": 2, "start_minute": 1, "zone": "UTC"}], "mode": "apply"}'
    )
    assert RepairPolicy(APPLY).policy_id.hex() == "1397c46f736e8e3810c8ae8d6334782f"


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
