"""The loop of the conductor: read what comes, ask the stores, write signals. What to do is decided by `app.core`.

It keeps nothing that it could not lose: after a kill it begins the slice again that it was at, from the progress that
it has published. A store that cannot be asked holds up no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.codec.envelope import Decoder
from app.codec.slice_signals import SignalForm, SignalRow, SliceWord, begin_row, is_slice_id, name_of, whole_row
from app.codec.told_topics import ToldTopics
from app.core.conducting import Bound, Concluded, Desk, Done, Look, Part, Slice
from app.core.errors import DriftlineError, Undecodable, Unready
from app.core.event import ChangeEvent, Operation, Reading
from app.core.finding import Finding, Stage
from app.core.switch import Control, Said

_AGAIN_MS: Final = 5_000
_GAPS_MAX: Final = 100_000
_MARK: Final = b"incremental"
"""What every record of a row that was read again has in it, in whatever form it is written."""


class Record(Protocol):
    """One Kafka record."""

    @property
    def topic(self) -> str:
        """Its topic."""
        ...

    @property
    def key(self) -> bytes | None:
        """Its key."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value."""
        ...


class SliceStore(Protocol):
    """One store's tables as the conductor sees them; every call may raise `Unready`."""

    @property
    def signal_table(self) -> str:
        """The name of the signal table, as `schema.table`."""
        ...

    @property
    def form(self) -> SignalForm:
        """What its connector's conditions are written in."""
        ...

    def bound(self, look: Look) -> Bound:
        """Return the key that ends the next slice."""
        ...

    def condition(self, part: Part, after: tuple[str, ...], end: tuple[str, ...]) -> str:
        """Return the condition that chooses the rows behind one key, up to another."""
        ...

    def signal(self, row: SignalRow) -> None:
        """Add a row to the signal table."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class Tell(Protocol):
    """What the process says of itself; the shell gives logs and metrics."""

    def began(self, store: str, begun: Slice) -> None:
        """A slice is being read."""
        ...

    def concluded(self, store: str, concluded: Concluded) -> None:
        """A slice is over."""
        ...

    def store_is_down(self, store: str, fault: DriftlineError) -> None:
        """A store cannot be asked; it is tried again."""
        ...

    def unreadable(self, topic: str, fault: Undecodable) -> None:
        """A record cannot be read; it is passed over."""
        ...


@dataclass(frozen=True, slots=True)
class Feeds:
    """What the conductor reads: what workers tell, words, and by topic signal tables and tables, with their store."""

    told: ToldTopics
    words: str
    read_word: Callable[[bytes | None], Control]
    signals: Mapping[str, tuple[str, Decoder]]
    tables: Mapping[str, tuple[str, Decoder]]

    @property
    def topics(self) -> list[str]:
        """Every topic."""
        return [*self.told.topics, self.words, *self.signals, *self.tables]


@dataclass(slots=True)
class Conductor:
    """Has slices read again until it is stopped; `keep` publishes how far a table is, `new_slice_id` names a slice."""

    desks: Mapping[str, Desk]
    stores: Mapping[str, SliceStore]
    feeds: Feeds
    keep: Callable[[Done], None]
    new_slice_id: Callable[[], str]
    monotonic_ms: Callable[[], int]
    wall_ms: Callable[[], int]
    tell: Tell
    stopping: threading.Event = field(default_factory=threading.Event)
    _again_ms: dict[str, int] = field(default_factory=dict)
    _unsaid: dict[str, SliceWord] = field(default_factory=dict)
    _unkept: set[tuple[str, str]] = field(default_factory=set)  # store and entity
    _gaps: dict[bytes, None] = field(default_factory=dict)  # findings that were counted: a record may come twice

    def run(self, records: Iterator[Record | None]) -> None:
        """Take records as they come (None: nothing came for a while) until stopped."""
        try:
            for record in records:
                if record is not None:
                    self.take(record)
                if self.stopping.is_set():
                    return
                self.step()
        finally:
            for store in self.stores.values():
                store.close()

    def take(self, record: Record) -> None:
        """Take in what one record tells."""
        feeds = self.feeds
        try:
            if record.topic == feeds.told.statuses:
                self._take_status(record.value)
            elif record.topic == feeds.told.findings:
                self._take_finding(feeds.told.codec.read_finding(record.value).finding)
            elif record.topic == feeds.words:
                self._take_word(feeds.read_word(record.value))
            elif record.topic in feeds.signals:
                store, decoder = feeds.signals[record.topic]
                self._take_signal(self.desks[store], decoder.decode(record.key, record.value))
            elif _MARK in (record.value or b""):
                store, decoder = feeds.tables[record.topic]
                event = decoder.decode(record.key, record.value)
                if event is not None and event.reading is Reading.INCREMENTAL:
                    self.desks[store].seen_row(record.topic)
        except Undecodable as fault:
            self.tell.unreadable(record.topic, fault)
        except Unready as fault:
            # A registry that is away: the slice at hand stays unproven and is read again.
            self.tell.unreadable(record.topic, Undecodable("unready", fault.what))

    def _take_status(self, value: bytes | None) -> None:
        if value is not None:
            report = self.feeds.told.codec.read_status(value)
            for desk in self.desks.values():
                desk.seen_status(report)

    def _take_word(self, word: Control) -> None:
        """Have the tables of a quarantined shard read again at once: it stays so until they were."""
        if word.shard and word.said is not Said.RESUME:
            entity = word.shard.partition("/")[0]
            for desk in self.desks.values():
                # A word that claims to come from the future would have them read without an end.
                desk.ask(entity, min(word.at_ms, self.wall_ms()))

    def _take_finding(self, finding: Finding) -> None:
        if finding.stage is Stage.NOTED and finding.finding_id not in self._gaps and finding.replica in self.desks:
            self._gaps[finding.finding_id] = None
            if len(self._gaps) > _GAPS_MAX:
                del self._gaps[next(iter(self._gaps))]
            if self.desks[finding.replica].seen_gap(finding.entity):
                self._unkept.add((finding.replica, finding.entity))

    def _take_signal(self, desk: Desk, event: ChangeEvent | None) -> None:
        name = name_of(event.after) if event is not None and event.after is not None else None
        if event is None or not isinstance(name, str) or not is_slice_id(name):
            return
        if event.reading is Reading.INCREMENTAL:
            desk.seen_end(name, self.monotonic_ms())
        elif event.reading is Reading.LIVE and event.operation is Operation.CREATE:
            desk.seen_begin(name, event.place)

    def step(self) -> None:
        """Do what is due in each store."""
        for name, desk in self.desks.items():
            if self._again_ms.get(name, 0) > self.monotonic_ms():
                continue
            try:
                self._tend(name, desk, self.stores[name])
            except Unready as fault:
                self._again_ms[name] = self.monotonic_ms() + _AGAIN_MS
                self.tell.store_is_down(name, fault)

    def _tend(self, name: str, desk: Desk, store: SliceStore) -> None:
        current = desk.slice
        concluded = desk.conclude(self.monotonic_ms(), self.wall_ms())
        if concluded is not None and current is not None:
            self.tell.concluded(name, concluded)
            if concluded.word is not None:
                low, high, begun = concluded.word
                entity = current.part.contract.entity
                self._unsaid[name] = SliceWord(current.slice_id, entity, low, high, begun)
            self._unkept.add((name, current.part.contract.entity))
        self._say(name, desk, store)
        look = desk.look(self.monotonic_ms(), self.wall_ms(), self._finished())
        if look is None:
            return
        bound = store.bound(look)
        started = desk.begin(look, bound, self.new_slice_id(), self.monotonic_ms(), self.wall_ms())
        if started is None:
            self.keep(desk.done_of(look.part))
            return
        condition = store.condition(started.part, started.after, started.end)
        table = started.part.contract.table_of(name).table
        store.signal(begin_row(started.slice_id, table, store.signal_table, condition, store.form))
        self.tell.began(name, started)

    def _say(self, name: str, desk: Desk, store: SliceStore) -> None:
        """Say what is due of the last slice. Progress is kept behind its word: after a kill the slice is read again."""
        if name in self._unsaid:
            store.signal(whole_row(self._unsaid[name]))
            del self._unsaid[name]
        for at in [at for at in self._unkept if at[0] == name]:
            self._unkept.discard(at)
            self.keep(desk.done[at[1]])

    def _finished(self) -> dict[tuple[str, str], int]:
        return {
            (part.contract.entity, part.store): desk.done_of(part).finished
            for desk in self.desks.values()
            for part in desk.parts
            if part.is_supported
        }
