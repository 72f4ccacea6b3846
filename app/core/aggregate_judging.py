"""Judges one aggregate in one replica, cut by cut, and keeps the drifts of its groups."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from app.core.aggregate import Envelope
from app.core.aggregate_book import NO_CUT, Book, Cut
from app.core.aggregate_status import AggregateReason, AggregateStatus
from app.core.contract import EntityContract, Replica
from app.core.contribution import group_texts, scale_of
from app.core.finding import DriftKind, Evidence, Finding, Stage, Verdict
from app.core.progress import EntityProgress, Progress
from app.core.timeline import Timeline
from app.core.verdict import OPEN


class Told(NamedTuple):
    """A finding on a group, and its figures as JSON, which leave the worker sealed: they are made of rows' values.

    `ordinal` is how many drifts the group has had, with this one.
    """

    finding: Finding
    figures: bytes
    ordinal: int


@dataclass(slots=True)
class _Drift:
    """A group's drifts: how many there were, and of the open one by how much it was off. None: none is open.

    `is_told` is whether the broker has its last step.
    """

    ordinal: int
    excess: Fraction | None
    is_told: bool


class _Judged(NamedTuple):
    """What one cut of a replica is held against: two of the authority's."""

    cut: Cut
    at_ms: int
    since: Cut
    until: Cut


