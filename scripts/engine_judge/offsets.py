"""Whether a committed offset was ever ahead of its effects, sampled while the workers run and are killed.

The claim has two halves, one for each hop:

1. What a group has committed of a change topic has been told to every receiver: in each partition of `observations`
   the chain of links for that partition of changes reaches at least as far.
2. What a group has committed of a partition of `observations` has been taken in: the chains that its records tell below
   that offset are at most those which the changelog of the same partition says were reached. The changelog's record of
   a chain comes behind the rows that it stands for, so it stands for them.

A sample asks for the committed offsets first, then for the ends of `observations` and changelog, reads both to these
ends, and compares. An effect that was there when its offset was committed is below those ends, so a sample never
accuses wrongly. One that was missing then may have come in the milliseconds between the two questions and be missed;
therefore the drill also samples right after it has killed every worker at once, when nobody can add an effect any more.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from engine_judge.deployment import Deployment
from engine_judge.links import Chains, Link, links_of
from engine_judge.state import is_swept, reached
from engine_judge.topics import AT_ONCE, bare_consumer, partitions_of

_READ_WITHIN_S = 60.0

At = tuple[str, int]


@dataclass
class Receiver:
    """One partition of `observations` and of the changelog."""

    told: Chains = field(default_factory=Chains)  # by everything in `observations`
    waiting: deque[tuple[int, tuple[Link, ...]]] = field(default_factory=deque)  # by offset, not committed yet
    committed: Chains = field(default_factory=Chains)  # by what is below the committed offset
    taken_in: dict[At, int] = field(default_factory=dict)  # by the changelog
    is_swept: bool = False

    def heard(self, offset: int, links: Iterable[Link]) -> None:
        """Take in one record of `observations`."""
        kept = tuple(links)
        self.told.take(kept)
        self.waiting.append((offset, kept))

    def commit(self, offset: int) -> None:
        """Take in that the group has committed everything below an offset."""
        while self.waiting and self.waiting[0][0] < offset:
            self.committed.take(self.waiting.popleft()[1])


def ahead(committed: dict[At, int], receivers: dict[int, Receiver]) -> list[str]:
    """Compare one sample; `committed` holds the change topics' offsets. Empty if no offset is ahead."""
    faults = []
    for number, receiver in receivers.items():
        for (topic, partition), offset in committed.items():
            told = receiver.told.reached.get((topic, partition), 0)
            if offset > told:
                faults.append(f"{topic}[{partition}] is committed at {offset}, but receiver {number} was told {told}")
        for (topic, partition), at in receiver.committed.reached.items():
            taken_in = receiver.taken_in.get((topic, partition), 0)
            if at > taken_in:
                faults.append(
                    f"observations[{number}] is committed beyond {topic}[{partition}] at {at}, "
                    f"but its changelog has {taken_in}"
                )
    return faults


class OffsetWatch:
    """Samples in the background; `exact` samples at once. A broker that does not answer makes no sample."""

    def __init__(self, deployment: Deployment, every_s: float = 0.5) -> None:
        self._deployment = deployment
        self._every_s = every_s
        self._asking = bare_consumer(deployment.bootstrap, deployment.group)
        self._reading: Consumer | None = None
        self._sources = [
            TopicPartition(topic, partition)
            for topic in deployment.change_topics
            for partition in partitions_of(self._asking, topic)
        ]
        numbers = range(deployment.partitions)
        self._read_places = [
            TopicPartition(topic, partition)
            for topic in (deployment.observations, deployment.changelog)
            for partition in numbers
        ]
        self._next: dict[At, int] = dict.fromkeys(((p.topic, p.partition) for p in self._read_places), 0)
        self.receivers = {number: Receiver() for number in numbers}
        self.samples = self.exact_samples = 0
        self.faults: list[str] = []
        self.committed: dict[At, int] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="offsets", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """Sample no more."""
        self._over.set()
        self._thread.join(timeout=2 * _READ_WITHIN_S)
        self._asking.close()
        if self._reading is not None:
            self._reading.close()

    def exact(self) -> None:
        """Sample while no worker runs."""
        self.exact_samples += self._sample()

    def committed_changes(self) -> int:
        """Return how many records of the change topics the group had committed at the last sample."""
        return sum(self.committed.values())

    def has_taken_in(self, ends: Mapping[At, int]) -> bool:
        """Whether every receiver's changelog has reached these ends of the change topics."""
        return all(r.taken_in.get(at, 0) >= end for r in self.receivers.values() for at, end in ends.items())

    def is_swept(self) -> bool:
        """Whether every receiver has coverage and has judged all rows."""
        return all(receiver.is_swept for receiver in self.receivers.values())

    @property
    def is_awake(self) -> bool:
        """Whether samples are still taken."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._sample()
            except Exception as error:  # noqa: BLE001 - a watch that sleeps must fail the drill
                self.faults.append(f"the watch of offsets stopped: {type(error).__name__}: {error}")
                return

    def _sample(self) -> bool:
        """Take one sample; False if the broker does not answer, or does not have all topics yet."""
        with self._lock:
            try:
                if self._reading is None and not self._are_there():
                    return False
                committed = self._committed()
                ends = {
                    (place.topic, place.partition): self._asking.get_watermark_offsets(place, timeout=10)[1]
                    for place in self._read_places
                }
                complete = self._read_to(ends)
            except KafkaException:
                # A client that was told once that a topic or leader is not there may believe it for ever.
                self._asking = bare_consumer(self._deployment.bootstrap, self._deployment.group)
                return False
            if not complete:
                return False
            for number, receiver in self.receivers.items():
                receiver.commit(committed.pop((self._deployment.observations, number), 0))
            self.committed = committed
            self.samples += 1
            self.faults += [fault for fault in ahead(committed, self.receivers) if fault not in self.faults]
            return True

    def _are_there(self) -> bool:
        """Whether the workers have made their topics; a client that asks for one too early never sees it."""
        known = self._asking.list_topics(timeout=10).topics
        return self._deployment.observations in known and self._deployment.changelog in known

    def _committed(self) -> dict[At, int]:
        observed = [place for place in self._read_places if place.topic == self._deployment.observations]
        places = self._asking.committed([*self._sources, *observed], timeout=10)
        for place in places:
            if place.error is not None:
                raise KafkaException(place.error)
        return {(place.topic, place.partition): max(0, place.offset) for place in places}

    def _read_to(self, ends: Mapping[At, int]) -> bool:
        if self._reading is None:
            self._reading = bare_consumer(self._deployment.bootstrap)
            self._reading.assign([TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in self._read_places])
        until = time.monotonic() + _READ_WITHIN_S
        while missing := sum(max(0, end - self._next[at]) for at, end in ends.items()):
            if time.monotonic() > until:
                return False
            # More than there is would be waited for.
            for message in self._reading.consume(min(AT_ONCE, missing), timeout=0.2):
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                # Errors are the broker's absence: what they held up comes again.
                if message.error() is None and topic is not None and partition is not None and offset is not None:
                    self._next[topic, partition] = offset + 1
                    self._take(self.receivers[partition], topic, offset, message.key(), message.value())
        return True

    def _take(self, receiver: Receiver, topic: str, offset: int, key: bytes | None, value: bytes | None) -> None:
        if value is None:
            return
        if topic == self._deployment.observations:
            receiver.heard(offset, links_of(value))
        elif key is not None:
            found = reached(key, value)
            if found is not None:
                receiver.taken_in[found[:2]] = found[2]
            swept = is_swept(key, value)
            receiver.is_swept = receiver.is_swept if swept is None else swept
