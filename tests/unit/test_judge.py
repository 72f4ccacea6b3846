"""The judge of demo and drills must itself be right: what is late, whose damage a drift is, what counts as equal."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from demo_parts.sides import Kind, Side
from judge_parts.commit_times import CommitTimes, Look, shown_by, transaction_of
from judge_parts.lateness import Between, History, really_late
from judge_parts.opinion import Planted, judge
from judge_parts.rows import plain
from judge_parts.stories import Story

WINDOW_S = 10.0


def _row(quantity: int) -> dict[str, object]:
    return {"id": 1, "quantity": quantity}


def _at(second: float) -> Between:
    return Between(second, second)


def _story(key: int, confirmed: float, *, kind: str = "different", number: bytes = b"1") -> Story:
    story = Story(number, "orders", kind, key, is_incident=False, incident_id=b"")
    story.stages["confirmed"] = confirmed
    return story


@pytest.mark.parametrize(
    ("shown_at", "late"),
    [
        pytest.param(105.0, False, id="within its window"),
        pytest.param(115.0, True, id="beyond its window"),
        pytest.param(None, True, id="never"),
    ],
)
def test_a_copy_is_late_by_when_it_left_the_old_state(shown_at: float | None, late: bool) -> None:  # noqa: FBT001
    """The copy is late if it showed the old state for longer than the window after the origin had left it."""
    origin: History = [(_at(0.0), _row(1)), (_at(100.0), _row(2))]
    copy: History = [(_at(0.1), _row(1))]
    if shown_at is not None:
        copy.append((_at(shown_at), _row(2)))
    assert really_late(origin, copy, WINDOW_S, until=130.0) is late


def test_a_state_that_the_origin_never_had_is_not_late_but_wrong() -> None:
    """A rogue row is nobody's lag, however long it stands."""
    origin: History = [(_at(0.0), _row(1))]
    copy: History = [(_at(0.1), _row(1)), (_at(50.0), _row(99))]
    assert not really_late(origin, copy, WINDOW_S, until=100.0)


@pytest.mark.parametrize(
    ("deleted_at", "late"),
    [pytest.param(105.0, False, id="gone within the window"), pytest.param(115.0, True, id="gone only later")],
)
def test_a_return_of_the_origin_excuses_nothing_that_was_before(deleted_at: float, late: bool) -> None:  # noqa: FBT001
    """A row that came and went while the copy stood still was missing there in between."""
    origin: History = [(_at(100.0), _row(1)), (_at(deleted_at), None)]
    copy: History = [(_at(120.0), _row(1)), (_at(120.1), None)]
    assert really_late(origin, copy[:1], WINDOW_S, until=119.0) is late
    assert really_late(origin, [], WINDOW_S, until=130.0) is late


def test_a_state_shown_after_the_judged_moment_is_no_excuse() -> None:
    """What became of the copy after a drift was raised says nothing of whether it was right to raise it."""
    origin: History = [(_at(0.0), _row(1)), (_at(100.0), _row(2))]
    copy: History = [(_at(0.1), _row(1)), (_at(101.0), _row(2)), (_at(150.0), _row(1))]
    assert not really_late(origin, copy, WINDOW_S, until=140.0)
    assert really_late(origin, copy, WINDOW_S, until=160.0)


def test_both_connectors_spellings_of_a_row_are_one_state() -> None:
    """Numbers, booleans and times come in other forms from each connector."""
    postgres = {"id": 1, "amount": "12.50", "vip": True, "placed_at": "2026-01-05T09:30:15.123456Z"}
    mariadb = {"id": 1, "amount": "12.5", "vip": 1, "placed_at": 1_767_605_415_123_456}
    assert not really_late([(_at(0.0), postgres)], [(_at(0.5), mariadb)], WINDOW_S, until=100.0)
    assert really_late([(_at(0.0), postgres), (_at(1.0), None)], [(_at(0.5), mariadb)], WINDOW_S, until=100.0)


@pytest.mark.parametrize(
    ("origin_left", "copy_left"),
    [
        pytest.param(Between(100.0, 106.0), Between(115.0, 115.2), id="the origin may have left only now"),
        pytest.param(Between(100.0, 100.2), Between(105.0, 115.0), id="the copy may have left long ago"),
        pytest.param(Between(100.0, float("inf")), Between(115.0, 115.2), id="the origin was not seen to leave"),
        pytest.param(Between(100.0, 100.2), Between(float("-inf"), float("inf")), id="the copy was never looked at"),
    ],
)
def test_what_is_unsure_of_a_commit_excuses_no_alarm(origin_left: Between, copy_left: Between) -> None:
    """A database that did not answer for a while makes the judge stricter with the product, not kinder."""
    origin: History = [(_at(0.0), _row(1)), (origin_left, _row(2))]
    copy: History = [(_at(0.1), _row(1)), (copy_left, _row(2))]
    assert not really_late(origin, copy, WINDOW_S, until=130.0)


