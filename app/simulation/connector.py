"""A connector: reads its store's log, late and with all its accidents, into the partitions of CDC topics."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from app.core.beacon_writer import BeaconRow
from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.keys import cdc_partition_of
from app.simulation.setting import START_MS, Setting
from app.simulation.stores import Entry, Kind, Store

NEVER_MS: Final = 10**9
_MARKERS: Final = 0.05
_GOES_ON: Final = 0.3
_REPEATS: Final = 4
_REPEATED_MOST: Final = 60
_DIES_AGAIN: Final = 0.5
_DEAD_MS: Final = 1_500
_EARLY_MS: Final = 8_000
"""Until when a log or a snapshot may begin anew while the first one is hardly read."""
_BEHIND_MS: Final = (3_000, 6_000)
_UNTIL_STREAMING_MS: Final = (1_000, 4_000, 8_000)
_SNAPSHOT_LATE_MS: Final = 1_500
"""How much older than its first record a snapshot is: what was committed meanwhile comes as changes."""

Record = tuple[Entry, bool] | None
"""An entry and whether a snapshot read it; None is a transaction's marker: no record, but it takes a place."""


@dataclass(slots=True)
class Connector:
    """One store's connector and what it has written: `partitions` by topic and number."""

    setting: Setting
    store: Store
    diary: Diary
    partitions: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    starts_ms: int = START_MS
    sent: int = 0
    snapshots: int = 0
    _dice: Random = field(init=False)
    _lag_ms: int = field(init=False)
    _first: int = 0
    _stalls: list[tuple[int, int, int]] = field(default_factory=list)  # begin, end, and how far it falls behind
    _repeats_ms: list[int] = field(default_factory=list)
    _furthest: int = 0
    _again_ms: int = NEVER_MS
    _outage_ms: int = 0
    _restarted_ms: int = NEVER_MS
    _loses_end: bool = False
    _streams_ms: int = 0
    goes_on: bool = False  # in a log that began anew, as if it were the one that was: nothing proves what it shows
    _numbers: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        setting, name = self.setting, self.store.name
        self._dice = dice = setting.dice(f"connector {name}")
        self._lag_ms = dice.choice([10, 100, 400])
        for number in range(setting.cdc_partitions):
            self.partitions[self.store.topic, number] = []
        self.partitions[self.beacon_topic, 0] = []
        self.partitions[self.ledger_topic, 0] = []
        self.partitions[self.signal_topic, 0] = []
        is_last = name == setting.store_names[-1]
        if is_last and setting.has(Fault.REPLICA_COVERED_LATE):
            self.starts_ms = dice.randint(START_MS + 2_000, setting.end_ms)
            self.diary.note(Fault.REPLICA_COVERED_LATE, self.starts_ms, name)
        if is_last and setting.replicas > 1 and setting.has(Fault.REPLICA_NEVER_COVERED):
            self.starts_ms = NEVER_MS
            self.diary.note(Fault.REPLICA_NEVER_COVERED, 0, name)
        if setting.has(Fault.SNAPSHOT_TAKES_LONG) and self.starts_ms < setting.end_ms:
            until_ms = self.starts_ms + setting.dice(f"long snapshot {name}").choice(_UNTIL_STREAMING_MS)
            self._streams_ms = min(until_ms, setting.end_ms)
            self.diary.note(Fault.SNAPSHOT_TAKES_LONG, self.starts_ms, name)
        stall = Fault.REPLICA_CONNECTOR_STALLS if self.store.index else Fault.AUTHORITY_CONNECTOR_STALLS
        if setting.has(stall):
            begin = dice.randint(START_MS, setting.end_ms)
            length_ms = dice.choice([1_000, 8_000, 20_000])
            end = min(begin + length_ms, setting.end_ms)
            self._stalls.append((begin, end, dice.choice([length_ms, *_BEHIND_MS])))
            self.diary.note(stall, begin, name)
        if setting.snapshots_again and dice.random() < 0.7:  # noqa: PLR2004 - not in every store
            self._again_ms = self._anew_ms()
            self._outage_ms = dice.choice([0, 2_000, 6_000])
        elif setting.restarts_logs and dice.random() < 0.7:  # noqa: PLR2004 - not in every store
            self._restarted_ms = self._anew_ms()
            # Never in the same moment: a snapshot of the log that was would be all that there is of the new one.
            self._again_ms = self._restarted_ms + dice.choice([1, 2_000, 6_000])
            self._loses_end = dice.choice([True, False])
            if setting.goes_on_in_logs and dice.random() < _GOES_ON:
                self.goes_on, self._again_ms = True, NEVER_MS
        elif setting.has(Fault.CONNECTOR_REPEATS):
            self._repeats_ms = sorted(dice.sample(range(START_MS, setting.end_ms), _REPEATS))

    def _anew_ms(self) -> int:
        """Draw when something begins anew: at any time, or early."""
        dice = self._dice
        return dice.randint(START_MS + 4_000, dice.choice([START_MS + _EARLY_MS, self.setting.end_ms]))

    @property
    def restarts_log_ms(self) -> int:
        """When the store's log begins anew, `NEVER_MS` if it does not."""
        return self._restarted_ms

    @property
    def signal_topic(self) -> str:
        """The CDC topic in which slices are said to be complete."""
        return f"{self.store.name}.signal"

    @property
    def beacon_topic(self) -> str:
        """The CDC topic of the store's beacon table."""
        return f"{self.store.name}.beacon"

    @property
    def ledger_topic(self) -> str:
        """The CDC topic of the store's ledger."""
        return f"{self.store.name}.ledger"

    def partition_of(self, key: bytes) -> int:
        """Return the partition of a row's changes; of rows whose keys mean the same, one: see docs/simulation.md."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = cdc_partition_of(key, self.setting.cdc_partitions)
        return number

    def stands(self, now_ms: int) -> bool:
        """Whether nothing is delivered now."""
        return now_ms < self.starts_ms or any(
            begin <= now_ms < min(end, begin + behind) for begin, end, behind in self._stalls
        )

    def deliver(self, now_ms: int) -> None:
        """Write what the log holds by now into Kafka, as far as this connector gets."""
        if self.stands(now_ms):
            return
        if now_ms >= self._again_ms:
            if now_ms < self._again_ms + self._outage_ms or self._goes_unseen():
                return
            self._again_ms = NEVER_MS
            if self._restarted_ms == NEVER_MS:
                self.diary.note(Fault.CONNECTOR_SNAPSHOTS_AGAIN, now_ms, self.store.name)
            self._begin(len(self.store.log))
        elif not self.snapshots:
            late = sum(1 for e in self.store.log if e.at_ms <= self.starts_ms - _SNAPSHOT_LATE_MS)
            self._first = max(late, self.store.log_begins)
            self.goes_on = self.goes_on and now_ms < self._restarted_ms
            self._begin(self._first)
        if now_ms < self._streams_ms:
            return
        until = self._until(now_ms)
        if self._repeats_ms and now_ms >= self._repeats_ms[0]:
            self._repeats_ms.pop(0)
            self.diary.note(Fault.CONNECTOR_REPEATS, now_ms, self.store.name)
            self.sent = max(self.sent - self._dice.randint(1, _REPEATED_MOST), self._first)
            if self._dice.random() < _DIES_AGAIN:
                until = min(until, self.sent + self._dice.randint(1, _REPEATED_MOST))
                self._stalls.append((now_ms + 1, now_ms + _DEAD_MS, _DEAD_MS))
        self._stream(now_ms - self._behind_ms(now_ms), until)

    def _goes_unseen(self) -> bool:
        """Whether nobody can see that a place is lost now: no snapshot tells of it, and no beacon is lost with it."""
        is_silent = all(entry.kind is not Kind.BEACON for entry in self.store.log[self.sent :])
        return is_silent and self.store.name in self.setting.streams_alone

    def _until(self, now_ms: int) -> int:
        """Return how much of the log it may read; what it loses of a log that was, nobody tells any more."""
        if now_ms < self._restarted_ms or (self._again_ms == NEVER_MS and not self.goes_on):
            return len(self.store.log)
        if self.goes_on:
            self.sent = max(self.sent, self.store.log_begins if self._loses_end else 0)
            return len(self.store.log)
        return self.sent if self._loses_end else self.store.log_begins

    def _behind_ms(self, now_ms: int) -> int:
        """Return how old what it reads is: more while it cannot keep up."""
        return max(self._lag_ms, *(behind for begin, end, behind in self._stalls if begin <= now_ms < end), 0)

    def _stream(self, until_ms: int, until: int) -> None:
        log, sent = self.store.log, self.sent
        topic, beacons = self.store.topic, self.partitions[self.beacon_topic, 0]
        while sent < until and log[sent].at_ms <= until_ms:
            entry = log[sent]
            sent += 1
            is_again = sent <= self._furthest
            if entry.kind is Kind.BEACON:
                beacons.append((entry, False))
                if self._dice.random() < _MARKERS:
                    for partition in self.partitions.values():
                        partition.append(None)
            elif entry.kind is Kind.LEDGER:
                self.partitions[self.ledger_topic, 0].append((entry, False))
            elif entry.kind is Kind.SLICE:
                self.partitions[self.signal_topic, 0].append((entry, False))
            elif entry.kind is Kind.READ and is_again:
                pass  # a connector that starts again reads its chunk again: what an older one read comes never twice
            elif not entry.hidden:
                number = 0 if entry.kind is Kind.TRUNCATE else self.partition_of(entry.key)
                self.partitions[topic, number].append((entry, False))
        self.sent = sent
        self._furthest = max(self._furthest, sent)

    def _begin(self, n: int) -> None:
        """Go on behind n entries of the log, with what a snapshot shows of the table there, if it tells anything."""
        self.snapshots += 1
        self.sent = n
        if self.store.name not in self.setting.streams_alone:
            self._snapshot(n)
            return
        self._furthest = max(self._furthest, n)
        self.diary.note(Fault.SNAPSHOTS_TELL_NOTHING, self.store.log[n - 1].at_ms if n else 0, self.store.name)

    def _snapshot(self, n: int) -> None:
        """Deliver what the table shows after n entries of the log, as reads; the stream goes on from there."""
        rows: dict[tuple[bytes, bytes], int] = {}  # by key, and by how it is written if not as usual
        beacon: BeaconRow | None = None
        at_ms = 0
        for entry in self.store.log[:n]:
            at_ms = entry.at_ms
            if entry.kind is Kind.TRUNCATE:
                rows.clear()
            elif entry.kind is Kind.BEACON:
                beacon = entry.beacon
            elif entry.kind is Kind.ROW and entry.value is None:
                rows.pop((entry.key, entry.raw_key), None)
            elif entry.kind is Kind.ROW and entry.value is not None:
                rows[entry.key, entry.raw_key] = entry.value
        place = self.store.place_after(n)
        read = Entry(at_ms, Kind.BEACON, place, beacon=beacon or BeaconRow(0, 0, 0, 0), server=self.store.server)
        self.partitions[self.beacon_topic, 0].append((read, True))
        for (key, raw_key), value in rows.items():
            row = Entry(at_ms, Kind.ROW, place, key=key, value=value, raw_key=raw_key)
            self.partitions[self.store.topic, self.partition_of(key)].append((row, True))
        shared = {key: {raw or at for at, raw in rows if at == key} for key, raw_key in rows if raw_key}
        self.store.was_read(n, at_ms, {key: value for (key, _), value in rows.items()}, shared)
