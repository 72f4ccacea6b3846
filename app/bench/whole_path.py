"""The whole path: raw changes of two stores in, verdicts out, both hops and the changelog, by a real worker process.

The snapshot of every row is read first, so that everything is covered and the state is as large as it is to be. Then,
as often as asked, a stretch of changes is written while no worker runs, and a worker is started and measured from the
moment it holds its partitions until it has committed everything and told every drift that was planted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.bench.deployment import Deployment, WorkerProcess, observations_of
from app.bench.logs import Logs
from app.bench.process_cost import folder_bytes
from app.bench.progress import Progress, until
from app.bench.topic_sizes import topic_bytes
from app.bench.verdicts import Verdicts

_LIMIT_S: Final = 3_600.0
_PROVEN_S: Final = 120.0
_SWEPT_KEYS_PER_S: Final = 10_000
"""Of a snapshot all keys are swept before anything is proven."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a worker did between two moments: changes of both stores together, and what they left behind."""

    changes: int
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    findings: int
    input_bytes: int
    observations_bytes: int
    changelog_bytes: int
    state_bytes: int
    state_keys: int

    @property
    def changes_per_s(self) -> float:
        """Changes in a second of the wall's clock."""
        return self.changes / self.wall_s

    @property
    def changes_per_s_per_core(self) -> float:
        """Changes in a second of the worker's CPU time."""
        return self.changes / self.cpu_s


class WholePath:
    """A deployment, and a worker that is measured over what its logs grew by."""

    def __init__(self, deployment: Deployment, say: Say) -> None:
        self.deployment = deployment
        self.logs = Logs(deployment)
        self._say = say
        self._read = 0
        self._sizes = self._topic_bytes()

    def read_snapshot(self) -> Measured:
        """Have every row read and covered, and return what that took."""
        load = self.deployment.load
        self._say(f"{load.name}: writing a snapshot of {load.keys:,} rows in two stores")
        self.logs.write_snapshot()
        return self._measure()

    def measure(self, changes: int) -> Measured:
        """Write so many changes of both stores together, have a worker judge them, and return what that took."""
        self._say(f"{self.deployment.load.name}: writing {changes:,} changes")
        self.logs.write(changes // 2)
        return self._measure()

    def catch_up(self, progress: Progress, worker: WorkerProcess) -> None:
        """Wait until every change that was written so far is read, and every row of it folded."""
        deployment = self.deployment
        inputs = progress.ends([*deployment.item_topics, *deployment.beacon_topics])
        until(lambda: progress.has_committed(inputs), worker.check, _LIMIT_S, "every change read")
        between = progress.ends([observations_of(deployment)])
        until(lambda: progress.has_committed(between), worker.check, _LIMIT_S, "every row folded")

    def check(self, worker: WorkerProcess) -> int:
        """Return how many drifts were found, once everything is proven; raise unless they are those planted."""
        verdicts, due_ms = Verdicts(self.deployment), self.logs.due_ms
        until(
            lambda: not verdicts.unproven(due_ms),
            worker.check,
            _PROVEN_S + self.deployment.load.keys / _SWEPT_KEYS_PER_S,
            f"everything proven through {due_ms}",
            instead=lambda: f"by partition {verdicts.unproven(due_ms)}, in {worker.log}:\n{worker.newest_lines()}",
        )
        return verdicts.check(self.logs.planted)

    def _measure(self) -> Measured:
        deployment = self.deployment
        with Progress(deployment.clients, deployment.group) as progress:
            read = sum(progress.ends(deployment.item_topics).values())
            with deployment.worker() as worker:
                worker.until_ready()
                began_s, began_cpu_s = time.monotonic(), worker.cpu_s
                self.catch_up(progress, worker)
                wall_s, cpu_s = time.monotonic() - began_s, worker.cpu_s - began_cpu_s
                findings = self.check(worker)
                peak_bytes = worker.peak_rss_bytes
        sizes = self._topic_bytes()
        grown = {name: size - self._sizes[name] for name, size in sizes.items()}
        changes, self._read, self._sizes = read - self._read, read, sizes
        return Measured(
            changes=changes,
            wall_s=wall_s,
            cpu_s=cpu_s,
            peak_rss_bytes=peak_bytes,
            findings=findings,
            input_bytes=sum(grown[name] for name in deployment.item_topics),
            observations_bytes=grown[observations_of(deployment)],
            changelog_bytes=grown[deployment.changelog],
            state_bytes=folder_bytes(deployment.state_folder),
            state_keys=deployment.load.keys + len(self.logs.planted),
        )

    def _topic_bytes(self) -> dict[str, int]:
        deployment = self.deployment
        names = [*deployment.item_topics, observations_of(deployment), deployment.changelog]
        return topic_bytes(deployment.bootstrap, names)
