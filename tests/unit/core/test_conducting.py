"""Which slice is read next, when it counts, and what is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.canonical_key import key_writer
from app.core.conducting import (
    COVER_PAUSE_MS,
    ROWS_PATIENCE_MS,
    SLICE_PATIENCE_MS,
    TRIES,
    Bound,
    Concluded,
    Desk,
    Done,
    Key,
    Look,
    Outcome,
    Terms,
    Walk,
)
from app.core.contract import EntityContract, FieldKind, FieldType, KeyField
from app.core.finding import DriftKind
from app.core.hours import daily_hours
from app.core.sampling import is_sampled
from app.core.status import Coverage, StatusReport
from tests.unit.core.story import contract

TERMS = Terms(1_000.0, 100, (), 3_600_000, 5_000)
NIGHT_MS = 2 * 3_600_000
PLACE = bytes(16) + b"\x05"
_TEXT = FieldType(FieldKind.STRING)


def table(entity: str = "t", *, priority: int = 0, kind: FieldType | None = None) -> EntityContract:
    """Return a contract of an entity over stores A (the authority) and R."""
    made = replace(contract(pipeline=False), entity=entity, priority=priority)
    return made if kind is None else replace(made, key=(KeyField("id", kind, dict.fromkeys("AR", "id")),))


def status(entity: str = "t", store: str = "R", **changed: object) -> StatusReport:
    """Return a worker's report of a covered table whose log is a second behind."""
    made = StatusReport(entity, store, store == "A", 0, Coverage.COVERED, 9_000, None, 10_000, 0)
    return replace(made, **changed)  # type: ignore[arg-type] # members by name


def desk(*contracts: EntityContract, store: str = "R", done: Done | None = None, terms: Terms = TERMS) -> Desk:
    """Return a desk whose tables are covered and past their sample."""
    made = Desk.of(store, contracts, terms, 1, 0)
    for each in contracts:
        made.resume([done or Done(each.entity, store, finished=1)])
        made.seen_status(status(each.entity, store))
    return made


def looked(of: Desk, now_ms: int = 0, wall_ms: int = NIGHT_MS) -> Look:
    """Return what is asked next; something is."""
    look = of.look(now_ms, wall_ms, {})
    assert look is not None
    return look


def read(of: Desk, end: tuple[str, ...], *, rows: int = 100, seen: int | None = None, now_ms: int = 0) -> Concluded:
    """Read the next slice, and return what became of it."""
    look = looked(of, now_ms)
    begun = of.begin(look, Bound(end, rows, 1.0), "driftline-slice-1", now_ms, NIGHT_MS)
    assert begun is not None
    of.seen_begin("driftline-slice-1", PLACE)
    for _ in range(rows if seen is None else seen):
        of.seen_row(look.part.contract.table_of(look.part.store).topic)
    of.seen_end("driftline-slice-1", now_ms)
    concluded = of.conclude(now_ms + ROWS_PATIENCE_MS + 1, NIGHT_MS)
    assert concluded is not None
    return concluded


def integer(number: int) -> bytes:
    """Return the canonical key of a number."""
    return key_writer(FieldType(FieldKind.INT64))(number)


def test_a_pass_goes_from_slice_to_slice_and_its_slices_touch_each_other() -> None:
    """Every canonical key is in one of them: below the first and above the last too."""
    made = desk(table())
    words = [read(made, end, now_ms=n * 60_000).word for n, end in enumerate([("100",), ("250",), ()])]
    assert words == [
        (b"", integer(101), PLACE),
        (integer(101), integer(251), PLACE),
        (integer(251), b"", PLACE),
    ]
    done = made.done["t"]
    assert (done.finished, done.whole_rows, done.whole_wall_ms, done.after) == (2, 300, NIGHT_MS, ())


