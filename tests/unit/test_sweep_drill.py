"""The sweep drill must itself be right: what it damages, what it calls found, and how it weighs the sweep."""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import pytest
from engine_judge.topics import Record
from sweep_drill.damages import STORES, damages_of, is_the_applications, key_of
from sweep_drill.drill import FULL, QUICK, add_arguments, size_of
from sweep_drill.pairs import Interval, intervals_of, pairs_of, read_per_second
from sweep_judge.judge import Rate, finding_faults, latency_faults, rate_faults
from sweep_judge.latency import Pair, Ratio, ratio_of
from sweep_judge.rereads import Rereads
from sweep_judge.tables import differing
from sweep_judge.told import Told, ToldRows

ROWS = 10_000
SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "finding.avsc"
SEEDS = pytest.mark.parametrize("seed", [1, 2, 3, 4711])


@SEEDS
def test_half_of_fifty_damages_is_in_each_store_and_every_kind_is_in_both(seed: int) -> None:
    """At both ends of the table and beyond them too; no row twice, and none that the application writes."""
    damages = damages_of(seed, ROWS, 50)
    keys = {each.key for each in damages}
    assert len(keys) == 50
    assert Counter(each.store for each in damages) == dict.fromkeys(STORES, 25)
    for store in STORES:
        kinds = Counter(each.what for each in damages if each.store == store)
        assert set(kinds) == {"changed", "deleted", "inserted"}
        assert min(kinds.values()) >= 5
    assert {key_of(1), key_of(ROWS)} < keys
    assert min(keys) < key_of(1) < key_of(ROWS) < max(keys)
    assert not [key for key in keys if key % 2 == 0 and is_the_applications(key // 2)]
    assert all(f" {each.key}" in each.statement("t", ROWS) for each in damages)


@SEEDS
def test_what_a_damage_is_seen_as_depends_on_whose_row_it_is(seed: int) -> None:
    """A row that the authority lost is one too many in the replica."""
    seen = {(each.store, each.what): each.seen_as for each in damages_of(seed, ROWS, 50)}
    assert (seen["pg", "deleted"], seen["my", "deleted"]) == ("extra", "missing")
    assert (seen["pg", "inserted"], seen["my", "inserted"]) == ("missing", "extra")
    assert (seen["pg", "changed"], seen["my", "changed"]) == ("stale", "different")


def test_an_option_outweighs_what_is_quick() -> None:
    """Everything else is as quick has it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert size_of(parser.parse_args([])) == FULL
    assert size_of(parser.parse_args(["--quick", "--pairs", "9"])) == replace(QUICK, pairs=9)


def test_tables_differ_in_rows_that_one_lacks_and_in_rows_that_are_not_alike() -> None:
    """At the beginning, in the middle and at the end."""
    left = [(1, "a"), (2, "b"), (4, "d"), (5, "e")]
    right = [(0, "z"), (2, "b"), (3, "c"), (4, "other"), (5, "e"), (6, "f")]
    assert differing(iter(left), iter(right)) == {0, 1, 3, 4, 6}
    assert differing(iter(right), iter(left)) == {0, 1, 3, 4, 6}
    assert differing(iter(left), iter(left)) == set()


def read(key: int, at_s: float, *, mark: bytes = b'"op":"r","snapshot":"incremental"') -> Record:
    """Return the record of a row that was read again, or of what `mark` says."""
    return Record(0, 0, json.dumps({"id": key}).encode(), b"{" + mark + b"}", at_s)


def test_passes_are_told_apart_and_counted() -> None:
    """A sample, and one over all: rows that changed meanwhile are shown too; a first snapshot is none of it."""
    rereads = Rereads()
    rereads.take([read(key, 0.0, mark=b'"op":"r","snapshot":"true"') for key in range(100)])
    rereads.take(read(key, key / 10) for key in range(0, 100, 20))
    rereads.take(read(key, 20 + key / 10) for key in range(100) if key != 7)
    rereads.take([read(7, 25.0, mark=b'"op":"u"'), read(8, 40.0, mark=b'"op":"u"')])
    sample, whole = rereads.passes(0, 99)
    assert (sample.shown, sample.reads) == (5, 5)
    assert (whole.shown, whole.reads) == (100, 99)
    assert whole.rows_per_s == pytest.approx(10)
    assert rereads.within(20, 21) == 9


def test_a_row_that_neither_a_read_nor_a_change_showed_leaves_its_pass_short() -> None:
    """What changed before the pass began does not count for it."""
    rereads = Rereads()
    rereads.take([read(3, 1.0, mark=b'"op":"u"'), *(read(key, 2.0 + key) for key in range(10) if key != 3)])
    assert [each.shown for each in rereads.passes(0, 9)] == [9]


def blank(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Return an empty value of an Avro type."""
    if isinstance(schema, dict) and schema["type"] == "record":
        return {each["name"]: blank(each["type"]) for each in schema["fields"]}
    if isinstance(schema, dict):
        return []
    return {"string": "", "bytes": b"", "int": 0, "long": 0}.get(schema) if isinstance(schema, str) else None


def finding(**changed: object) -> bytes:
    """Return a record of the topic of drifts that cites one record; what is not named is empty."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    body = blank(schema) | changed
    stays = next(each for each in schema["fields"] if each["name"] == "evidence")["type"]["fields"][0]["type"]["items"]
    cited = {"topic": "my.t", "partition": 2, "offset": 5}
    body["evidence"]["replica_stays"] = [blank(stays) | cited, blank(stays)]
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(schema), body)
    return bytes(5) + written.getvalue()


def test_the_row_that_a_drift_is_about_is_the_one_that_it_cites() -> None:
    """Its own word for the key is sealed, and not asked."""
    keys = {("my.t", 2, 5): 17}
    rows = ToldRows(SCHEMA, lambda *at: keys.get(at))
    [told] = rows.read([Record(0, 0, None, finding(stage="noted", kind="capture_gap", replica="my"))])
    assert told == Told("noted", "capture_gap", "my", 17)


PLANTED = {("pg", 4): "stale", ("my", 7): "extra"}
TOLD = [
    Told("noted", "capture_gap", "pg", 4),
    Told("noted", "capture_gap", "my", 7),
    Told("confirmed", "stale", "my", 4),
    Told("confirmed", "extra", "my", 7),
]


def test_all_that_was_planted_and_nothing_else_is_no_fault() -> None:
    """Records that were sent again say nothing new."""
    assert finding_faults(PLANTED, {4, 7}, [*TOLD, *TOLD]) == []


@pytest.mark.parametrize(
    ("unlike", "told", "fault"),
    [
        ({4, 7}, TOLD[1:], "missed: pg 4"),
        ({4, 7}, [*TOLD, Told("noted", "capture_gap", "my", 4)], "a gap that was not planted: my 4"),
        ({4, 7}, TOLD[:3], "no drift: extra 7"),
        ({4, 7}, [*TOLD, Told("confirmed", "missing", "my", 9)], "a drift that was not planted: missing 9"),
        ({4, 7}, [*TOLD, Told("noted", "capture_gap", "my", None)], "a gap that was not planted: my None"),
        ({4}, TOLD, "the tables do not differ as planted: 7"),
    ],
)
def test_whatever_differs_from_what_was_planted_is_a_fault(unlike: set[int], told: list[Told], fault: str) -> None:
    """Each by its own name, and nothing but it."""
    assert finding_faults(PLANTED, unlike, told) == [fault]


@pytest.mark.parametrize(("rows_per_s", "is_kept"), [(449, False), (451, True), (549, True), (551, False)])
def test_a_budget_is_kept_within_a_tenth(rows_per_s: float, is_kept: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Reading too slowly is a fault like reading too fast."""
    assert (rate_faults("here", {"my": Rate(rows_per_s, 500)}) == []) is is_kept


def test_a_tenth_slower_is_a_fault() -> None:
    """By the median ratio; its interval is stated."""
    assert latency_faults({"my": Ratio(1.099, 1.0, 1.2)}) == []
    assert latency_faults({"my": Ratio(1.1, 1.0, 1.2)}) != []


def test_the_ratio_is_the_median_of_the_pairs_and_its_interval_holds_them_by_a_seed() -> None:
    """One pair in which the machine was busy moves it little."""
    pairs = [Pair(1.0, 1.0 + n / 100) for n in range(11)]
    ratio = ratio_of([*pairs, Pair(1.0, 9.0)], 1)
    assert ratio.middle == pytest.approx(1.055)
    assert 1.0 <= ratio.low < ratio.middle < ratio.high <= 1.1
    assert ratio_of([*pairs, Pair(1.0, 9.0)], 1) == ratio


class Switched:
    """Notes how it was turned."""

    def __init__(self) -> None:
        self.turns: list[bool] = []

    def turn(self, *, on: bool) -> None:
        """Note it."""
        self.turns.append(on)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on when somebody sleeps."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("sweep_drill.pairs.time.sleep", sleep)
    monkeypatch.setattr("sweep_drill.pairs.wall_clock", lambda: now[0])
    return now


@SEEDS
@pytest.mark.usefixtures("clock")
def test_every_pair_has_both_and_ends_with_the_sweep_off(seed: int) -> None:
    """It is turned only where it must be, and no two intervals overlap."""
    sweep = Switched()
    gone = intervals_of(sweep, 12, 10.0, seed)
    assert all((without.is_on, with_it.is_on) == (False, True) for without, with_it in gone)
    in_order = sorted((each for pair in gone for each in pair), key=lambda each: each.begun_s)
    assert all(one.ended_s <= other.begun_s for one, other in pairwise(in_order))
    assert len({without.begun_s < with_it.begun_s for without, with_it in gone}) == 2
    assert sweep.turns[-1] is False
    assert all(one is not other for one, other in pairwise(sweep.turns))


class Timed:
    """Transactions that take as many milliseconds as their second."""

    def within(self, begun_s: float, ended_s: float) -> list[float]:
        """Return them."""
        return [float(at) for at in range(int(begun_s), int(ended_s))]


def test_pairs_hold_the_medians_of_their_intervals() -> None:
    """And rates are over all seconds of an interval's kind."""
    without, with_it = Interval(False, 0, 11), Interval(True, 20, 31)
    assert pairs_of([(without, with_it)], Timed()) == [Pair(5.0, 25.0)]
    assert read_per_second([without, with_it], {without: 0, with_it: 110}) == 5
