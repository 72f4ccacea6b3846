"""The canary: what it plants, what it takes for told, missed and false, and what a crash leaves behind."""

from __future__ import annotations

import pytest

from app.core.canary import KINDS, Deed, Ended, Ending, FalseAlarm, Judged, Result, ToldLate
from app.core.canary_proof import Doubt, Proof, Why
from app.core.canary_tally import Tally
from app.core.errors import ContractViolation
from app.core.finding import DriftKind, Stage, UnknownReason
from app.core.limits import CANARY_ROWS_KEPT
from app.core.status import OLD_REPORT_MS, Coverage, StatusReport
from tests.unit.core.canary_world import INTERVAL_MS, PATIENCE_MS, WINDOW_MS, CanaryWorld


def results(world: CanaryWorld) -> list[Result | Ending | type[object]]:
    """Return what came of everything, in short."""
    return [
        each.result if isinstance(each, Judged) else each.ending if isinstance(each, Ended) else type(each)
        for each in world.news
    ]


def test_every_kind_is_planted_in_turn_in_every_replica_and_mended() -> None:
    """Each stands as what it is called; told and mended, the stores are equal again before the next."""
    world = CanaryWorld(("A", "R", "S"))
    seen = []
    for _ in range(2 * len(KINDS)):
        row, store, kind = world.plant()
        seen.append((store, kind))
        world.tell(row, store, kind)
        assert world.step() is Deed.MEND
        assert world.stores["A"] == world.stores["R"] == world.stores["S"]
        world.tell(row, store, kind, Stage.RESOLVED)
        assert world.step() is Deed.PREPARE
        assert world.stores["A"] == world.stores["R"] == world.stores["S"]
        assert len(world.stores["A"]) == 1
    assert seen == [(store, kind) for store in "RS" for kind in KINDS]
    assert results(world) == [Result.DETECTED, Ending.RESOLVED] * 8


def test_the_latency_counts_from_the_end_of_the_window() -> None:
    """A drift that is told a quarter of a second after its window was told in a quarter of a second."""
    world = CanaryWorld()
    row, store, kind = world.plant()
    assert world.step(WINDOW_MS + 250) is None
    world.tell(row, store, kind)
    assert world.news == [Judged("R", kind, Result.DETECTED, None, 250, f"{row}/{store}".encode())]


def test_a_drift_by_another_name_is_misnamed() -> None:
    """It was told, but not as what it is."""
    world = CanaryWorld()
    row, store, _ = world.plant()
    world.tell(row, store, DriftKind.MISSING)
    assert results(world) == [Result.MISNAMED]


def test_a_system_that_is_blind_misses_everything() -> None:
    """It says that all is proven and tells nothing: each planting is a miss, and is mended."""
    world = CanaryWorld()
    for _ in KINDS:
        world.plant()
        assert world.step(WINDOW_MS + PATIENCE_MS) is None
        assert world.step(1) is Deed.MEND
        assert world.stores["A"] == world.stores["R"]
    assert results(world) == [Result.MISSED] * 4


@pytest.mark.parametrize("when_ms", [0, WINDOW_MS])
def test_what_the_system_cannot_know_is_no_miss(when_ms: int) -> None:
    """One word of doubt at any time between planting and patience is enough."""
    world = CanaryWorld()
    world.plant()
    world.doubt = UnknownReason.STALLED
    world.step(when_ms)
    world.doubt = None
    world.step(WINDOW_MS + PATIENCE_MS + 1)
    assert world.news == [Judged("R", DriftKind.DIFFERENT, Result.INCONCLUSIVE, UnknownReason.STALLED)]


def test_a_doubt_of_before_forgives_nothing() -> None:
    """What was unknown before the planting says nothing of it."""
    world = CanaryWorld()
    world.step()
    world.doubt = UnknownReason.STALLED
    assert world.step(INTERVAL_MS) is None
    world.doubt = None
    assert world.step(1) is Deed.PLANT
    world.step(WINDOW_MS + PATIENCE_MS + 1)
    assert results(world) == [Result.MISSED]