def test_keys_of_a_collation_are_held_against_the_whole_pass() -> None:
    """Between which keys a key stands only the store knows: the last word is for all, from where the first began."""
    made = desk(table(kind=_TEXT))
    first, second = read(made, ("m",)), None
    made.done["t"] = replace(made.done["t"], begun=b"\x01" * 17)
    second = read(made, (), now_ms=60_000)
    assert (first.word, second.word) == (None, (b"", b"", b"\x01" * 17))


def test_a_pass_with_an_unproven_slice_says_nothing_of_collated_keys() -> None:
    """A key that was not shown may have been in the slice that was not read."""
    made = desk(table(kind=_TEXT), done=Done("t", "R", finished=1, unproven=1, after=("m",)))
    assert read(made, ()).word is None
    assert made.done["t"].whole_unproven == 1


@pytest.mark.parametrize(
    ("rows", "seen", "outcome"), [(100, 50, Outcome.WHOLE), (100, 49, Outcome.AGAIN), (0, 0, Outcome.WHOLE)]
)
def test_a_slice_counts_only_with_rows_of_it(rows: int, seen: int, outcome: Outcome) -> None:
    """A connector that may not read a table goes on to the signal's own row as if nothing were there."""
    concluded = read(desk(table()), (), rows=rows, seen=seen)
    assert concluded.outcome is outcome
    assert (concluded.word is not None) is (outcome is Outcome.WHOLE)


def test_a_slice_that_never_ends_is_begun_again_and_in_the_end_left_out() -> None:
    """The pass goes on without it, and says so."""
    made, outcomes = desk(table()), []
    now_ms = 0
    for _ in range(TRIES):
        made.begin(looked(made, now_ms), Bound(("100",), 100, 1.0), "driftline-slice-1", now_ms, NIGHT_MS)
        assert made.conclude(now_ms + SLICE_PATIENCE_MS, NIGHT_MS) is None
        now_ms += SLICE_PATIENCE_MS + 1
        concluded = made.conclude(now_ms, NIGHT_MS)
        assert concluded is not None
        outcomes.append(concluded.outcome)
    assert outcomes == [Outcome.AGAIN] * (TRIES - 1) + [Outcome.UNPROVEN]
    assert (made.done["t"].after, made.done["t"].unproven) == (("100",), 1)


def test_what_belongs_to_another_slice_is_not_counted() -> None:
    """A slice of before a restart may still be read, and rows of other tables are."""
    made = desk(table())
    made.begin(looked(made), Bound((), 2, 1.0), "driftline-slice-1", 0, NIGHT_MS)
    made.seen_begin("driftline-slice-0", PLACE)
    made.seen_end("driftline-slice-0", 0)
    made.seen_row("A.t")
    assert made.slice is not None
    assert (made.slice.begun, made.slice.ended_ms, made.slice.seen_rows) == (b"", None, 0)


def test_the_first_pass_reads_a_sample_only() -> None:
    """Slices that are not chosen are stepped over, without a word and without a cost."""
    made = desk(table(), done=Done("t", "R"))
    assert made.done_of(looked(made).part).walk is Walk.SAMPLE
    chosen = 0
    after: Key = ()
    for n in range(1, 200):
        begun = made.begin(looked(made, n * 60_000), Bound((str(n),), 1, 1.0), "driftline-slice-1", 0, NIGHT_MS)
        assert (begun is not None) is is_sampled(0, "".join(after).encode())
        after = (str(n),)
        if begun is not None:
            chosen += 1
            made.slice = None
            made.done["t"] = replace(made.done_of(begun.part), after=after)
    assert 3 < chosen < 30
    assert made.done["t"].unproven == 0


def test_tables_share_the_budget_by_priority_and_by_what_drifts() -> None:
    """One with three times the weight gets three times the rows; nobody starves."""
    made = desk(table("low"), table("high", priority=2))
    turns = [read(made, (str(n),), now_ms=n * 60_000).slice.part.contract.entity for n in range(40)]
    assert turns[0] == "high"
    assert abs(turns.count("high") - 30) <= 1
    made.seen_status(status("low", "R", open_drifts={DriftKind.STALE: 8}))
    turns = [read(made, (str(n),), now_ms=n * 60_000).slice.part.contract.entity for n in range(40, 80)]
    assert turns.count("low") > 25


