"""How soon a worker is back: its state read again from the changelog, and after a kill to its first verdict.

And how soon another one that kept a copy of the state stands in for it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final

from app import observe
from app.adapters.system_clock import wall_ms
from app.agents.run import COPIES_TOLD_EVERY_S
from app.bench.deployment import WorkerProcess, observations_of
from app.bench.process_cost import CPU_TICK_S
from app.bench.progress import GroupMembers, Offsets, Progress, until
from app.bench.verdicts import Verdicts
from app.bench.whole_path import WholePath
from app.core.errors import Unready

_KILL_EVERY_S: Final = 15.0
_AFTER_S: Final = 5.0
_VERDICT_S: Final = 120.0
_BEGIN_S: Final = 120.0
_COPIED_S: Final = 600.0
_TAKE_OVER_S: Final = 40.0
_LOAD_PER_S: Final = 1_000
"""A light load: what is measured is the way back, not the work that waited."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """One recovery of a whole state, from the first file of the new state until the worker holds its partitions."""

    keys: int
    records: int
    seconds: float
    cpu_s: float


def recover(path: WholePath) -> Recovered:
    """Take a worker's state away, and return what it takes to have it again."""
    deployment = path.deployment
    with Progress(deployment.clients, deployment.group) as progress:
        records = sum(progress.ends([deployment.changelog]).values())
    shutil.rmtree(deployment.state_folder)
    deployment.state_folder.mkdir()
    with deployment.worker() as worker:
        until(lambda: _is_begun(deployment.state_folder), worker.check, _BEGIN_S, "a new state", every_s=0.005)
        began_s, began_cpu_s = time.monotonic(), worker.cpu_s
        worker.until_ready()
        seconds, cpu_s = time.monotonic() - began_s, worker.cpu_s - began_cpu_s
    return Recovered(deployment.load.keys, records, seconds, max(cpu_s, CPU_TICK_S))


def _is_begun(folder: Path) -> bool:
    """Whether RocksDB has opened a database of the state: each has a file `CURRENT`."""
    return next(folder.rglob("CURRENT"), None) is not None


def kill_and_time(path: WholePath, times: int) -> list[float]:
    """Kill a worker under a light load of drifts, start it again at once, and return the seconds to its next verdict.

    The worker keeps its name, and so its place in the group. In the end every planted drift must have been told.
    """
    deployment = path.deployment
    seconds: list[float] = []
    worker = deployment.start()
    try:
        worker.until_ready()
        with _load(path, _KILL_EVERY_S * times + _AFTER_S):
            verdicts = Verdicts(deployment)
            for _ in range(times):
                _until_told_after(verdicts, wall_ms(), worker.check)
                worker.kill()
                killed_at_ms = wall_ms()
                worker = deployment.start()
                seconds.append((_until_told_after(verdicts, killed_at_ms, worker.check) - killed_at_ms) / 1_000)
        path.check(worker)
        worker.stop()
    finally:
        if worker.process.poll() is None:
            worker.kill()
    return seconds


@contextmanager
def _load(path: WholePath, seconds: float) -> Iterator[None]:
    """Have a light load written, for so long at least and until the block ends, and some more of it after that.

    How far everything is proven is not kept over a restart, nor the barriers that wait for partitions which move: the
    beacons that come later tell it again.
    """
    is_over = Event()

    def write() -> None:
        path.logs.write_live(_LOAD_PER_S, seconds)
        while not is_over.is_set():
            path.logs.write_live(_LOAD_PER_S, seconds)

    with ThreadPoolExecutor(1) as beside:
        load = beside.submit(write)
        try:
            yield
        finally:
            is_over.set()
        load.result()
    path.logs.write_live(_LOAD_PER_S, _AFTER_S)


@dataclass(frozen=True, slots=True)
class TakenOver:
    """How soon one worker stands in for another that was killed, in seconds from the moment the group has noticed.

    `moved_s`: it has folded and committed some of each partition that had something left. `caught_up_s`: all of it,
    which is what came while the group waited for the one that was gone.
    """

    moved_s: float
    caught_up_s: float


def take_over(path: WholePath, times: int) -> list[TakenOver]:
    """Kill one of two workers for good under a light load, and return how soon the other stands in for it.

    It keeps a copy of the other's state, and has all of it by then.
    """
    return [_take_over_once(path) for _ in range(times)]


def has_copied(worker: WorkerProcess) -> Callable[[], bool]:
    """Return what tells whether a worker has all of the other's state: it said so for more than one of its looks."""
    whole_since_s: float | None = None

    def is_whole() -> bool:
        nonlocal whole_since_s
        now_s = time.monotonic()
        if not worker.is_ready() or worker.gauge(observe.STATE_COPIES_LEFT) > 0:
            whole_since_s = None
        elif whole_since_s is None:
            whole_since_s = now_s
        return whole_since_s is not None and now_s - whole_since_s > 2 * COPIES_TOLD_EVERY_S

    return is_whole


def _take_over_once(path: WholePath) -> TakenOver:
    deployment = path.deployment
    workers = [deployment.start(name, standby_replicas=1) for name in ("worker-1", "worker-2")]
    killed, left = workers
    members = GroupMembers(deployment.clients, deployment.group)
    try:
        for worker in workers:
            worker.until_ready()
        until(lambda: members.count() == len(workers), left.check, _BEGIN_S, "both workers in their group")
        until(has_copied(left), left.check, _COPIED_S, "a whole copy of the other's state")
        with _load(path, _TAKE_OVER_S), Progress(deployment.clients, deployment.group) as progress:
            _until_told_after(Verdicts(deployment), wall_ms(), left.check)
            killed.kill()
            until(lambda: members.count() < len(workers), left.check, _VERDICT_S, "the group's notice", every_s=0.01)
            noticed_s = time.monotonic()
            known = progress.ends([observations_of(deployment)])
            stood = _left(progress, known)
            until(lambda: progress.has_moved(stood), left.check, _VERDICT_S, "the other one's partitions", 0.01)
            moved_s = time.monotonic() - noticed_s
            until(lambda: progress.has_committed(known), left.check, _VERDICT_S, "what came meanwhile", 0.01)
            caught_up_s = time.monotonic() - noticed_s
        path.check(left)
        left.stop()
    finally:
        for worker in workers:
            if worker.process.poll() is None:
                worker.kill()
    return TakenOver(moved_s, caught_up_s)


def _left(progress: Progress, ends: Offsets) -> Offsets:
    """Return how far the partitions are committed that have something left."""
    stood = progress.committed(ends)
    if stood is None:
        raise Unready("the group's offsets cannot be asked for", where="bench", hint="is the broker busy?")
    return {at: offset for at, offset in stood.items() if offset < ends[at]}


def _until_told_after(verdicts: Verdicts, moment_ms: int, check: Callable[[], None]) -> int:
    """Wait for a verdict that was told after a moment of the wall's clock, and return when the first one was."""
    told: list[int] = []

    def is_told() -> bool:
        told[:] = sorted(drift.at_wall_ms for drift in verdicts.drifts() if drift.at_wall_ms > moment_ms)
        return bool(told)

    until(is_told, check, _VERDICT_S, "a verdict")
    return told[0]
