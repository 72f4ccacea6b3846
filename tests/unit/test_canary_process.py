"""The canary's process from end to end: stores in memory, their logs folded by the core, records in their real form."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from app.adapters.seal import KeySeals, Seal
from app.canary.run import CanaryProcess, CanaryRows, word_of
from app.codec.records import FixedSchemas, RecordCodec
from app.codec.told_topics import ToldTopics
from app.core.canary import ENTITY, KINDS, Canary, Deed, Ended, Ending, FalseAlarm, Judged, News, Result, Terms
from app.core.canary_proof import Doubt, Proof, Why
from app.core.canonical_key import key_writer
from app.core.contract import FieldKind, FieldType
from app.core.errors import ContractViolation, DriftlineError, Undecodable, Unready
from app.core.finding import DriftKind, Finding
from app.core.published import PublishedFinding
from app.core.status import Coverage, StatusReport
from tests.unit.core.story import WINDOW_MS, Story, contract

CONTRACT = replace(contract(pipeline=False), entity=ENTITY)
SEALS = KeySeals(Seal([bytes(range(32))]))
BEAT_MS = 500
TIMES = 60


@dataclass(frozen=True)
class Record:
    """One record of a topic."""

    topic: str
    value: bytes | None


class Rows(CanaryRows):
    """One store's table, whose changes its log shows at once."""

    def __init__(self, story: Story, store: str) -> None:
        self.story, self.store = story, store
        self.rows: dict[int, int] = {}
        self.is_down = self.is_closed = False

    def highest(self) -> int:
        """Return the newest row."""
        if self.is_down:
            raise Unready("the store is down")
        return max(self.rows, default=0)

    def write(self, row: int, state: int | None) -> None:
        """Give a row a state, as a log tells it: what changes nothing is not in it."""
        if self.is_down:
            raise Unready("the store is down")
        before = self.rows.pop(row, None)
        if state is not None:
            self.rows[row] = state
        if state != before:
            self.story.row(self.store, "" if state is None else str(state), key=str(row))

    def clear_below(self, row: int) -> None:
        """Delete rows."""
        for each in [each for each in self.rows if each < row]:
            self.write(each, None)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


@dataclass
class Told:
    """Keeps what the process says."""

    news: list[News] = field(default_factory=list)
    doubts: list[Why | None] = field(default_factory=list)
    deeds: Counter[Deed] = field(default_factory=Counter)
    down: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def told(self, news: News) -> None:
        """Keep it."""
        self.news.append(news)

    def doubt_changed(self, doubt: Why | None) -> None:
        """Keep it."""
        self.doubts.append(doubt)

    def stores_written(self, deed: Deed) -> None:
        """Count it."""
        self.deeds[deed] += 1

    def store_is_down(self, fault: DriftlineError) -> None:
        """Keep it."""
        self.down.append(fault.what)

    def unreadable(self, topic: str, fault: Undecodable) -> None:
        """Keep where it was."""
        del fault
        self.unread.append(topic)


class System:
    """Two stores, their beacons, a worker that publishes what it finds, and the canary.

    A worker that `is_blind` publishes no findings, and one that `is_silent` no reports.
    """

    def __init__(self, interval_ms: int = 1_000, patience_ms: int = 5_000) -> None:
        self.story = Story()
        self.rows = {store: Rows(self.story, store) for store in "AR"}
        self.codec = RecordCodec("d", FixedSchemas())
        self.told = Told()
        self.now_ms = 0
        self.is_blind = self.is_silent = False
        self._published = 0
        self.process = CanaryProcess(
            canary=Canary(Terms("AR", {"R": WINDOW_MS}, interval_ms, patience_ms)),
            proof=Proof("AR", 1),
            rows=self.rows,
            told_topics=ToldTopics("status", "drifts", self.codec),
            read_word=lambda published: word_of(published, CONTRACT, SEALS.open_key),
            monotonic_ms=lambda: self.now_ms,
            tell=self.told,
        )

    def pass_time(self, beats: int = 1) -> None:
        """Let beacons pass; the worker publishes, the canary reads and does what is due."""
        for _ in range(beats):
            self.now_ms += BEAT_MS
            self.story.beacons(self.now_ms)
            for record in self.published():
                self.process.take(record)
            self.process.step()

    def published(self) -> list[Record]:
        """Return what the worker has to say since it was asked last: statuses, and findings twice."""
        new = self.story.findings[self._published :]
        self._published = len(self.story.findings)
        said = [] if self.is_blind else [Record("drifts", self.finding(finding)) for finding in new for _ in range(2)]
        if not self.is_silent:
            said += [Record("status", self.status(store)) for store in "AR"]
        return [*said, Record("drifts", self.codec.finding(PublishedFinding(OTHER, b"", b"")))]

    def finding(self, finding: Finding) -> bytes:
        """Return a finding as a worker publishes it."""
        key = key_writer(FieldType(FieldKind.INT64))(int(finding.canonical_key))
        named = replace(finding, entity=ENTITY, canonical_key=b"")
        return self.codec.finding(PublishedFinding(named, SEALS.seal_key(ENTITY, key), b"hash"))

    def status(self, store: str) -> bytes:
        """Return a report that says that all is known."""
        is_authority = store == "A"
        proven_ms = None if is_authority else self.now_ms
        return self.codec.status(
            StatusReport(ENTITY, store, is_authority, 0, Coverage.COVERED, self.now_ms, proven_ms, self.now_ms, 0)
        )

    def until(self, news: int) -> list[News]:
        """Let time pass until so much news came; return it."""
        for _ in range(news * TIMES):
            if len(self.told.news) >= news:
                return self.told.news
            self.pass_time()
        raise AssertionError(f"{self.told.news} is all that came")


