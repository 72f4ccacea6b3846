"""Ten times the load for a while: by how much verdicts are late then, and how often offsets move.

That none is lost and none is false is what `WholePath.check` is for: it ends the bench otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

from app.bench.deployment import observations_of
from app.bench.latency import Delays, delays_of
from app.bench.progress import Progress
from app.bench.verdicts import Verdicts
from app.bench.whole_path import WholePath

TIMES: Final = 10
CALM_PERCENT: Final = 20
"""Of what a worker can take: the burst is twice of that."""

_CALM_SHARE: Final = 0.25
_LOOK_EVERY_S: Final = 0.05

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Burst:
    """What a burst did. Offsets of partitions that had more to read stood for so long.

    Partitions of change topics also stand where they wait for others of their entity; observations wait for nobody.
    """

    calm_changes_per_s: float
    delays: Delays
    changes_stood_ms: Sequence[float]
    observations_stood_ms: Sequence[float]
    peak_rss_bytes: int


class Stands:
    """How long each partition's offset stood although there was more to read."""

    def __init__(self) -> None:
        self._stood: dict[Place, tuple[int, float]] = {}
        self.ms: dict[Place, list[float]] = {}

    def see(self, place: Place, offset: int, end: int, now_s: float) -> None:
        """Take what was committed of a partition, where it ended, and when that was looked at."""
        stood, since_s = self._stood.get(place, (offset, now_s))
        if offset > stood:
            self.ms.setdefault(place, []).append((now_s - since_s) * 1_000)
        # At its end an offset has no reason to move.
        self._stood[place] = offset, now_s if offset != stood or offset >= end else since_s

    def of(self, topics: Collection[str]) -> list[float]:
        """Return how long the offsets of these topics stood, each time that one did."""
        return [stood_ms for (topic, _), stood in self.ms.items() if topic in topics for stood_ms in stood]


class OffsetWatch:
    """Looks at committed offsets while a load runs; a context."""

    def __init__(self, progress: Progress, topics: Iterable[str]) -> None:
        self._progress = progress
        self._topics = list(topics)
        self._ended = Event()
        self._looking = Thread(target=self._look, daemon=True)
        self.stands = Stands()

    def __enter__(self) -> Self:
        """Begin to look."""
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look no more."""
        self._ended.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            ends = self._progress.ends(self._topics)
            now_s = time.monotonic()
            for place, offset in (self._progress.committed(ends) or {}).items():
                self.stands.see(place, offset, ends[place], now_s)


def measure_burst(path: WholePath, calm_per_s: float, seconds: float) -> Burst:
    """Run a worker under a calm load of both stores together, then ten times as much, and look at what it told."""
    deployment = path.deployment
    topics = [*deployment.item_topics, observations_of(deployment)]
    with deployment.worker() as worker, Progress(deployment.clients, deployment.group) as progress:
        worker.until_ready()
        path.logs.write_live(calm_per_s / 2, seconds * _CALM_SHARE)
        began_s, began_cpu_s = time.monotonic(), worker.cpu_s
        with OffsetWatch(progress, topics) as watch:
            live = path.logs.write_live(calm_per_s * TIMES / 2, seconds)
        cores = (worker.cpu_s - began_cpu_s) / (time.monotonic() - began_s)
        path.catch_up(progress, worker)
        path.check(worker)
        verdicts = Verdicts(deployment)
        told = delays_of(live.damages, list(verdicts.drifts()), verdicts)
        peak_bytes = worker.peak_rss_bytes
    return Burst(
        calm_changes_per_s=calm_per_s,
        delays=Delays(calm_per_s * TIMES, told, cores, live.late_ms),
        changes_stood_ms=watch.stands.of(deployment.item_topics),
        observations_stood_ms=watch.stands.of([observations_of(deployment)]),
        peak_rss_bytes=peak_bytes,
    )