def test_nothing_is_planted_while_the_system_cannot_know() -> None:
    """It would prove nothing."""
    world = CanaryWorld()
    world.doubt = Doubt.SILENT
    assert world.step() is Deed.PREPARE
    assert [world.step(INTERVAL_MS) for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("kind", [DriftKind.DIFFERENT, DriftKind.CAPTURE_GAP])
def test_what_was_not_planted_is_a_false_alarm_and_is_counted_once(kind: DriftKind) -> None:
    """A row at rest that is told, and a key that cannot be read; a record that comes twice is one."""
    world = CanaryWorld()
    world.step()
    stage = Stage.NOTED if kind is DriftKind.CAPTURE_GAP else Stage.CONFIRMED
    for _ in range(2):
        world.tell(world.highest, "R", kind, stage)
        world.tell(None, "R", kind, stage)
    assert world.news == [FalseAlarm("R", kind, b"1/R"), FalseAlarm("R", kind, b"None/R")]


def test_the_planted_row_told_of_another_replica_or_a_second_time_is_a_false_alarm() -> None:
    """Only the drift that was planted was planted."""
    world = CanaryWorld(("A", "R", "S"))
    row, store, kind = world.plant()
    world.tell(row, "S", kind)
    world.tell(row, store, kind)
    world.tell(row, store, kind)
    world.tell(row, store, kind, name="again")
    assert results(world) == [FalseAlarm, Result.DETECTED, FalseAlarm]


def test_a_drift_that_is_told_after_it_was_given_up_is_no_false_alarm() -> None:
    """It was missed all the same."""
    world = CanaryWorld()
    row, store, kind = world.plant()
    world.step(WINDOW_MS + PATIENCE_MS + 1)
    world.plant()
    world.tell(row, store, kind)
    assert results(world) == [Result.MISSED, ToldLate]


def test_a_drift_that_is_not_told_to_be_over_is_unresolved() -> None:
    """Unless the system could not know."""
    world = CanaryWorld()
    for doubt in (None, UnknownReason.LAG):
        row, store, kind = world.plant()
        world.doubt = UnknownReason.HOT
        world.step()
        world.doubt = None
        world.tell(row, store, kind)
        world.tell(row, store, kind, Stage.RESOLVED)  # before it was mended: that is not true
        assert world.step() is Deed.MEND
        world.doubt = doubt
        assert world.step(PATIENCE_MS) is None
        world.doubt = None
        assert world.step(1) is Deed.PREPARE
    assert results(world) == [Result.DETECTED, Ending.UNRESOLVED, Result.DETECTED, Ending.INCONCLUSIVE]


@pytest.mark.parametrize("turn", range(len(KINDS)))
@pytest.mark.parametrize("mends", [False, True])
@pytest.mark.parametrize("tells_early", [False, True])
def test_a_crash_leaves_nothing_strange(turn: int, *, mends: bool, tells_early: bool) -> None:
    """Killed between planting and mending, or after: the next life puts the rows right, and accuses nobody of them."""
    world = CanaryWorld()
    for _ in range(turn):
        world.plant()
        world.step(WINDOW_MS + PATIENCE_MS + 1)
    row, store, kind = world.plant()
    if mends:
        world.step(WINDOW_MS + PATIENCE_MS + 1)
    world.born()
    if tells_early:
        world.tell(row, store, kind)
    assert world.step() is Deed.PREPARE
    assert world.stores["A"] == world.stores["R"]
    assert min(world.stores["A"]) > row
    if not tells_early:
        world.tell(row, store, kind)
    assert world.news == []
    row, store, kind = world.plant()
    world.tell(row, store, kind)
    assert results(world) == [Result.DETECTED]


@pytest.mark.parametrize("changes_max", [0, 1, 2])
def test_a_store_that_takes_no_writes_makes_nobody_wrong(changes_max: int) -> None:
    """A row that was written in one store only may be told, now or later, and proves nothing; nor is it used again."""
    world = CanaryWorld()
    assert world.step(changes_max=changes_max) is Deed.PREPARE
    world.tell(1, "R", DriftKind.MISSING)
    assert world.step() is Deed.PREPARE
    assert world.stores["A"] == world.stores["R"]
    world.tell(1, "R", DriftKind.MISSING, name="later")
    row, store, kind = world.plant()
    assert world.news == []
    world.tell(row, store, kind)
    assert world.step(changes_max=1) is Deed.MEND
    assert world.news[1:] == [Ended(store, kind, Ending.INCONCLUSIVE, Doubt.UNWRITTEN, f"{row}/{store}".encode())]


def test_a_next_row_that_is_written_in_part_is_passed_over_too() -> None:
    """Not only at the start of a life."""
    world = CanaryWorld()
    row, store, kind = world.plant()
    world.tell(row, store, kind)
    assert world.step() is Deed.MEND
    world.tell(row, store, kind, Stage.RESOLVED)
    assert world.step(changes_max=1) is Deed.PREPARE
    world.tell(row + 1, "R", DriftKind.MISSING)
    assert world.step() is Deed.PREPARE
    assert results(world) == [Result.DETECTED, Ending.RESOLVED]


def test_a_planting_that_a_store_did_not_take_is_inconclusive() -> None:
    """Whether it stands nobody knows; all begins again with a new row."""
    world = CanaryWorld()
    world.step()
    assert world.step(INTERVAL_MS, changes_max=0) is Deed.PLANT
    assert world.news == [Judged("R", DriftKind.DIFFERENT, Result.INCONCLUSIVE, Doubt.UNWRITTEN)]
    assert world.step() is Deed.PREPARE


def test_writing_more_slowly_than_the_window_is_the_canarys_fault() -> None:
    """Rows that reach the replica after the window are drifts by the contract, and no false alarm."""
    world = CanaryWorld()
    assert world.step(doing_ms=WINDOW_MS + 1) is Deed.PREPARE
    assert world.step(doing_ms=WINDOW_MS) is Deed.PREPARE
    world.tell(1, "R", DriftKind.MISSING)
    assert world.news == []
    assert world.step(INTERVAL_MS) is Deed.PLANT


def test_of_two_canaries_the_older_one_ends() -> None:
    """It meets rows that it has not written; the younger one goes on."""
    world = CanaryWorld()
    world.plant()
    older, world_rows = world.canary, world.stores
    world.born()
    assert world.step() is Deed.PREPARE
    assert world.stores is world_rows
    with pytest.raises(ContractViolation, match="run one canary"):
        older.begin(Deed.MEND, world.highest, world.now_ms)
    assert world.step(INTERVAL_MS) is Deed.PLANT


def test_what_is_given_up_is_mended_and_not_judged() -> None:
    """As when the process is told to end."""
    world = CanaryWorld()
    world.plant()
    world.canary.give_up()
    assert world.step() is Deed.MEND
    assert world.stores["A"] == world.stores["R"]
    assert world.news == []


def test_plantings_are_forgotten_one_day_and_then_are_an_earlier_lifes() -> None:
    """What is told of the first after a thousand others is late beyond memory, and accuses nobody."""
    world = CanaryWorld()
    first = world.plant()
    for _ in range(CANARY_ROWS_KEPT):
        world.step(WINDOW_MS + PATIENCE_MS + 1)
        newest = world.plant()
    world.step(WINDOW_MS + PATIENCE_MS + 1)
    world.tell(*first)
    world.tell(*newest)
    assert results(world) == [Result.MISSED] * (CANARY_ROWS_KEPT + 1) + [ToldLate]


REPORT = StatusReport("driftline_canary", "R", False, 0, Coverage.COVERED, 9, 9, 9, 0)
AUTHORITY = StatusReport("driftline_canary", "A", True, 0, Coverage.COVERED, 9, None, 9, 0)


@pytest.mark.parametrize(
    ("report", "doubt"),
    [
        (REPORT, None),
        (StatusReport("e", "R", False, 0, Coverage.SNAPSHOT, 9, 9, 9, 0), UnknownReason.UNCOVERED),
        (StatusReport("e", "R", False, 0, Coverage.COVERED, 9, None, 9, 0), UnknownReason.UNCOVERED),
        (
            StatusReport("e", "R", False, 0, Coverage.COVERED, 9, 9, 9, 0, unknown_keys={UnknownReason.LAG: 1}),
            UnknownReason.LAG,
        ),
        (StatusReport("e", "R", False, 0, Coverage.COVERED, 9, 9, 9, 0, unknown_keys={UnknownReason.LAG: 0}), None),
        (StatusReport("e", "R", False, 1, Coverage.COVERED, 9, 9, 9, 0), Doubt.SILENT),
    ],
)
def test_the_system_can_know_where_every_partition_says_so(report: StatusReport, doubt: Why | None) -> None:
    """Covered, proven and nothing unknown, in every store; of another partition it says nothing."""
    proof = Proof(["A", "R"], 1)
    assert proof.doubt(0) is Doubt.SILENT
    proof.reported(AUTHORITY, 0)
    proof.reported(report, 0)
    assert proof.doubt(0) is doubt


def test_a_partition_that_nobody_reports_any_more_is_not_known() -> None:
    """A worker that is gone says nothing, and nothing is no proof."""
    proof = Proof(["A", "R"], 1)
    for at_ms in (0, 20_000):
        proof.reported(AUTHORITY, at_ms)
        proof.reported(REPORT, at_ms)
    assert proof.doubt(20_000 + OLD_REPORT_MS) is None
    assert proof.doubt(20_001 + OLD_REPORT_MS) is Doubt.SILENT


def test_the_tally_tells_wrong_from_inconclusive_and_right() -> None:
    """What was detected and resolved is right; of the rest one is enough."""
    tally = Tally()
    for latency_ms in (700, 300):
        tally.take(Judged("R", DriftKind.STALE, Result.DETECTED, None, latency_ms))
        tally.take(Ended("R", DriftKind.STALE, Ending.RESOLVED))
    assert tally.counts["R", DriftKind.STALE].latency_ms_max == 700
    assert (tally.plantings, tally.is_wrong, tally.is_inconclusive) == (2, False, False)
    tally.take(Judged("R", DriftKind.EXTRA, Result.INCONCLUSIVE, Doubt.SILENT))
    assert (tally.plantings, tally.is_wrong, tally.is_inconclusive) == (3, False, True)


@pytest.mark.parametrize(
    "news",
    [
        Judged("R", DriftKind.STALE, Result.MISSED),
        Judged("R", DriftKind.STALE, Result.MISNAMED),
        Ended("R", DriftKind.STALE, Ending.UNRESOLVED),
        FalseAlarm("R", DriftKind.STALE, b""),
    ],
)
def test_one_thing_that_is_wrong_is_enough(news: Judged | Ended | FalseAlarm) -> None:
    """Whatever else is right."""
    tally = Tally()
    tally.take(news)
    assert tally.is_wrong