def test_the_authority_is_read_behind_its_replicas() -> None:
    """What is read of it goes on through the pipeline, and would mend the replica before it is looked at."""
    made = desk(table(), store="A")
    assert made.look(0, NIGHT_MS, {("t", "A"): 1, ("t", "R"): 1}) is None
    assert made.look(0, NIGHT_MS, {("t", "A"): 1, ("t", "R"): 2}) is not None
    assert made.look(0, NIGHT_MS, {("t", "A"): 1}) is not None


@pytest.mark.parametrize(
    "report",
    [
        status(coverage=Coverage.SNAPSHOT),
        status(watermark_ms=None),
        status(partition=1),
    ],
)
def test_a_table_that_is_not_covered_is_not_read(report: StatusReport) -> None:
    """Nothing could be held against its log; nor is one of which a partition has not reported."""
    made = Desk.of("R", [table()], TERMS, 2 if report.partition else 1, 0)
    made.seen_status(report)
    assert made.look(0, NIGHT_MS, {}) is None


def test_a_lagging_log_holds_the_reading_back() -> None:
    """The share of the budget goes down with each look."""
    made = desk(table())
    made.seen_status(status(watermark_ms=1_000))
    read(made, ("1",))
    assert made.back_off.share == 0.5
    wait_ms = made.budget.waits_ms(0, made.back_off.share)
    assert made.look(wait_ms - 1, NIGHT_MS, {}) is None or wait_ms == 0


def test_one_slow_answer_of_a_store_costs_no_budget() -> None:
    """Two of three do."""
    made, shares = desk(table()), []
    for n, answered_ms in enumerate((1.0, 900.0, 1.0, 900.0)):
        made.begin(looked(made, n * 60_000), Bound((str(n),), 1, answered_ms), "s", n * 60_000, NIGHT_MS)
        made.slice = None
        shares.append(made.back_off.share)
    assert shares == [1.0, 1.0, 1.0, 0.5]


def test_the_time_that_a_slice_takes_to_be_read_is_no_time_lost() -> None:
    """A thousand rows at five hundred a second may take two seconds, and the next thousand follow at once."""
    made = desk(table(), terms=replace(TERMS, rows_per_second=500.0, slice_rows=1_000))
    now_ms = 0
    for number in range(30):
        while made.look(now_ms, NIGHT_MS, {}) is None:
            now_ms += 50
        made.begin(looked(made, now_ms), Bound((str(number),), 1_000, 1.0), "s", now_ms, NIGHT_MS)
        now_ms += 1_900
        made.seen_begin("s", PLACE)
        for _ in range(1_000):
            made.seen_row(table().table_of("R").topic)
        made.seen_end("s", now_ms)
        assert made.conclude(now_ms, NIGHT_MS) is not None
    assert 30_000 / (now_ms / 1_000) == pytest.approx(500, rel=0.05)


def test_outside_its_hours_and_within_its_interval_nothing_is_begun() -> None:
    """A table that was read whole rests; one in the middle of a pass does not."""
    night = replace(TERMS, hours=(daily_hours("01:00-03:00"),))
    assert desk(table(), terms=night).look(0, 12 * 3_600_000, {}) is None
    assert desk(table(), terms=night).look(0, NIGHT_MS, {}) is not None
    rested = Done("t", "R", finished=2, finished_wall_ms=NIGHT_MS - 1)
    assert desk(table(), done=rested).look(0, NIGHT_MS, {}) is None
    assert desk(table(), done=replace(rested, after=("5",))).look(0, NIGHT_MS, {}) is not None
    assert desk(table(), done=rested).look(0, NIGHT_MS + 3_600_000, {}) is not None


def test_keys_that_no_condition_can_name_are_left_alone() -> None:
    """A decimal key has no form that every store compares alike."""
    assert desk(table(kind=FieldType(FieldKind.DECIMAL))).look(0, NIGHT_MS, {}) is None


