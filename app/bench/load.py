"""What a bench is run over: how the rows look, how many keys there are, how they are picked, what drifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Final, NamedTuple

from app.core.finding import DriftKind
from app.core.store import Converter

COLUMNS: Final = (10, 40)
"""Widths of rows. Half of the columns are compared."""

WINDOW_MS: Final = 2_000
"""The contract's window; the replica follows after `REPLICA_LAG_US`."""

REPLICA_LAG_US: Final = 200_000
BEACON_EVERY_US: Final = 500_000

_PLANTED: Final = (DriftKind.DIFFERENT, DriftKind.MISSING, DriftKind.EXTRA, DriftKind.DIFFERENT)
_SCATTER: Final = 2_654_435_761
"""A prime above every number of keys: multiplying by it spreads neighbouring ranks over all keys."""


class Spread(Enum):
    """How keys are picked for changes."""

    UNIFORM = "uniform"
    ZIPF = "zipf"  # the n-th hottest key changes about 1/n as often as the hottest


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of traffic. `drifting` is the share of the authority's changes that the replica gets wrong."""

    converter: Converter = Converter.JSON
    columns: int = 10
    keys: int = 200_000
    spread: Spread = Spread.UNIFORM
    drifting: float = 0.0
    seed: int = 1

    @property
    def name(self) -> str:
        """The load in short, as `json-10-200k-uniform`; a share of drifts is added to it."""
        keys = f"{self.keys // 1_000_000}m" if self.keys % 1_000_000 == 0 else f"{self.keys / 1_000:g}k"
        drifts = f"-{self.drifting * 100:g}pct" if self.drifting else ""
        return f"{self.converter.value}-{self.columns}-{keys}-{self.spread.value}{drifts}"

    def with_keys(self, keys: int) -> Load:
        """Return the same load over another number of keys."""
        return replace(self, keys=keys)


class Change(NamedTuple):
    """One change of the authority's table. `planted` says what the replica makes of it: None for the same."""

    number: int
    key: int
    planted: DriftKind | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of both logs: `count` changes of the authority from number `first` on, `per_s` a second of their time.

    `drifting` is the share of them that the replica gets wrong.

    Changes are numbered over the life of a deployment, and time counts from its begin, so that one stretch can follow
    another.
    """

    first: int
    count: int
    begin_us: int
    per_s: float
    drifting: float = 0.0

    def moment_us(self, number: int) -> int:
        """Return when the authority made a change."""
        return self.begin_us + int((number - self.first) * 1_000_000 / self.per_s)

    @property
    def end_us(self) -> int:
        """When both stores have made all changes."""
        return self.moment_us(self.first + self.count) + REPLICA_LAG_US


def damaged_at_us(change: Change, stretch: Stretch) -> int:
    """Return from when on the stores differ in a planted change's row: an extra row is the replica's own doing."""
    return stretch.moment_us(change.number) + (REPLICA_LAG_US if change.planted is DriftKind.EXTRA else 0)


def changes(load: Load, stretch: Stretch) -> Iterator[Change]:
    """Yield the changes of a stretch, always the same for the same seed.

    What is to drift has a key of its own above the common ones, which nothing touches again: each is then exactly one
    drift, whatever the picks are.
    """
    dice = Random(f"{load.seed}/{stretch.first}")  # noqa: S311 - traffic is no secret
    random, keys, drifting = dice.random, load.keys, stretch.drifting
    zipf = load.spread is Spread.ZIPF
    for number in range(stretch.first, stretch.first + stretch.count):
        if drifting and random() < drifting:
            yield Change(number, keys + number, _PLANTED[number % len(_PLANTED)])
        elif zipf:
            # The logarithm of the rank is even: a density of 1 / rank.
            yield Change(number, int(keys ** random()) * _SCATTER % keys, None)
        else:
            yield Change(number, int(random() * keys), None)
