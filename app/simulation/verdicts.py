"""Hold what was told against what was true: every drift told in time, nothing else, every `unknown` for a reason."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from app.core.finding import DriftKind, Finding, Shown, Stage, UnknownReason
from app.core.position import SNAPSHOT, phase_of, place_of
from app.core.verdict import EVER
from app.simulation.beacons import AHEAD_MOST_MS, SLEEPS_MOST_MS, CommonClock
from app.simulation.connector import NEVER_MS, Connector
from app.simulation.faults import Fault
from app.simulation.oracle import SINCE_EVER_MS, History, Stretch, drifts, is_told, stretches, sure_drifts, vouched_at
from app.simulation.pipeline import Pipeline
from app.simulation.repairs import Wrong
from app.simulation.setting import Setting
from app.simulation.stores import NUMBER, Entry, Kind, Store
from app.simulation.worker import Period, Told, VerifiedSeen, Worker

SLACK_MS: Final = 1_500
"""How long a drift must last to be seen for certain, and how late its deadline may be: two beacons, and commits."""
SLOW_SLACK_MS: Final = 4_000
"""Likewise where beacons are slow or miss a turn."""
_SURE_MS: Final = 500
"""How long a drift must last to be seen where all that beacons leave in doubt is in its favour: commits."""
_FOUND_LATE_MS: Final = 4_000
"""How much later a row is seen to be gone that a slice did not show: its log has to be known beyond the slice."""
_WRITERS_STAND_STILL: Final = frozenset(
    {Fault.BEACON_WRITER_DIES, Fault.BEACON_WRITERS_DOUBLE, Fault.BEACON_CLOCK_STEPS}
)
_SLOW: Final = frozenset(
    {
        Fault.BEACONS_SLOW,
        Fault.BEACON_ANSWERS_LOST,
        Fault.BEACON_WRITER_DIES,
        Fault.BEACON_WRITERS_DOUBLE,
        Fault.BEACON_CLOCK_STEPS,
    }
)
_OPEN_MS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that was told wrongly, or not told; `at_ms` is common time. The key is empty for a whole partition."""

    what: str
    store: str
    key: bytes
    at_ms: int