def _other() -> Finding:
    story = Story()
    story.until(500, 1_000)
    story.row("R", "odd", key="7")
    story.until(1_500, 6_000)
    return replace(story.findings[0], canonical_key=b"")


OTHER = _other()
"""A finding on another entity, which is none of the canary's business."""


@pytest.fixture
def system() -> System:
    """A system that has just begun."""
    return System()


def test_every_kind_is_told_by_its_name_and_to_be_over_and_nothing_else_is(system: System) -> None:
    """The rule of the core itself judges what was planted, at the end of each window."""
    news = system.until(8)
    judged = [each for each in news if isinstance(each, Judged)]
    assert [(each.kind, each.result) for each in judged] == [(kind, Result.DETECTED) for kind in KINDS]
    assert all(each.latency_ms is not None and each.latency_ms <= 4 * BEAT_MS for each in judged)
    assert [each.ending for each in news if isinstance(each, Ended)] == [Ending.RESOLVED] * 4
    system.pass_time()
    assert system.rows["A"].rows == system.rows["R"].rows
    assert system.told.doubts == [None]


def test_a_worker_that_tells_nothing_misses_all(system: System) -> None:
    """The canary never sees its own plants: each counts as missed."""
    system.is_blind = True
    assert [each.result for each in system.until(4) if isinstance(each, Judged)] == [Result.MISSED] * 4


def test_damage_that_the_canary_did_not_do_is_a_false_alarm() -> None:
    """Somebody else changes the row that rests; the core tells it by its name."""
    system = System(interval_ms=1_000_000)
    system.pass_time(5)
    system.rows["R"].write(max(system.rows["A"].rows), 99)
    (news,) = system.until(1)
    assert isinstance(news, FalseAlarm)
    assert (news.store, news.kind) == ("R", DriftKind.DIFFERENT)
    system.pass_time(5)
    assert len(system.told.news) == 1


def test_workers_that_fall_silent_make_a_planting_inconclusive() -> None:
    """And hold up the next, until they report again."""
    system = System(patience_ms=20_000)
    while not system.told.deeds[Deed.PLANT]:
        system.pass_time()
    system.is_blind = system.is_silent = True
    (news,) = system.until(1)
    assert news == Judged("R", KINDS[0], Result.INCONCLUSIVE, Doubt.SILENT)
    system.pass_time(TIMES)
    assert system.told.deeds[Deed.PLANT] == 1
    system.is_blind = system.is_silent = False
    system.until(2)
    assert system.told.doubts == [None, Doubt.SILENT, None]


@pytest.mark.parametrize("store", ["A", "R"])
def test_a_store_that_is_down_is_tried_again_and_accuses_nobody(system: System, store: str) -> None:
    """It goes away while a drift stands; what it left behind is told, and is nobody's fault."""
    while not system.told.deeds[Deed.PLANT]:
        system.pass_time()
    system.rows[store].is_down = True
    system.pass_time(TIMES)
    assert len(system.told.down) > 1
    system.rows[store].is_down = False
    system.until(4)
    results = [each.result if isinstance(each, Judged) else each for each in system.told.news]
    kind, drift = KINDS[0], system.story.findings[0].finding_id
    unended = Ended("R", kind, Ending.INCONCLUSIVE, Doubt.UNWRITTEN, drift)
    assert results[:3] == [Result.DETECTED, unended, Result.DETECTED]


def test_a_process_that_is_told_to_end_leaves_no_drift_behind(system: System) -> None:
    """It mends what it has planted, and lets its connections go."""
    while not system.told.deeds[Deed.PLANT]:
        system.pass_time()
    assert system.rows["A"].rows != system.rows["R"].rows
    system.process.stopping.set()
    system.process.run(iter([None]))
    assert system.rows["A"].rows == system.rows["R"].rows
    assert [rows.is_closed for rows in system.rows.values()] == [True, True]
    assert system.told.news == []


def test_a_process_that_meets_another_canary_ends(system: System) -> None:
    """And does not mend what the other one has put right already."""
    while not system.told.deeds[Deed.PLANT]:
        system.pass_time()
    for rows in system.rows.values():
        rows.write(99, 2)
    with pytest.raises(ContractViolation, match="run one canary"):
        system.pass_time(TIMES)
    with pytest.raises(ContractViolation, match="run one canary"):
        system.process.run(iter([None]))
    assert len(system.told.down) == 1
    assert [rows.is_closed for rows in system.rows.values()] == [True, True]


def test_what_cannot_be_read_is_told_and_passed_over(system: System) -> None:
    """A record of no form of ours; and a finding on this table whose key does not open is a false alarm."""
    system.pass_time(2)
    system.process.take(Record("drifts", b"\x00" + ENTITY.encode()))
    assert system.told.unread == ["drifts"]
    published = PublishedFinding(replace(OTHER, entity=ENTITY), b"sealed by somebody else", b"")
    system.process.take(Record("drifts", system.codec.finding(published)))
    assert [type(each) for each in system.told.news] == [FalseAlarm]
