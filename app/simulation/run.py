"""Many seeds: one world each, in as many processes as asked for, added up in the order of seeds."""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from app.simulation.faults import Fault
from app.simulation.setting import Setting
from app.simulation.verdicts import Score
from app.simulation.world import World


@dataclass(slots=True)
class Totals:
    """What many worlds came to; `failed` are the seeds of those that were not right."""

    runs: int = 0
    changes: int = 0
    keys: int = 0
    planted: int = 0
    missed: int = 0
    false_alarms: int = 0
    unjustified_unknown: int = 0
    wrong_repairs: int = 0
    repaired: int = 0
    seconds: float = 0.0
    latencies_ms: list[int] = field(default_factory=list)
    faults: Counter[Fault] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)

    def add(self, seed: int, score: Score) -> None:
        """Add a world."""
        self.runs += 1
        self.changes += score.changes
        self.keys += score.keys
        self.planted += score.planted
        self.missed += score.missed
        self.false_alarms += score.false_alarms
        self.unjustified_unknown += score.unjustified_unknown
        self.wrong_repairs += score.wrong_repairs
        self.repaired += score.repaired
        self.latencies_ms += score.latencies_ms
        self.faults.update(score.faults)
        if not score.is_right:
            self.failed.append(seed)


def run_seed(seed: int, changes: int, faults: frozenset[Fault] | None = None) -> Score:
    """Run the world of one seed."""
    with _collected_at_its_end():
        return World(Setting.draw(seed, changes, faults)).run()


@contextmanager
def _collected_at_its_end() -> Iterator[None]:
    """Look for garbage once, behind a world: nearly all that it makes lives as long, and looking takes a quarter."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def run_seeds(
    seeds: Iterable[int], changes: int, jobs: int = 1, faults: frozenset[Fault] | None = None
) -> Iterator[tuple[int, Score]]:
    """Yield each seed with what its world came to."""
    numbers = list(seeds)
    one = partial(run_seed, changes=changes, faults=faults)
    if jobs == 1 or len(numbers) == 1:
        yield from ((seed, one(seed)) for seed in numbers)
        return
    with ProcessPoolExecutor(min(jobs, len(numbers)), multiprocessing.get_context("spawn")) as pool:
        yield from zip(numbers, pool.map(one, numbers), strict=True)


def simulate(seeds: Iterable[int], changes: int, jobs: int = 1, faults: frozenset[Fault] | None = None) -> Totals:
    """Run all seeds and add them up."""
    began = time.monotonic()
    totals = Totals()
    for seed, score in run_seeds(seeds, changes, jobs, faults):
        totals.add(seed, score)
    totals.seconds = time.monotonic() - began
    return totals