def test_gaps_are_counted_to_the_table_that_they_were_found_in() -> None:
    """All of them, since the sample began: a bound that is stated from them is not too low."""
    made = desk(table())
    assert [made.seen_gap(entity) for entity in ("t", "unknown")] == [True, False]
    assert made.done["t"].gaps == 1


def test_what_is_asked_for_is_read_by_a_pass_that_begins_afterwards() -> None:
    """Without a rest; one that was under way when it was asked for does not count."""
    rested = Done("t", "R", finished=2, finished_wall_ms=NIGHT_MS - 1, whole_begun_wall_ms=NIGHT_MS - 9)
    made = desk(table(), done=rested)
    made.ask("others", NIGHT_MS)
    assert made.look(0, NIGHT_MS, {}) is None
    made.ask("t", NIGHT_MS - 9)
    assert made.look(0, NIGHT_MS, {}) is not None
    under_way = replace(rested, after=("5",), begun_wall_ms=NIGHT_MS - 2, whole_begun_wall_ms=NIGHT_MS - 9)
    made = desk(table(), done=under_way)
    made.ask("t", NIGHT_MS - 1)
    for _ in range(2):
        assert made.begin(looked(made), Bound((), 10, 1.0), "s", 0, NIGHT_MS) is not None
        made.seen_begin("s", PLACE)
        for _ in range(10):
            made.seen_row(table().table_of("R").topic)
        made.seen_end("s", 0)
        assert made.conclude(0, NIGHT_MS) is not None
    assert made.done["t"].whole_begun_wall_ms == NIGHT_MS
    assert made.look(0, NIGHT_MS, {}) is None


def _without_snapshots(watermark_ms: int | None = 9_000) -> Desk:
    """Return the desk of a store that has no snapshots, which was told that its table is not covered yet."""
    made = table()
    stores = tuple(replace(each, has_snapshot=each.store != "R") for each in made.stores)
    made = replace(made, stores=stores)
    of = Desk.of("R", [made], TERMS, 1, 0)
    of.seen_status(status(coverage=Coverage.UNCOVERED, watermark_ms=watermark_ms))
    return of


def test_a_table_without_a_snapshot_is_read_whole_before_it_is_covered() -> None:
    """There is no sample before it, and its last word alone says that it was read, from its beginning on."""
    made = _without_snapshots()
    words = [read(made, end, now_ms=n * 60_000).word for n, end in enumerate([("100",), ()])]
    assert words == [None, (b"", b"", PLACE)]
    assert made.done["t"].whole_rows == 200


def test_it_is_not_read_before_its_stream_is() -> None:
    """A pass that begins before the first beacon that is read would count for nothing."""
    made = _without_snapshots(watermark_ms=None)
    assert made.look(0, NIGHT_MS, {}) is None


def test_another_pass_waits_until_the_last_one_could_have_covered_it() -> None:
    """Coverage shows some seconds behind the word; where it does not come, all is read again."""
    made = _without_snapshots()
    read(made, ())
    assert made.look(60_000, NIGHT_MS + COVER_PAUSE_MS - 1, {}) is None
    assert made.look(60_000, NIGHT_MS + COVER_PAUSE_MS, {}) is not None


def test_a_pass_in_which_coverage_ends_begins_anew() -> None:
    """What it has read stands before a gap in the log."""
    made = _without_snapshots()
    made.seen_status(status())
    made.resume([Done("t", "R", finished=2, after=("100",), begun=PLACE, slices=1)])
    begun = made.begin(looked(made), Bound(("200",), 100, 1.0), "driftline-slice-1", 0, NIGHT_MS)
    assert begun is not None
    made.seen_status(status(coverage=Coverage.UNCOVERED))
    assert (made.slice, made.done["t"].after, made.done["t"].begun) == (None, (), b"")
    assert looked(made, 60_000).after == ()