@dataclass(slots=True)
class Watched:
    """One aggregate in one replica: groups that may not be right at the next cut, and those that were not.

    A step of a drift is written before it is told, so that no end is missing of what was told before a kill. Those that
    may not have been told are in `_doubtful` after a start, and are told again.
    """

    contract: EntityContract
    replica: int
    aggregate: int
    unsettled: set[bytes] = field(default_factory=set)
    authority_cut: int = 0
    judged_cut: int = 0
    judged_through_ms: int | None = None
    _drifts: dict[bytes, _Drift] = field(default_factory=dict)
    _written: dict[bytes, None] = field(default_factory=dict)
    _doubtful: set[bytes] = field(default_factory=set)

    @property
    def open_drifts(self) -> int:
        """How many groups are wrong."""
        return sum(drift.excess is not None for drift in self._drifts.values())

    def watch_drifts(self) -> None:
        """Let every drift be looked at again that is open or perhaps not told, whether its group is there or not."""
        self.unsettled |= self._doubtful
        self.unsettled.update(name for name, drift in self._drifts.items() if drift.excess is not None)

    # -- what is kept --------------------------------------------------------------------------------------------

    @property
    def _terms(self) -> Replica:
        return self.contract.replicas[self.replica]

    @property
    def _identity(self) -> bytes:
        """What the canonical keys of this aggregate's groups begin with."""
        return self.contract.aggregates[self.aggregate].name.encode() + b"\x00"

    @property
    def _key(self) -> bytes:
        return bytes([self.replica]) + self._identity

    def restore(self, key: bytes, value: bytes) -> None:
        """Take in the record of a drift, if it is one of this aggregate and replica."""
        if key.startswith(self._key):
            name = key[len(self._key) :]
            # A record of an older version has two parts, and was written when the broker had it.
            ordinal, excess, is_told = (*json.loads(value), True)[:3]
            self._drifts[name] = _Drift(ordinal, None if excess is None else Fraction(excess), is_told)
            if not is_told:
                self._doubtful.add(name)
            self.watch_drifts()

    def acknowledged(self, told: Told) -> None:
        """Note that the broker has a step, if it is one of this aggregate and replica and no other followed."""
        finding = told.finding
        if finding.replica != self._terms.store or not finding.canonical_key.startswith(self._identity):
            return
        name = finding.canonical_key[len(self._identity) :]
        drift = self._drifts[name]
        if (drift.ordinal, drift.excess is not None) == (told.ordinal, finding.stage is Stage.CONFIRMED):
            drift.is_told = True
            self._written[name] = None

    def flush(self) -> list[tuple[bytes, bytes]]:
        """Return the records of drifts that changed since the last time."""
        written, self._written = self._written, {}
        found = []
        for name in written:
            drift = self._drifts[name]
            value = [drift.ordinal, None if drift.excess is None else str(drift.excess), drift.is_told]
            found.append((self._key + name, json.dumps(value).encode()))
        return found

    # -- judging -------------------------------------------------------------------------------------------------

    def judge(self, progress: Progress, entity: EntityProgress, books: Sequence[Book], partition: int) -> list[Told]:
        """Judge the replica's cuts that both logs are known around, in their order."""
        mine, theirs = books[0], books[self.replica + 1]
        window_ms = self._terms.window_ms
        timelines = progress.timeline_of(entity, 0), progress.timeline_of(entity, self.replica + 1)
        found: list[Told] = []
        if entity.base_ms[self.replica] is None:
            return []
        for cut in theirs.cuts:
            if cut.number <= self.judged_cut:
                continue
            judged = _held_against(cut, mine.cuts, timelines, window_ms)
            if judged is None:
                break
            self.judged_cut = cut.number
            if judged.since is NO_CUT:
                continue
            self.authority_cut = judged.since.number
            if not self._is_over(books):
                self.judged_through_ms = judged.at_ms
                found += self._judge_groups(entity, books, partition, judged)
        return found

    def _is_over(self, books: Sequence[Book]) -> bool:
        return books[0].tallies[self.aggregate].is_over or books[self.replica + 1].tallies[self.aggregate].is_over

    def _judge_groups(
        self, entity: EntityProgress, books: Sequence[Book], partition: int, judged: _Judged
    ) -> list[Told]:
        aggregate = self.contract.aggregates[self.aggregate]
        truth, shown = books[0].tallies[self.aggregate], books[self.replica + 1].tallies[self.aggregate]
        scale = scale_of(self.contract, aggregate)
        found = []
        for name in sorted(self.unsettled):
            envelope = truth.envelope(name, judged.since.number, judged.until.number)
            figure = shown.figure_at(name, judged.cut.number)
            excess = envelope.excess(figure, aggregate, scale)
            found += [
                self._told(entity, partition, judged, name, stage, envelope, figure)
                for stage in self._steps(name, envelope, excess)
            ]
            is_at_rest = not truth.has_moved_since(name, judged.since.number)
            if is_at_rest and not shown.has_moved_since(name, judged.cut.number):
                self.unsettled.discard(name)
        return found

    def _steps(self, name: bytes, envelope: Envelope, excess: Fraction) -> Iterator[Stage]:
        """Take the steps that a group's drift takes, one by one, mostly none.

        A drift ends where it would show if it were still there: where what the authority has changed since is less
        than the figure was off.
        """
        drift = self._drifts.get(name)
        is_open = drift is not None and drift.excess is not None
        is_doubtful = name in self._doubtful
        if drift is not None and (
            (is_doubtful and not is_open)
            or (drift.excess is not None and not excess and envelope.high - envelope.low < drift.excess)
        ):
            self._take(name, _Drift(drift.ordinal, None, is_told=False))
            yield Stage.RESOLVED
            is_open = False
        if excess and (is_doubtful or not is_open):
            ordinal = (0 if drift is None else drift.ordinal) + (not is_open)
            self._take(name, _Drift(ordinal, excess, is_told=False))
            yield Stage.CONFIRMED

    def _take(self, name: bytes, drift: _Drift) -> None:
        self._drifts[name] = drift
        self._written[name] = None
        self._doubtful.discard(name)

    def _told(
        self,
        entity: EntityProgress,
        partition: int,
        judged: _Judged,
        name: bytes,
        stage: Stage,
        envelope: Envelope,
        figure: int,
    ) -> Told:
        contract, aggregate, terms = self.contract, self.contract.aggregates[self.aggregate], self._terms
        ordinal = self._drifts[name].ordinal
        identity = self._identity + name
        finding_id = _drift_id(contract, terms.store, identity, ordinal)
        scale = scale_of(contract, aggregate)
        figures = {
            "aggregate": aggregate.name,
            "group": group_texts(aggregate, name),
            "lowest": _number(envelope.low, scale),
            "highest": _number(envelope.high, scale),
            "shown": _number(figure, scale),
        }
        finding = Finding(
            finding_id=finding_id,
            stage=stage,
            verdict=Verdict.DRIFT if stage is Stage.CONFIRMED else Verdict.AGREE,
            kind=DriftKind.AGGREGATE,
            checker="aggregate/1",
            contract_version=contract.version,
            entity=contract.entity,
            authority=contract.authority,
            replica=terms.store,
            canonical_key=identity,
            shard=partition,
            observations_partition=partition,
            evidence=Evidence(
                (),
                (),
                entity.watermark_ms[0] or 0,
                entity.watermark_ms[self.replica + 1] or 0,
                judged.at_ms - terms.window_ms,
                judged.at_ms,
                terms.window_ms,
            ),
            expected_digest=b"",
            intended_digest=b"",
            authority_position=judged.until.at,
            replica_position=judged.cut.at,
            transaction=0,
            incident_id=b"",
            incident_rows=0,
            command_id=b"",
            trace_id=hashlib.blake2b(finding_id, digest_size=16, person=b"driftline-trace").digest(),
            differing_columns=(aggregate.name,),
        )
        return Told(finding, json.dumps(figures).encode(), ordinal)

    # -- what is said of it --------------------------------------------------------------------------------------

    def status(
        self, entity: EntityProgress, books: Sequence[Book], newest_beacon_ms: int | None, late_after_ms: int
    ) -> AggregateStatus:
        """Return how the aggregate stands; `late_after_ms` is how far behind the newest beacon it may be judged."""
        terms = self._terms
        through_ms = self.judged_through_ms
        behind_ms = None if through_ms is None or newest_beacon_ms is None else max(0, newest_beacon_ms - through_ms)
        is_late = behind_ms is None or behind_ms > terms.window_ms + late_after_ms
        reason = self._reason(entity, books, is_late=is_late)
        drifts = self.open_drifts
        return AggregateStatus(
            entity=self.contract.entity,
            replica=terms.store,
            aggregate=self.contract.aggregates[self.aggregate].name,
            verdict=Verdict.UNKNOWN if reason else Verdict.DRIFT if drifts else Verdict.AGREE,
            reason=reason,
            groups=len(books[0].tallies[self.aggregate].groups),
            open_drifts=drifts,
            judged_through_ms=through_ms,
            behind_ms=behind_ms,
        )

    def _reason(self, entity: EntityProgress, books: Sequence[Book], *, is_late: bool) -> AggregateReason | None:
        pair = books[0], books[self.replica + 1]
        if entity.base_ms[self.replica] is None:
            return AggregateReason.UNCOVERED
        if any(book.cursor is not None for book in pair):
            return AggregateReason.READING
        if any(book.unreadable_rows for book in pair):
            return AggregateReason.UNREADABLE
        if self._is_over(books):
            return AggregateReason.TOO_MANY
        return AggregateReason.BEHIND if is_late else None


