"""Records of the topics -> rows of the history, and how far it has read, in one transaction.

Killed anywhere, it goes on with the first record that is not in the tables; what it reads twice leaves nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from app.core.errors import ContractViolation, Undecodable
from app.core.history.tables import Entry, Place, Told, entries_of, unreadable_entry
from app.ports import HistoryStore, Span, Spans
from app.topics import APPROVALS, CONTROL, DRIFTS, OUTCOMES, REHEARSALS, REPAIRS, Topic

TOPICS: Final[tuple[Topic, ...]] = (DRIFTS, REPAIRS, APPROVALS, REHEARSALS, OUTCOMES, CONTROL)
"""What the history is made from."""

_AT_ONCE: Final = 500
"""Records in one transaction."""


class Record(Protocol):
    """One Kafka record."""

    @property
    def topic(self) -> str:
        """Its topic."""
        ...

    @property
    def partition(self) -> int:
        """Its partition."""
        ...

    @property
    def offset(self) -> int:
        """Its offset."""
        ...

    @property
    def at_wall_ms(self) -> int:
        """Its timestamp."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its bytes."""
        ...


Readers = Mapping[str, Callable[[bytes | None], Told]]
"""What decodes the records of a dataset; `Undecodable` if it cannot."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Puts records into the history of one deployment."""

    deployment: str
    store: HistoryStore
    readers: Readers

    def topics(self) -> dict[str, str]:
        """Return the datasets by the names of their topics."""
        return {topic.name(self.deployment): topic.dataset for topic in TOPICS}

    def begin(self) -> dict[tuple[str, int], int]:
        """Return where to go on reading, by topic and partition."""
        names = {dataset: name for name, dataset in self.topics().items()}
        return {
            (names[dataset], partition): span.next_offset for (dataset, partition), span in self.store.spans().items()
        }

    def take(self, records: Iterable[Record]) -> None:
        """Write the rows of records and how far they go, in one transaction."""
        with self.store.transaction():
            self.write(records)

    def write(self, records: Iterable[Record]) -> None:
        """Write them within the transaction that there is."""
        datasets = self.topics()
        entries: list[Entry] = []
        spans: dict[tuple[str, int], Span] = {}
        for record in records:
            place = Place(datasets[record.topic], record.partition, record.offset, record.at_wall_ms)
            entries += self._entries(place, record.value)
            span = Span(record.offset, record.offset + 1)
            at = (place.dataset, place.partition)
            spans[at] = spans.get(at, span).joined(span)
        self.store.add(entries)
        self.store.have_read(spans)

    def _entries(self, place: Place, value: bytes | None) -> list[Entry]:
        try:
            return list(entries_of(place, self.readers[place.dataset](value)))
        except Undecodable as fault:
            return [unreadable_entry(place, fault.reason)]

    def follow(self, records: Iterable[Record | None], is_stopped: Callable[[], bool] = lambda: False) -> int:
        """Take records as they come, None standing for a moment without one; return how many, once it is stopped."""
        count = 0
        for part in _parts(records):
            if part:
                self.take(part)
                count += len(part)
            if is_stopped():
                break
        return count

    def rebuild(self, records: Iterable[Record]) -> int:
        """Make the tables anew from all records, in one transaction: until it is done, the old ones stand."""
        count = 0
        with self.store.transaction():
            self.store.drop()
            self.store.make()
            for part in _parts(records):
                self.write(part)
                count += len(part)
        return count


def _parts(records: Iterable[Record | None]) -> Iterator[list[Record]]:
    """Yield records in parts of bounded size, and what there is whenever no more comes at once."""
    part: list[Record] = []
    for record in records:
        if record is not None:
            part.append(record)
        if record is None or len(part) >= _AT_ONCE:
            yield part
            part = []
    yield part


Offsets = Mapping[tuple[str, int], int]
"""Offsets by dataset and partition."""


def check_same_topics(spans: Spans, latest: Offsets) -> None:
    """Raise `ContractViolation` if more has been read of a partition than it has: its topic was made anew."""
    for (dataset, partition), span in spans.items():
        if span.next_offset > latest.get((dataset, partition), 0):
            raise ContractViolation(
                "the topic ends before what the history has read of it: it was made anew, or is another's",
                where=f"{dataset}[{partition}]",
                hint="`driftline history rebuild --forget` begins with the topics as they are",
            )


def deleted_unread(spans: Spans, earliest: Offsets) -> dict[tuple[str, int], int]:
    """Return how many offsets Kafka has deleted before they were read, by dataset and partition."""
    missed = {at: offset - (spans[at].next_offset if at in spans else 0) for at, offset in earliest.items()}
    return {at: count for at, count in missed.items() if count > 0}


def check_nothing_forgotten(spans: Spans, earliest: Offsets) -> None:
    """Raise `ContractViolation` if the history holds what Kafka has deleted meanwhile: it could not be read again."""
    for (dataset, partition), span in spans.items():
        if earliest.get((dataset, partition), 0) > span.first_offset:
            raise ContractViolation(
                "the history holds records that Kafka has deleted: made anew, it would not have them",
                where=f"{dataset}[{partition}]",
                hint="copy it first; `--forget` makes it anew all the same",
            )