@dataclass(slots=True)
class Score:
    """What a world came to."""

    changes: int = 0
    keys: int = 0
    planted: int = 0
    missed: int = 0
    false_alarms: int = 0
    unjustified_unknown: int = 0
    wrong_repairs: int = 0
    repaired: int = 0
    latencies_ms: list[int] = field(default_factory=list)  # from a drift's deadline until it was told
    faults: Counter[Fault] = field(default_factory=Counter)
    complaints: list[Complaint] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nothing is to be complained of."""
        return not self.complaints

    def complain(self, what: str, store: str, key: bytes, at_ms: int) -> None:
        """Note something wrong."""
        self.complaints.append(Complaint(what, store, key, at_ms))


@dataclass(slots=True)
class _TimeOfDrift:
    """From the deadline that was judged until the end that was told, with when it was told, on the common clock."""

    begin_ms: int
    told_ms: int
    is_kept: bool  # by a commit: else the worker that told it knows of it no more
    end_ms: int = _OPEN_MS
    heard_ms: int = _OPEN_MS  # when the broker had its end, on the world's clock


class Judge:
    """Judges one world after its end."""

    def __init__(
        self,
        setting: Setting,
        stores: Sequence[Store],
        connectors: Sequence[Connector],
        pipelines: Sequence[Pipeline],
        workers: Sequence[Worker],
        clock: CommonClock,
    ) -> None:
        self._setting = setting
        self._stores = stores
        self._connectors = connectors
        self._pipelines = pipelines
        self._workers = workers
        self._clock = clock
        self._slack_ms = SLOW_SLACK_MS if setting.faults & _SLOW else SLACK_MS
        self._issued_ms = [  # of each store's beacons
            sorted({entry.beacon.issued_at_ms for entry in store.log if entry.beacon is not None}) for store in stores
        ]
        self._histories: dict[tuple[int, bytes], History] = {}
        self._changes_ms: dict[int, defaultdict[bytes, list[int]]] = {}  # per store, made when it is asked for
        self._put_off_ms: Counter[bytes] = Counter()  # how much later than it was a row's history has a change
        self._found_ms = {  # when a gap of a row was told last
            told.finding.canonical_key: clock.common_ms(told.at_ms)
            for worker in workers
            for told in worker.told
            if told.finding.stage is Stage.NOTED
        }
        self.score = Score()

    def judge(self) -> Score:
        """Return what the world came to."""
        self.score.changes = sum(entry.kind is Kind.ROW for store in self._stores for entry in store.log)
        self.score.keys = len({key for store in self._stores for key in store.history})
        for i in range(self._setting.replicas):
            if self._connectors[i + 1].starts_ms == NEVER_MS:
                self._judge_unread(i)
            else:
                for worker in self._workers:
                    self._judge_partition(i, worker)
        for store, connector in zip(self._stores, self._connectors, strict=True):
            if connector.starts_ms != NEVER_MS:
                self._judge_gaps(store)
                self._judge_beacons_kept(store)
        return self.score

    def _judge_gaps(self, store: Store) -> None:
        """Each row that was read otherwise than the log had told is told of, once, and no other.

        Nor is what a row went through in a gap that no beacon had told of by then.
        """
        told = {
            each.finding.finding_id: each.finding.canonical_key
            for worker in self._workers
            for each in worker.told
            if each.finding.stage is Stage.NOTED and each.finding.replica == store.name
        }
        found = Counter(told.values())
        has_gap = store.name in self._setting.streams_alone and self._connectors[store.index].snapshots > 1
        for key in sorted({*found, *store.gaps}):
            if found[key] < store.gaps[key]:
                self.score.missed += 1
                self.score.complain("a gap of the log was not told", store.name, key, self._setting.reread_ms)
            elif found[key] > store.gaps[key] and not has_gap:
                self.score.false_alarms += 1
                self.score.complain("told of a gap that is none", store.name, key, self._setting.reread_ms)

    def _judge_beacons_kept(self, store: Store) -> None:
        """Each beacon that a worker goes by is true: it was issued before it stood in the log, and settled after.

        Of two logs, places may be the same. A writer whose machine slept while another took over knows neither of the
        sleep nor of its successor: what it says of when a beacon was settled is too early. And two writers' clocks are
        close but not the same, by no more than one of them slept besides, and what the older one says counts until a
        beacon of the newer one is read.
        """
        may_sleep, clock = self._setting.has(Fault.BEACON_CLOCK_STEPS), self._clock
        apart_ms = AHEAD_MOST_MS + (SLEEPS_MOST_MS if may_sleep else 0)
        stood: defaultdict[bytes, list[tuple[int, int]]] = defaultdict(list)  # when, how far its clock may be off
        for entry in store.log:
            if entry.beacon is not None:
                is_replaced = clock.is_replaced(entry.beacon.epoch, entry.beacon.issued_at_ms)
                stood[entry.place].append((entry.at_ms, apart_ms if is_replaced else 0))
        for worker in self._workers:
            timeline = worker.shard.progress.stores[store.name].timeline
            for at, issued_ms, settled_ms in zip(
                timeline.positions, timeline.issued_ms, timeline.acknowledged_ms, strict=True
            ):
                if not any(
                    issued_ms <= clock.common_ms(at_ms) + ahead_ms
                    and (may_sleep or settled_ms >= clock.around_ms(at_ms)[0] - ahead_ms)
                    for at_ms, ahead_ms in stood[place_of(at)]
                ):
                    self.score.false_alarms += 1
                    self.score.complain("a beacon counts for another time", store.name, b"", issued_ms)

    def judge_beacons(self, wrong: Sequence[tuple[str, str, int]]) -> None:
        """Complain of what a beacon writer did and may not do."""
        for what, store, common_ms in wrong:
            self.score.false_alarms += 1
            self.score.complain(what, store, b"", common_ms)

    def judge_repairs(self, wrong: Sequence[Wrong], applied: Container[bytes]) -> None:
        """Complain of what the applier did and may not do, and of what was verified and never applied."""
        for each in wrong:
            self.score.wrong_repairs += 1
            self.score.complain(each.what, each.store, each.key, self._clock.common_ms(each.at_ms))
        for worker in self._workers:
            for told in worker.told:
                finding = told.finding
                self.score.repaired += finding.stage is Stage.VERIFIED
                if finding.stage is Stage.VERIFIED and finding.command_id not in applied:
                    self.score.wrong_repairs += 1
                    moment_ms = self._clock.common_ms(told.at_ms)
                    self.score.complain(
                        "verified, and never applied", finding.replica, finding.canonical_key, moment_ms
                    )

    # -- a replica that nobody has read ------------------------------------------------------------------------------

    def _judge_unread(self, i: int) -> None:
        name = self._stores[i + 1].name
        for worker in self._workers:
            for told in worker.told:
                if told.finding.replica == name:
                    self.score.false_alarms += 1
                    self.score.complain("told of a store that nobody has read", name, told.finding.canonical_key, 0)
            if worker.shard.verified_through_ms(NUMBER, i) is not None:
                self.score.false_alarms += 1
                self.score.complain("verified a store that nobody has read", name, b"", 0)

    # -- a replica in one partition ----------------------------------------------------------------------------------

    def _judge_partition(self, i: int, worker: Worker) -> None:
        name = self._stores[i + 1].name
        end_ms = self._clock.common_ms(self._setting.last_ms)
        keys = sorted({key for n in (0, i + 1) for key in self._stores[n].history if worker.holds(key)})
        rows = {key: stretches(self._history(0, key), self._history(i + 1, key), end_ms) for key in keys}
        told = self._judge_told(i, worker, rows)
        for key, row in rows.items():
            for period in worker.periods[i]:
                for begin_ms, over_ms in drifts(row, self._setting.window_ms, period.base_ms):
                    self._judge_drift(i, key, (begin_ms, min(over_ms, period.ended_ms)), period, told[key])
            self._judge_end(name, key, row, worker.periods[i], told[key])
        self._judge_verified(i, worker, rows)
        self._judge_unknowns(i, worker)
        self._judge_coverage(i, worker)
        self._judge_time(i, worker)

    def _judge_told(
        self, i: int, worker: Worker, rows: Mapping[bytes, list[Stretch]]
    ) -> Mapping[bytes, list[_TimeOfDrift]]:
        """Judge what was told of a replica, and return the times of drifts that it tells of, by row."""
        told: defaultdict[bytes, list[_TimeOfDrift]] = defaultdict(list)
        known: dict[bytes, _TimeOfDrift] = {}
        for at_ms, finding in _once(worker.told, self._stores[i + 1].name):
            key, judged_ms = finding.canonical_key, finding.evidence.judged_at_ms
            if finding.finding_id not in known and finding.stage is not Stage.NOTED:
                # Its confirmation, or if that never came to the broker, what was told next.
                is_kept = finding.finding_id in worker.kept
                time = known[finding.finding_id] = _TimeOfDrift(judged_ms, self._clock.common_ms(at_ms), is_kept)
                told[key].append(time)
                self._judge_alarm(i, finding, rows.get(key, []), worker.periods[i])
                self._judge_evidence(0, finding, finding.evidence.authority_stays)
                self._judge_evidence(i + 1, finding, finding.evidence.replica_stays)
            if finding.stage is Stage.OVERTAKEN and self._setting.pipelines_report:
                self._judge_overtaken(i, finding, rows.get(key, []))
        for each in worker.told:
            # A worker that died may have told of steps that the next one takes anew, and later: its last word counts.
            found = known.get(each.finding.finding_id)
            if found is None:
                continue
            if each.finding.stage is Stage.OVERTAKEN:
                found.end_ms = _OPEN_MS
            elif each.finding.stage in {Stage.RESOLVED, Stage.VERIFIED}:
                # A repair is seen with its echo, however far the common time is.
                is_seen = each.finding.stage is Stage.VERIFIED
                if found.heard_ms == _OPEN_MS or not is_seen:
                    found.heard_ms = each.heard_ms
                ended_ms = self._clock.common_ms(each.at_ms) if is_seen else _through_ms(each.finding)
                found.end_ms = ended_ms if found.end_ms == _OPEN_MS else max(found.end_ms, ended_ms)
        return told

    def _judge_time(self, i: int, worker: Worker) -> None:
        """The common time goes on, and so does what is verified, and never back while a worker lives."""
        name = self._stores[i + 1].name
        wrong = (("the common time went back", worker.went_back), ("verified was taken back", worker.taken_back))
        for what, gone in wrong:
            for _, before_ms in (each for each in gone if each[0] == i):
                self.score.false_alarms += 1
                self.score.complain(what, name, b"", before_ms)

    def _history(self, n: int, key: bytes) -> History:
        """Return a row's history in a store on the common clock."""
        held = self._histories.get((n, key))
        if held is None:
            exact = self._stores[n].history.get(key, History())
            held = History()
            for at_ms, state in zip(exact.times_ms[1:], exact.states[1:], strict=True):
                # The common time may stand still while a row changes; the order of its changes is kept.
                common_ms = self._clock.common_ms(at_ms)
                ordered_ms = max(common_ms, held.times_ms[-1] + 1)
                held.change(ordered_ms, state)
                self._put_off_ms[key] = max(self._put_off_ms[key], ordered_ms - common_ms)
            self._histories[n, key] = held
        return held

    def _judge_alarm(self, i: int, finding: Finding, row: list[Stretch], periods: Sequence[Period]) -> None:
        judged_ms = finding.evidence.judged_at_ms
        name, key = finding.replica, finding.canonical_key
        is_missed = key in self._stores[0].missed or key in self._stores[i + 1].missed
        if is_missed and judged_ms > self._clock.common_ms(self._setting.reread_ms):
            return  # that it is gone may be known after it was judged
        if vouched_at(row, judged_ms) - self._put_off_ms[key] > judged_ms - self._setting.window_ms:
            self.score.false_alarms += 1
            self.score.complain("false alarm", name, key, judged_ms)
            return
        truth, shown = self._history(0, key), self._history(i + 1, key)
        slack_ms = self._slack_around_ms(judged_ms)
        early_ms, late_ms = judged_ms - slack_ms, judged_ms + slack_ms
        if not truth.stood_still(early_ms, late_ms) or not shown.stood_still(early_ms, late_ms):
            return
        is_missing, is_extra = shown.at(judged_ms) is None, truth.at(judged_ms) is None
        told_stale = finding.kind is DriftKind.STALE
        base_ms = max((period.base_ms for period in periods if period.base_ms <= judged_ms), default=judged_ms)
        changed_ms, before = truth.change_before(judged_ms)
        # What the authority showed just before, since it is known without a break, is remembered.
        must_be_stale = shown.at(judged_ms) == before and changed_ms > base_ms and self._connectors[0].snapshots == 1
        if (
            is_missing != (finding.kind is DriftKind.MISSING)
            or (is_extra and not is_missing) != (finding.kind is DriftKind.EXTRA)
            or (told_stale and shown.at(judged_ms) not in truth.states)
            or (must_be_stale and not told_stale and not is_missing and not is_extra)
        ):
            self.score.false_alarms += 1
            self.score.complain("another kind of drift", name, key, judged_ms)

    def _judge_evidence(self, n: int, finding: Finding, stays: Sequence[Shown]) -> None:
        """Each state that is cited began between the moments that are cited with it."""
        for stay in stays:
            if stay.offset < 0 or stay.until_ms == EVER:
                continue
            record = self._connectors[n].partitions[stay.topic, stay.partition][stay.offset]
            if record is None:
                raise AssertionError("a state is cited of a transaction's marker")
            entry, snapshot = record
            began_ms = self._began_ms(n, entry) if snapshot else entry.at_ms
            before_ms, after_ms = self._clock.around_ms(began_ms)
            is_late = stay.since_ms is not None and stay.since_ms > after_ms
            if is_late or (stay.until_ms is not None and stay.until_ms < before_ms):
                self.score.false_alarms += 1
                self.score.complain(
                    "a state is cited for another time", finding.replica, finding.canonical_key, after_ms
                )

    def _began_ms(self, n: int, read: Entry) -> int:
        """Return when what a snapshot read of a row began, also if its log had left it out."""
        changes = self._changes_ms.get(n)
        if changes is None:
            changes = self._changes_ms[n] = defaultdict(list)
            for entry in self._stores[n].log:
                if entry.kind is Kind.ROW:
                    changes[entry.key].append(entry.at_ms)
        return max((at_ms for at_ms in changes[read.key] if at_ms <= read.at_ms), default=0)

    def _judge_overtaken(self, i: int, finding: Finding, row: list[Stretch]) -> None:
        """A drift may be repaired once its pipeline has come past the row's change, and what it brought was read."""
        if finding.canonical_key in self._stores[0].lied_of or phase_of(finding.authority_position) == SNAPSHOT:
            return  # of a change that its log has left out, or that a snapshot has read, nobody knows
        through_ms = _through_ms(finding)
        cited = (*finding.evidence.authority_stays, *finding.evidence.replica_stays)
        if through_ms == finding.evidence.judged_at_ms + 1 or through_ms in {shown.until_ms for shown in cited}:
            return  # told again by a worker that began anew: it was taken at this time or later, nobody knows when
        changes = self._pipelines[i].carried[finding.canonical_key]
        known = next((c for c in reversed(changes) if self._clock.common_ms(c.at_ms) <= through_ms), None)
        if known is None:
            return
        known_ms = self._clock.common_ms(known.at_ms)
        sides = (self._history(0, finding.canonical_key), self._history(i + 1, finding.canonical_key))
        since_ms = known_ms - self._slack_around_ms(known_ms)
        # While the common time stood still the row may have changed more than once: which state it is, the world knows.
        newest = self._stores[0].history[finding.canonical_key].at(known.at_ms)
        if vouched_at(row, through_ms) > known_ms + self._put_off_ms[finding.canonical_key] and sides[1].came_to(
            newest, since_ms, through_ms
        ):
            return  # the replica has shown it, and was not there before
        if any(_untold_between(side, since_ms, through_ms) for side in sides):
            return  # or may have
        done_ms = known.done_ms
        if done_ms is None or self._clock.common_ms(done_ms) > through_ms:
            self.score.false_alarms += 1
            self.score.complain("overtaken before its pipeline", finding.replica, finding.canonical_key, through_ms)

    def _slack_around_ms(self, *moments_ms: int) -> int:
        """Return the slack of what happened around these moments, where beacons may be further apart than usual."""
        return self._slack_ms + self._gap_around_ms(*moments_ms)

    def _gap_around_ms(self, *moments_ms: int) -> int:
        """Return how far apart the beacons around these moments are, at most."""
        return max(
            *(self._clock.gap_ms(at_ms) for at_ms in moments_ms),
            *(_gap_ms(issued_ms, at_ms) for issued_ms in self._issued_ms for at_ms in moments_ms),
        )

    def _judge_drift(
        self, i: int, key: bytes, lasted_ms: tuple[int, int], period: Period, told: Sequence[_TimeOfDrift]
    ) -> None:
        """A drift that lasts longer than the slack has been told by then, and to be over not before it is.

        But for one that waited for the broker to have the end of the row's last, when coverage was lost.
        """
        (begin_ms, end_ms), base_ms = lasted_ms, period.base_ms
        left_ms = begin_ms - self._setting.window_ms
        slack_ms = self._slack_around_ms(left_ms, begin_ms)
        slack_ms = max(slack_ms, self._slack_around_ms(begin_ms + slack_ms))  # no beacon may have come by then
        if any(key in store.missed for store in (self._stores[0], self._stores[i + 1])):
            # A worker that was killed over it finds it again: until then the row is held for one that is there.
            begin_ms = max(begin_ms, self._found_ms.get(key, begin_ms) + self._setting.window_ms)
            slack_ms += _FOUND_LATE_MS
        if end_ms - begin_ms < slack_ms:
            return
        found = _told_in_time(told, begin_ms, slack_ms)
        if not found:
            surely_ms = self._surely_began_ms(i, key, (begin_ms, end_ms), base_ms)
            if surely_ms is None:
                return
            begin_ms = surely_ms
            found = _told_in_time(told, begin_ms, slack_ms)
        if not found and any(time.begin_ms < begin_ms and time.heard_ms >= period.lost_at_ms for time in told):
            return
        self.score.planted += 1
        if not found:
            self.score.missed += 1
            self.score.complain("missed", self._stores[i + 1].name, key, begin_ms)
            return
        self.score.latencies_ms.append(max(0, found[0].told_ms - begin_ms))
        reached_ms = max(t.end_ms for t in found)
        for later in told:
            if later.begin_ms <= reached_ms + self._setting.window_ms + 2 * slack_ms:
                reached_ms = max(reached_ms, later.end_ms)
        is_early = reached_ms < end_ms - max(slack_ms, self._slack_around_ms(end_ms))  # as old as its beacon
        if is_early and self._surely_began_ms(i, key, (reached_ms, end_ms), base_ms) is not None:
            self.score.missed += 1
            self.score.complain("told to be over, and it was not", self._stores[i + 1].name, key, reached_ms)

    def _surely_began_ms(self, i: int, key: bytes, lasted_ms: tuple[int, int], base_ms: int) -> int | None:
        """Return from when on a drift stands, however its changes lay between their beacons; None: too short for that.

        A state that the replica left just before the authority came to it may be one that both have shown, and while
        no beacon comes, that is so for seconds.
        """
        begin_ms, end_ms = lasted_ms
        sides = (self._history(0, key), self._history(i + 1, key))
        for surely_ms, over_ms in sure_drifts(*sides, self._doubt_ms, self._setting.window_ms, (base_ms, end_ms)):
            if over_ms - max(surely_ms, begin_ms) >= _SURE_MS:
                return max(surely_ms, begin_ms)
        return None

    def _doubt_ms(self, at_ms: int) -> int:
        """Return how far from a moment what happened at it may be for who knows the beacons alone."""
        return self._gap_around_ms(at_ms) + self._slack_ms - SLACK_MS

    def _judge_end(
        self, name: str, key: bytes, row: Sequence[Stretch], periods: Sequence[Period], told: Sequence[_TimeOfDrift]
    ) -> None:
        """What was told to be there last is still there, or nobody can know: its coverage has ended.

        A drift that was told and not committed is judged again, unless its coverage ends before: see the open holes.
        While a sweep goes on, what is touched is judged already, and told beyond the time that the period counts for.
        """
        if not told or not told[-1].is_kept or told[-1].end_ms != _OPEN_MS:
            return
        end_ms = max(periods[-1].ended_ms if periods else SINCE_EVER_MS, told[-1].begin_ms)
        at_end = next((stretch for stretch in reversed(row) if stretch.begin_ms <= end_ms), None)
        if at_end is None or not at_end.agreed:
            return
        # Coverage that was earned since, and has just ended again, may have told nothing of it yet.
        known_ms = max(at_end.begin_ms, periods[-1].base_ms if periods else SINCE_EVER_MS)
        if known_ms < end_ms - self._setting.window_ms - 2 * self._slack_around_ms(at_end.begin_ms):
            self.score.false_alarms += 1
            self.score.complain("told to be there, and it was over", name, key, at_end.begin_ms)

    def _judge_verified(self, i: int, worker: Worker, rows: Mapping[bytes, list[Stretch]]) -> None:
        """What is called verified has a verdict: each row is vouched for until then, or was told to drift.

        A row that a read found otherwise than its log had told is held to that since it was found. Where beacon writers
        stand still, between which moments a change was may be anybody's guess.
        """
        if self._setting.faults & _WRITERS_STAND_STILL:
            return
        name = self._stores[i + 1].name
        looks = [seen for seen in worker.verified if seen.replica == i]
        steps: defaultdict[bytes, list[tuple[int, Finding]]] = defaultdict(list)
        for at_ms, finding in worker.steps:
            if finding.replica == name:
                steps[finding.canonical_key].append((at_ms, finding))
        for key, row in rows.items():
            is_missed = any(key in self._stores[n].missed for n in (0, i + 1))
            found_ms = self._found_ms.get(key, _OPEN_MS) if is_missed else SINCE_EVER_MS
            for seen in looks:
                from_ms = max(found_ms, seen.base_ms)
                vouched_ms = max(from_ms, vouched_at(row, seen.common_ms))
                if seen.through_ms - vouched_ms <= _SURE_MS or not self._is_surely_late(i, key, seen, from_ms):
                    continue
                told = [finding for at_ms, finding in steps[key] if at_ms <= seen.at_ms]
                if not self._was_told(told, vouched_ms, seen.through_ms):
                    self.score.false_alarms += 1
                    self.score.complain("verified without a verdict", name, key, seen.through_ms)

    def _is_surely_late(self, i: int, key: bytes, seen: VerifiedSeen, from_ms: int) -> bool:
        """Whether a row is not vouched for up to what was verified, however its changes lay between their beacons."""
        sides = (self._history(0, key), self._history(i + 1, key))
        behind_ms = seen.common_ms - seen.through_ms + _SURE_MS
        late = sure_drifts(*sides, self._doubt_ms, behind_ms, (from_ms, seen.common_ms))
        return bool(late) and late[-1][1] == seen.common_ms

    def _was_told(self, told: Sequence[Finding], vouched_ms: int, through_ms: int) -> bool:
        """Whether these steps tell that a row drifts since a moment, or did so until another one."""
        if told and told[-1].stage not in {Stage.RESOLVED, Stage.VERIFIED}:
            return True
        early_ms = vouched_ms - self._slack_around_ms(vouched_ms)
        return any(f.evidence.judged_at_ms >= early_ms or _through_ms(f) >= through_ms for f in told)

    # -- what is not proven ------------------------------------------------------------------------------------------

    def _judge_unknowns(self, i: int, worker: Worker) -> None:
        name = self._stores[i + 1].name
        for look in worker.unknowns:
            if look.replica != i:
                continue
            # Looked at again when its window is over, at the latest: until then it is said as it was.
            from_ms = look.common_ms - self._setting.window_ms - self._slack_ms
            to_ms = self._clock.common_ms(look.at_ms)
            sides = (self._history(0, look.key), self._history(i + 1, look.key))
            if look.reason is UnknownReason.DIGEST_MISMATCH and look.key in self._stores[i + 1].lied_of:
                continue  # its log has left a change out, and the applier found it
            if not any(_untold_between(side, from_ms, to_ms) for side in sides):
                self.score.unjustified_unknown += 1
                self.score.complain(f"unknown ({look.reason.value}) without a reason", name, look.key, to_ms)

    def _judge_coverage(self, i: int, worker: Worker) -> None:
        """Coverage is lost only by a snapshot taken again, and earned again; then everything is verified in time."""
        name = self._stores[i + 1].name
        periods = worker.periods[i]
        snapshots = self._connectors[0].snapshots + self._connectors[i + 1].snapshots
        end_ms = self._clock.common_ms(self._setting.last_ms)
        if self._setting.faults & _WRITERS_STAND_STILL:
            # Every writer may hang or be gone as the world ends: nothing is known behind its last beacons.
            end_ms = min(end_ms, *(self._issued_ms[n][-1] for n in (0, i + 1)))
        if len(periods) > snapshots - 1:
            self.score.unjustified_unknown += 1
            self.score.complain("coverage was lost without a reason", name, b"", periods[-1].base_ms)
        if any(look.replica == i and look.at_ms == self._setting.last_ms for look in worker.unknowns):
            return  # what is unknown holds it up, and was judged by itself
        through_ms = worker.shard.verified_through_ms(NUMBER, i)
        if self._connectors[0].goes_on or self._connectors[i + 1].goes_on:
            if through_ms is not None:
                self.score.false_alarms += 1
                self.score.complain("verified by a log that has begun anew", name, b"", through_ms)
            return
        last_ms = [max(entry.at_ms for entry in self._stores[n].log if entry.beacon is not None) for n in (0, i + 1)]
        if through_ms is None and min(last_ms) < worker.restarted_ms:
            return  # no writer is left, and time is earned by a beacon of each
        limit_ms = end_ms - self._setting.window_ms - 2 * self._slack_ms
        limit_ms -= self._gap_around_ms(limit_ms)  # what changed between two beacons is known behind the second
        if through_ms is None or through_ms < limit_ms:
            self.score.unjustified_unknown += 1
            self.score.complain("not verified in time", name, b"", through_ms or 0)


