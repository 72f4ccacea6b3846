"""Aggregates and tolerated drift in a contract: what they mean, and their mistakes with line and hint."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from app.codec.contract_file import read_contract
from app.core.contract import Aggregate, Measure, Tolerated
from tests.unit.test_contract_file import GOOD, STORES, faults_of

MORE = """\
aggregates:
  revenue:
    sum: amount
    at: placed_at
    every_ms: 3600000
    tolerance: {absolute: "0.01", percent: "0.1"}
    entries_max: 500
  orders: {count: true}
  days: {distinct: placed_at, by: [id]}
tolerate: {open_rows: 5, open_per_million: 20, opened_per_hour: 100}
"""
FIRST = GOOD.count("\n") + 1  # the line of `aggregates:`


def test_aggregates_and_tolerated_drift_are_read() -> None:
    """With exact numbers, and bounds where none are given."""
    contract = read_contract("orders.yaml", GOOD + MORE, STORES)
    assert contract.aggregates == (
        Aggregate(
            "revenue",
            Measure.SUM,
            "amount",
            at="placed_at",
            every_ms=3_600_000,
            absolute=Decimal("0.01"),
            percent=Decimal("0.1"),
            entries_max=500,
        ),
        Aggregate("orders", Measure.COUNT),
        Aggregate("days", Measure.DISTINCT, "placed_at", by=("id",)),
    )
    assert contract.tolerated == Tolerated(5, 20, 100)


def test_a_contract_without_them_has_none() -> None:
    """Nothing is figured out and nothing tolerated that was not asked for."""
    contract = read_contract("orders.yaml", GOOD, STORES)
    assert (contract.aggregates, contract.tolerated) == ((), None)


MISTAKES = [
    ("orders: {count: true}", "orders: {}", 7, "is not one of count, sum and distinct", "write count: true"),
    ("{count: true}", "{count: true, sum: amount}", 7, "is not one of count, sum and distinct", "write count: true"),
    ("sum: amount", "sum: amuont", 2, '"amuont" is no field', 'did you mean "amount"?'),
    ("sum: amount", "sum: placed_at", 2, "of type instant cannot be summed", "sum integers or decimals"),
    ("distinct: placed_at", "distinct: note", 8, 'may leave "note" out', "not large"),
    ("by: [id]", "by: [ids]", 8, '"ids" is no field', 'did you mean "id"?'),
    ("at: placed_at", "at: amount", 3, "of type decimal cannot be cut into windows", "name an instant"),
    ("    at: placed_at\n", "", 3, "windows need both at", "add the other one"),
    ("    every_ms: 3600000\n", "", 3, "windows need both at", "add the other one"),
    ("every_ms: 3600000", "every_ms: 1h", 4, "expected int", "milliseconds of such a window"),
    ('absolute: "0.01"', "absolute: 0.01", 5, "expected str", "a number in quotes"),
    ('absolute: "0.01"', 'absolute: "-1"', 5, "has not the right form", "a number in quotes"),
    ('percent: "0.1"', 'percent: "101"', 5, "more than 100 per cent", "write less"),
    ("orders: {count", "Orders: {count", 7, '"Orders" cannot name an aggregate', "lower-case letters"),
    ("entries_max: 500", "entries_max: 0", 6, "expected int >= 1", "groups"),
    (
        "tolerate: {open_rows: 5, open_per_million: 20, opened_per_hour: 100}",
        "tolerate: {}",
        9,
        "no bound",
        "open_rows",
    ),
    ("open_rows: 5", "open_rows: -1", 9, "expected int >= 0", "drifts that may be open"),
    ("open_rows: 5", "rows: 5", 9, 'unknown key "rows"', "open_rows"),
]


@pytest.mark.parametrize(("right", "wrong", "line", "what", "hint"), MISTAKES, ids=[m[1].strip() for m in MISTAKES])
def test_a_mistake_in_them_is_told_with_line_and_what_to_do(
    right: str, wrong: str, line: int, what: str, hint: str
) -> None:
    """One mistake planted in a good contract is found where it stands."""
    text = GOOD + MORE
    assert text.count(right) == 1
    found = faults_of(text.replace(right, wrong))
    matching = [fault for fault in found if what in fault and hint in fault]
    assert matching, found
    assert re.match(rf"orders\.yaml:{FIRST + line}:\d+: ", matching[0]), found
