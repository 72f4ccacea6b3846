"""What is not as it must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sweep_judge.latency import Ratio
from sweep_judge.told import Told

Row = tuple[str, int]
"""A store and a key."""

RATE_OFF: Final = 0.1
"""By which share of its budget a store may be read faster or slower."""
SLOWER: Final = 1.1
"""The ratio of latencies that must not be reached."""
_FAULTS_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a store was read again, and how fast it was to be."""

    rows_per_s: float
    budget: float

    @property
    def is_kept(self) -> bool:
        """Whether it was read neither faster nor slower than it may."""
        return abs(self.rows_per_s / self.budget - 1) <= RATE_OFF


def gaps_of(told: Iterable[Told]) -> set[tuple[str, int | None]]:
    """Return the rows that were told not to be as their store's own log said."""
    return {(each.store, each.key) for each in told if each.kind == "capture_gap"}


def drifts_of(told: Iterable[Told]) -> set[tuple[str, int | None]]:
    """Return kind and key of every row in which the stores were told to differ."""
    return {(each.kind, each.key) for each in told if each.stage == "confirmed"}


def finding_faults(planted: Mapping[Row, str], unlike: set[int], told: Iterable[Told]) -> list[str]:
    """Hold what was told against what was planted (`planted` tells as which drift) and what differs by SQL."""
    told = list(told)
    gaps, drifts = gaps_of(told), drifts_of(told)
    wanted = {(kind, key) for (_, key), kind in planted.items()}
    faults = [f"missed: {store} {key}" for store, key in sorted(planted.keys() - gaps)]
    faults += [f"a gap that was not planted: {store} {key}" for store, key in gaps - planted.keys()]
    faults += [f"no drift: {kind} {key}" for kind, key in sorted(wanted - drifts)]
    faults += [f"a drift that was not planted: {kind} {key}" for kind, key in drifts - wanted]
    faults += [f"the tables do not differ as planted: {key}" for key in sorted(unlike ^ {key for _, key in planted})]
    return [*faults[:_FAULTS_TOLD], *([f"and {len(faults) - _FAULTS_TOLD} more"] if faults[_FAULTS_TOLD:] else [])]


def rate_faults(where: str, rates: Mapping[str, Rate]) -> list[str]:
    """Say which stores were not read at their budget."""
    return [
        f"{where}: {store} was read at {rate.rows_per_s:.0f} rows/s, and its budget is {rate.budget:.0f}"
        for store, rate in rates.items()
        if not rate.is_kept
    ]


def latency_faults(ratios: Mapping[str, Ratio]) -> list[str]:
    """Say which stores the sweep made too slow."""
    return [
        f"{store}: transactions took {ratio.middle:.3f} times as long with the sweep"
        for store, ratio in ratios.items()
        if ratio.middle >= SLOWER
    ]


def drifts_told(told: Iterable[Told]) -> dict[str, int]:
    """Count the drifts that were confirmed, by kind."""
    return dict(Counter(kind for kind, _ in drifts_of(told)))