def _told_in_time(told: Sequence[_TimeOfDrift], begin_ms: int, slack_ms: int) -> list[_TimeOfDrift]:
    """Return the drifts that were told of a row at a moment, or within the slack."""
    return [time for time in told if time.begin_ms <= begin_ms + slack_ms and time.end_ms >= begin_ms]


def _through_ms(finding: Finding) -> int:
    """Return the common time at which a step was taken."""
    return min(finding.evidence.authority_watermark_ms, finding.evidence.replica_watermark_ms)


def _gap_ms(issued_ms: Sequence[int], common_ms: int) -> int:
    """Return how far apart a store's own beacons are around a moment, or after it, whichever is more.

    One writer may have come to it late; and when the second of two beacons was there is told by the third.
    """
    n = bisect_right(issued_ms, common_ms)
    around_ms = issued_ms[max(0, n - 1) : n + 2]
    return max((later_ms - earlier_ms for earlier_ms, later_ms in pairwise(around_ms)), default=0)


def _once(told: Sequence[Told], replica: str) -> Iterator[tuple[int, Finding]]:
    """Yield each step of each row's drift once, at the moment at which it was told first."""
    seen: set[tuple[bytes, Stage]] = set()
    for each in told:
        finding = each.finding
        if finding.replica == replica and finding.canonical_key and (finding.finding_id, finding.stage) not in seen:
            seen.add((finding.finding_id, finding.stage))
            yield each.at_ms, finding


def _untold_between(side: History, from_ms: int, to_ms: int) -> bool:
    ends = [*side.times_ms[1:], _OPEN_MS]
    return any(
        not is_told(state) and begin <= to_ms and end >= from_ms
        for begin, end, state in zip(side.times_ms, ends, side.states, strict=True)
    )
