"""How much longer transactions took with the sweep than without it, from interleaved pairs of intervals.

Neighbours in time are compared with each other, so that what else the machine does weighs on both. The ratio is the
median over the pairs; its interval is a percentile bootstrap over the pairs, which are what was drawn independently.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

CONFIDENCE: Final = 0.95
_DRAWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Pair:
    """The median milliseconds of a transaction in two neighbouring intervals."""

    without_ms: float
    with_ms: float

    @property
    def ratio(self) -> float:
        """How many times as long it took with the sweep."""
        return self.with_ms / self.without_ms


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median ratio over all pairs, and the interval in which it lies with `CONFIDENCE`."""

    middle: float
    low: float
    high: float


def ratio_of(pairs: Sequence[Pair], seed: int) -> Ratio:
    """Return the ratio of some pairs, at least one."""
    chance = random.Random(seed)  # noqa: S311 - a judge's dice
    ratios = [pair.ratio for pair in pairs]
    drawn = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(_DRAWS))
    tail = round(_DRAWS * (1 - CONFIDENCE) / 2)
    return Ratio(median(ratios), drawn[tail], drawn[-tail - 1])
