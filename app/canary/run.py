"""The loop of the canary: read what is told, write what is due. What that proves is decided by `app.core.canary`.

It keeps nothing that it could not lose. A store that cannot be written is tried again, and what it held up proves
nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.codec.told_topics import ToldTopics
from app.core.canary import ENTITY, Canary, Deed, News, Word
from app.core.canary_proof import Doubt, Proof, Why
from app.core.canonical_key import decode_key
from app.core.contract import EntityContract
from app.core.errors import ContractViolation, DriftlineError, Undecodable, Unready
from app.core.published import PublishedFinding

_AGAIN_MS: Final = 5_000
_MARK: Final = ENTITY.encode()
"""What every record about the canary's table has in it, in whatever form it is written."""


class Record(Protocol):
    """One Kafka record."""

    @property
    def topic(self) -> str:
        """Its topic."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value."""
        ...


class CanaryRows(Protocol):
    """The canary's table in one store; each call is a transaction of its own and may raise `Unready`."""

    def highest(self) -> int:
        """Return the number of the newest row, 0 where there is none."""
        ...

    def write(self, row: int, state: int | None) -> None:
        """Give a row a state; None deletes it."""
        ...

    def clear_below(self, row: int) -> None:
        """Delete every row with a lower number."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class Tell(Protocol):
    """What the process says of itself; the shell gives logs and metrics."""

    def told(self, news: News) -> None:
        """Something came of a planting, or a false alarm was told."""
        ...

    def doubt_changed(self, doubt: Why | None) -> None:
        """The system says that it cannot know, and why; None: it can."""
        ...

    def stores_written(self, deed: Deed) -> None:
        """A deed is done in every store."""
        ...

    def store_is_down(self, fault: DriftlineError) -> None:
        """A store cannot be written; all is begun again."""
        ...

    def unreadable(self, topic: str, fault: Undecodable) -> None:
        """A record cannot be read; it is passed over."""
        ...


def word_of(
    published: PublishedFinding, contract: EntityContract, open_key: Callable[[str, bytes], bytes]
) -> Word | None:
    """Return what a finding says of the canary's table, None where it is about another entity, or names no drift."""
    finding = published.finding
    if finding.entity != contract.entity or finding.kind is None:
        return None
    row: int | None = None
    try:
        (value,) = decode_key(contract, open_key(finding.entity, published.sealed_key))
        row = value if isinstance(value, int) else None
    except Undecodable:
        pass  # it names no row of ours, which is what is told of it
    return Word(finding.finding_id, row, finding.replica, finding.kind, finding.stage)


@dataclass(slots=True)
class CanaryProcess:
    """Plants and mends until it is stopped. `rows` are the stores' tables, the authority's first.

    `read_word` returns what a finding says of the canary's table, if anything.
    """

    canary: Canary
    proof: Proof
    rows: Mapping[str, CanaryRows]
    told_topics: ToldTopics
    read_word: Callable[[PublishedFinding], Word | None]
    monotonic_ms: Callable[[], int]
    tell: Tell
    stopping: threading.Event = field(default_factory=threading.Event)
    _again_ms: int = 0
    _doubt: Why | None = Doubt.SILENT

    def run(self, records: Iterator[Record | None]) -> None:
        """Take records as they come (None: nothing came for a while) until stopped; leave no drift behind."""
        try:
            for record in records:
                if record is not None:
                    self.take(record)
                if self.stopping.is_set():
                    return
                self.step()
        finally:
            self._leave()

    def take(self, record: Record) -> None:
        """Take in what one record tells."""
        if _MARK not in (record.value or b""):
            return
        try:
            codec = self.told_topics.codec
            if record.topic == self.told_topics.statuses:
                report = codec.read_status(record.value)
                if report.entity == ENTITY:
                    self.proof.reported(report, self.monotonic_ms())
            else:
                word = self.read_word(codec.read_finding(record.value))
                if word is not None:
                    self._told(self.canary.heard(word, self.monotonic_ms()))
        except Undecodable as fault:
            self.tell.unreadable(record.topic, fault)

    def step(self) -> None:
        """Judge what was awaited for too long, and do what is due."""
        now_ms = self.monotonic_ms()
        doubt = self.proof.doubt(now_ms)
        if doubt is not self._doubt:
            self._doubt = doubt
            self.tell.doubt_changed(doubt)
        self._told(self.canary.look(now_ms, doubt))
        deed = self.canary.deed(now_ms, doubt)
        if deed is not None and now_ms >= self._again_ms:
            self._do(deed)

    def _do(self, deed: Deed) -> None:
        try:
            highest = max(rows.highest() for rows in self.rows.values())
            task = self.canary.begin(deed, highest, self.monotonic_ms())
            for change in task.changes:
                self.rows[change.store].write(change.row, change.state)
            if task.clears_below:
                for rows in self.rows.values():
                    rows.clear_below(task.clears_below)
        except Unready as fault:
            self._told(self.canary.failed())
            self._again_ms = self.monotonic_ms() + _AGAIN_MS
            self.tell.store_is_down(fault)
            return
        self._told(self.canary.done(self.monotonic_ms()))
        self.tell.stores_written(deed)

    def _told(self, news: Iterable[News]) -> None:
        for each in news:
            self.tell.told(each)

    def _leave(self) -> None:
        """Mend what is planted: nobody will await it. What cannot be mended now, the next life puts right."""
        try:
            self.canary.give_up()
            if self.canary.deed(self.monotonic_ms(), self._doubt) is Deed.MEND:
                self._do(Deed.MEND)
        except ContractViolation as fault:
            self.tell.store_is_down(fault)
        finally:
            for rows in self.rows.values():
                rows.close()