def _held_against(
    cut: Cut, authority: Sequence[Cut], timelines: tuple[Timeline, Timeline], window_ms: int
) -> _Judged | None:
    """Return between which of the authority's cuts a replica's is to be judged; None while the second is to come.

    The first is one that was surely a window before, the second one that was surely not before. Where there is none
    that early, the cut before all others stands for it, and nothing can be judged.
    """
    mine, theirs = timelines
    earliest_ms, latest_ms = theirs.bracket(cut.at)
    if latest_ms == OPEN:
        return None
    until = next((c for c in authority if mine.bracket(c.at)[0] >= latest_ms), None)
    if until is None:
        return None
    since = NO_CUT
    for c in authority:
        if mine.bracket(c.at)[1] > earliest_ms - window_ms:
            break
        since = c
    return _Judged(cut, earliest_ms, since, until)


def _drift_id(contract: EntityContract, replica: str, identity: bytes, ordinal: int) -> bytes:
    """Name a group's drift (16 bytes): told again after a kill, it has the same name."""
    h = hashlib.blake2b(digest_size=16, person=b"driftline-aggreg")
    for part in (str(contract.version), contract.entity, replica, str(ordinal)):
        h.update(len(part.encode()).to_bytes(4, "big") + part.encode())
    h.update(identity)
    return h.digest()


def _number(figure: int, scale: int) -> str:
    if not scale:
        return str(figure)
    digits = str(abs(figure)).rjust(scale + 1, "0")
    return f"{'-' if figure < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"
