"""One aggregate by groups: what rows come to, what a replica in time may show, and where it ends."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from app.core.aggregate import Envelope, Tally
from app.core.aggregate_status import AggregateReason
from app.core.contract import (
    Aggregate,
    EntityContract,
    Field,
    FieldKind,
    FieldType,
    KeyField,
    Measure,
    StoreTable,
    Tolerated,
)
from app.core.contribution import ContributionReader, Share, Shares, group_texts
from app.core.finding import Verdict
from app.core.observation import Contributions, Link
from app.core.tolerance import Alarm, alarm_of
from app.core.types.canonical import Dialect
from tests.property.aggregate_world import CONTRACT, WINDOW_MS, AggregateWorld

SUM = Aggregate("revenue", Measure.SUM, "amount", by=("region",))


def _contract(aggregate: Aggregate, **types: FieldType) -> EntityContract:
    return EntityContract(
        entity="t",
        version=1,
        number=7,
        key=(KeyField("id", FieldType(FieldKind.INT32), {"A": "id"}),),
        fields=tuple(Field(name, type_, {"A": name}) for name, type_ in types.items()),
        authority="A",
        stores=(StoreTable("A", "t", "A.t"),),
        replicas=(),
        aggregates=(aggregate,),
    )


def _shares(contract: EntityContract, row: dict[str, object]) -> list[Share] | None:
    return Shares(contract).of(ContributionReader(contract, "A", Dialect.BINLOG_SQL).of(row))


def test_a_group_in_motion_may_lie_anywhere_that_rows_each_on_their_way_come_to() -> None:
    """Between all that was taken away since and all that was added since; at rest at one figure only."""
    tally = Tally(SUM)
    tally.change(None, Share(b"g", 100), 1)
    tally.change(Share(b"g", 100), Share(b"g", 70), 2)
    tally.change(None, Share(b"g", 5), 2)
    assert tally.envelope(b"g", 1, 2) == Envelope(70, 105)
    assert tally.envelope(b"g", 2, 2) == Envelope(75, 75)
    assert [tally.figure_at(b"g", cut) for cut in (0, 1, 2)] == [0, 100, 75]


def test_a_value_that_another_row_still_has_is_counted_once_and_may_be_missed() -> None:
    """A distinct count does not move with the first of two rows, but rows that follow may show it either way."""
    tally = Tally(Aggregate("buyers", Measure.DISTINCT, "buyer"))
    tally.change(None, Share(b"", 0, b"x"), 1)
    tally.change(None, Share(b"", 0, b"x"), 1)
    tally.change(Share(b"", 0, b"x"), None, 2)
    assert tally.figure_at(b"", 2) == 1
    assert tally.envelope(b"", 1, 2) == Envelope(0, 1)


@pytest.mark.parametrize(
    ("absolute", "percent", "figure", "excess"),
    [("0", "0", 101, 1), ("0.01", "0", 101, 0), ("0.01", "0", 98, 1), ("0", "1", 99, 0), ("0.5", "1", 50, 0)],
)
def test_the_larger_tolerance_counts_and_both_are_exact(absolute: str, percent: str, figure: int, excess: int) -> None:
    """Of a sum of 1.00 with two digits behind the point."""
    aggregate = replace(SUM, absolute=Decimal(absolute), percent=Decimal(percent))
    assert Envelope(100, 100).excess(figure, aggregate, 2) == excess


def test_sums_are_exact_however_large_and_small_their_numbers_are() -> None:
    """Thirty-eight digits and a hundredth are not lost to each other."""
    contract = _contract(replace(SUM, by=()), amount=FieldType(FieldKind.DECIMAL), region=FieldType(FieldKind.STRING))
    large = _shares(contract, {"amount": "1" + "0" * 37})
    small = _shares(contract, {"amount": "-0.01"})
    assert large is not None
    assert small is not None
    assert large[0].amount + small[0].amount == 10**37 * 10**38 - 10**36


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1" * 300, "0." + "1" * 40])
def test_what_cannot_be_summed_is_not_known(amount: str) -> None:
    """It is not left out, and not taken for zero."""
    contract = _contract(replace(SUM, by=()), amount=FieldType(FieldKind.DECIMAL))
    assert _shares(contract, {"amount": amount}) is None


def test_null_adds_nothing_and_is_a_group_of_its_own() -> None:
    """As SQL has it: a NULL is not summed, and rows without a region are one group."""
    contract = _contract(SUM, amount=FieldType(FieldKind.DECIMAL, scale=2), region=FieldType(FieldKind.STRING))
    share = (_shares(contract, {"amount": None, "region": None}) or [])[0]
    assert share.amount == 0
    assert group_texts(SUM, share.group) == {"region": None}
    other = (_shares(contract, {"amount": None, "region": ""}) or [])[0]
    assert other.group != share.group


def test_times_fall_into_windows_that_begin_at_whole_multiples() -> None:
    """Also before 1970; a date counts by its midnight."""
    hourly = Aggregate("n", Measure.COUNT, at="at", every_ms=3_600_000)
    contract = _contract(hourly, at=FieldType(FieldKind.INSTANT))
    groups = [
        (_shares(contract, {"at": text}) or [])[0].group
        for text in ("2026-01-01T10:00:00Z", "2026-01-01T10:59:59.999999Z", "2026-01-01T11:00:00Z")
    ]
    assert groups[0] == groups[1] != groups[2]
    before = (_shares(contract, {"at": "1969-12-31T23:30:00Z"}) or [])[0]
    assert group_texts(hourly, before.group) == {"at": "-3600000000"}


def test_a_group_too_many_makes_the_aggregate_unknown_and_nothing_else() -> None:
    """Memory is bounded by the contract, and what is not held is not called right."""
    first, *others = CONTRACT.aggregates
    contract = replace(CONTRACT, aggregates=(replace(first, entries_max=2), *others))
    world = AggregateWorld(1, contract)
    world.snapshot({number: (region, Decimal(1), 1) for number, region in enumerate(("a", "b", "c"))})
    world.rest(3 * WINDOW_MS)
    assert [(s.verdict, s.reason) for s in world.statuses()] == [
        (Verdict.UNKNOWN, AggregateReason.TOO_MANY),
        (Verdict.AGREE, None),
        (Verdict.AGREE, None),
    ]
    assert world.shard.books[7][0].tallies[0].groups == {}


def test_what_was_lost_on_the_way_leaves_the_store_uncovered_until_it_is_read_again() -> None:
    """Contributions that never came are no zero."""
    world = AggregateWorld(1)
    world.snapshot({1: ("a", Decimal(1), 1)})
    world.rest(3 * WINDOW_MS)
    end = len(world.kafka["R", 1])
    world.shard.fold(Contributions(7, 1, Link("R.t", 1, end + 5, end + 6), [], b"", b"", [], []), {})
    assert {(s.verdict, s.reason) for s in world.statuses()} == {(Verdict.UNKNOWN, AggregateReason.UNCOVERED)}


def test_before_a_snapshot_and_before_the_first_window_nothing_is_proven() -> None:
    """Silence is not agreement."""
    world = AggregateWorld(1)
    assert {s.reason for s in world.statuses()} == {AggregateReason.UNCOVERED}
    world.snapshot({1: ("a", Decimal(1), 1)})
    world.rest(1_200)
    assert {s.verdict for s in world.statuses()} == {Verdict.UNKNOWN}


def test_an_unreadable_row_makes_figures_unknown_until_it_is_read() -> None:
    """Neither a false drift meanwhile, nor one when the row is known again."""
    world = AggregateWorld(1)
    world.snapshot({1: ("a", Decimal(1), 1)})
    world.rest(3 * WINDOW_MS)
    for store in "AR":
        world.kafka[store, 1].append((0, b"1", _next_place(world, store), b"\x01"))
    world.rest(3 * WINDOW_MS)
    assert {(s.verdict, s.reason) for s in world.statuses()} == {(Verdict.UNKNOWN, AggregateReason.UNREADABLE)}
    for store in "AR":
        world.write(store, 1, ("a", Decimal(3), 1))
    world.rest(3 * WINDOW_MS)
    assert {s.verdict for s in world.statuses()} == {Verdict.AGREE}
    assert world.told == []


def _next_place(world: AggregateWorld, store: str) -> bytes:
    from app.core.position import binlog_place

    world.places[store] += 1
    return binlog_place(1, world.places[store], 0, is_delete=False)


@pytest.mark.parametrize(
    ("tolerated", "open_rows", "opened", "table_rows", "alarm"),
    [
        (None, 0, 0, None, None),
        (None, 1, 1, None, Alarm.NONE_TOLERATED),
        (Tolerated(open_rows=2), 2, 9, None, None),
        (Tolerated(open_rows=2), 3, 9, None, Alarm.OPEN_ROWS),
        (Tolerated(opened_per_hour=9), 1, 9, None, None),
        (Tolerated(opened_per_hour=9), 1, 10, None, Alarm.OPENED_PER_HOUR),
        (Tolerated(open_per_million=1_000), 1, 1, 1_000, None),
        (Tolerated(open_per_million=1_000), 2, 2, 1_999, Alarm.OPEN_PER_MILLION),
        (Tolerated(open_per_million=1_000), 1, 1, None, Alarm.TABLE_SIZE_UNKNOWN),
        (Tolerated(open_rows=9, open_per_million=1), 5, 5, 1_000_000, Alarm.OPEN_PER_MILLION),
    ],
)
def test_drift_is_tolerated_while_every_bound_holds_and_is_known(
    tolerated: Tolerated | None, open_rows: int, opened: int, table_rows: int | None, alarm: Alarm | None
) -> None:
    """At a bound it still is; what cannot be known is not tolerated."""
    assert alarm_of(tolerated, open_rows, opened, table_rows) is alarm