def _watched(kind: Kind, *told: tuple[float, str]) -> CommitTimes:
    times = CommitTimes(Side(kind, "", 0, "", "", ""))
    times.looks += [Look(at, at + 0.1, shown_by(kind, text)) for at, text in told]
    return times


@pytest.mark.parametrize(
    ("transaction", "between"),
    [
        pytest.param(699, Between(float("-inf"), 1.1), id="before the first look"),
        pytest.param(700, Between(2.0, 3.1), id="open for two looks"),
        pytest.param(701, Between(1.0, 2.1), id="begun later, committed sooner"),
        pytest.param(705, Between(3.0, 9.0), id="after the last look"),
        pytest.param(None, Between(float("-inf"), 9.0), id="a row of a snapshot"),
    ],
)
def test_a_commit_lies_between_two_looks_at_postgres(transaction: int | None, between: Between) -> None:
    """A transaction shows once it is committed, not when it was begun; in Kafka it is only after that."""
    watched = _watched(Kind.POSTGRES, (1.0, "700:701:700"), (2.0, "700:702:700"), (3.0, "704:705:704"))
    assert watched.of(transaction, recorded_at=9.0) == between


def test_a_commit_lies_between_two_looks_at_mariadb() -> None:
    """The number of the last transaction in the log tells which are committed."""
    watched = _watched(Kind.MARIADB, (1.0, ""), (2.0, "0-101-7"), (3.0, "0-101-9"))
    assert watched.of(7, recorded_at=9.0) == Between(1.0, 2.1)
    assert watched.of(8, recorded_at=9.0) == watched.of(9, recorded_at=9.0) == Between(2.0, 3.1)
    assert watched.of(9, recorded_at=2.5) == Between(2.0, 2.5)


def test_the_transaction_of_a_change_is_read_from_its_source() -> None:
    """PostgreSQL names it by number, MariaDB by GTID, and rows of a snapshot have none."""
    assert transaction_of({"snapshot": "false", "txId": 781}) == 781
    assert transaction_of({"snapshot": "false", "gtid": "0-101-1234"}) == 1234
    assert transaction_of({"snapshot": "last", "txId": 780}) is None
    assert transaction_of({"snapshot": "true", "gtid": None}) is None


def test_the_same_damage_again_gets_a_drift_of_its_own() -> None:
    """A drift belongs to the newest damage of its row before it."""
    first, second = Planted("x", "orders", 1, "different", 10.0), Planted("x", "orders", 1, "different", 50.0)
    early, late = _story(1, 22.0, number=b"1"), _story(1, 63.0, number=b"2")
    found = judge([first, second], [early, late], lambda _: False).found
    assert [f.story for f in found] == [early, late]
    assert [f.detected_after for f in found] == [12.0, 13.0]


def test_a_drift_that_nobody_planted_is_a_false_alarm_unless_the_copy_was_late() -> None:
    """What was raised on a row without damage is judged by the judge's own reading."""
    raised = _story(7, 20.0)
    assert judge([], [raised], lambda _: False).false_alarms == [raised]
    assert judge([], [raised], lambda _: True).really_late == [raised]


def test_a_drift_before_its_damage_is_a_false_alarm() -> None:
    """Nothing can be detected before it was done."""
    planted = Planted("x", "orders", 1, "different", 30.0)
    opinion = judge([planted], [_story(1, 20.0)], lambda _: False)
    assert len(opinion.false_alarms) == 1
    assert opinion.found[0].story is None


def test_a_double_next_to_a_long_number_is_not_equal() -> None:
    """Numbers are compared exactly, not through a context that rounds."""
    assert plain(Decimal("12345678901234567890.123456789")) != plain(1.2345678901234567e19)
    assert plain(Decimal("12.50")) == plain(Decimal("12.5"))
    assert plain(True) == plain(1)
    assert plain(datetime(2026, 1, 5, tzinfo=UTC)) == plain(datetime(2026, 1, 5))  # noqa: DTZ001
