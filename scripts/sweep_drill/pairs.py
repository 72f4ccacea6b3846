"""The sweep on and off in turn, in pairs of intervals; which of a pair comes first, a seed decides."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final, Protocol

from demo_parts.pipeline import wall_clock
from sweep_judge.latency import Pair

_SETTLES_S: Final = 4.0
"""How long after a start or an end nothing is measured: a process that starts takes the processor, and so does a chunk
that is still read."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval in wall-clock seconds, with the sweep or without."""

    is_on: bool
    begun_s: float
    ended_s: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ended_s - self.begun_s


class Sweep(Protocol):
    """What is turned on and off."""

    def turn(self, *, on: bool) -> None:
        """Turn it on or off; returns when it is so."""
        ...


class Times(Protocol):
    """Transactions that are timed."""

    def within(self, begun_s: float, ended_s: float) -> list[float]:
        """Return the milliseconds of those that began between two seconds."""
        ...


def intervals_of(sweep: Sweep, pairs: int, seconds: float, seed: int) -> list[tuple[Interval, Interval]]:
    """Return pairs of intervals, without the sweep and with it, as they were gone through; it is off in the end."""
    chance = random.Random(seed)  # noqa: S311 - a drill's dice
    gone: list[tuple[Interval, Interval]] = []
    is_on: bool | None = None
    for _ in range(pairs):
        order = [True, False]
        chance.shuffle(order)
        pair: dict[bool, Interval] = {}
        for wanted in order:
            if wanted is not is_on:
                sweep.turn(on=wanted)
                is_on = wanted
                time.sleep(_SETTLES_S)
            begun_s = wall_clock()
            time.sleep(seconds)
            pair[wanted] = Interval(wanted, begun_s, wall_clock())
        gone.append((pair[False], pair[True]))
    if is_on:
        sweep.turn(on=False)
    return gone


def pairs_of(intervals: list[tuple[Interval, Interval]], times: Times) -> list[Pair]:
    """Return the medians of each pair."""
    return [
        Pair(*(median(times.within(each.begun_s, each.ended_s)) for each in (without, with_it)))
        for without, with_it in intervals
    ]


def read_per_second(intervals: list[Interval], reads: Mapping[Interval, int]) -> float:
    """Return how many rows were read again per second over some intervals."""
    return sum(reads[each] for each in intervals) / sum(each.seconds for each in intervals)
