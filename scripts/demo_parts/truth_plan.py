"""What the truth drill does, and when: the plan of one seed.

A plan is a row of rounds. Each begins calm, with the damages that go through the pipeline; then its sink is troubled.
Damages behind the pipeline's back come at any moment, troubled or not. No row is damaged twice, and none is one that
the load writes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from demo_parts.damages import (
    MANGLED,
    Damage,
    delete_not_arrived,
    lost_change,
    mangled,
    old_value_back,
    primary_key_changed,
    row_deleted,
    row_inserted,
    sin_bare_numeric,
    sin_nan,
    sin_placeholder,
    table_truncated,
    toast_rogue,
)
from demo_parts.shop import PRODUCTS, STILL_CUSTOMERS, STILL_DOCUMENTS, STILL_ORDERS

_FOREIGN: Final = 500_000
_SINS: Final = 10
_ROUND_S: Final = 60.0
_THROUGH_THE_PIPELINE: Final = 1 / 3
_TRUNCATED_FROM: Final = 3 * PRODUCTS
_LAST_PLANTED: Final = 0.95
# A sink whose row is locked for longer than MariaDB lets it wait fails, which would be a fourth trouble.
_LONGEST_S: Final = 30.0


class Trouble(Enum):
    """What happens to the pipeline's sink."""

    PAUSE = "the sink is paused"
    LAG = "the sink waits for somebody's locks"
    RESTART = "the sink is restarted"


@dataclass(frozen=True, slots=True)
class Round:
    """One stretch: damages through a calm pipeline, then, so many seconds after the drill's begin, a trouble."""

    calm: tuple[Damage, ...]
    trouble: Trouble
    troubled_at_s: float
    lasts_s: float

    def is_late_for(self, window_s: float) -> bool:
        """Whether what changes in the trouble's first moments is certainly late."""
        return self.trouble is not Trouble.RESTART and self.lasts_s > window_s + 1


@dataclass(frozen=True, slots=True)
class TruthPlan:
    """The whole drill: rounds, and damages of the copy with their seconds after the begin, in order."""

    rounds: tuple[Round, ...]
    alone: tuple[tuple[float, Damage], ...]

    @property
    def drifts(self) -> int:
        """Rows that will be damaged."""
        return sum(len(damage.expected) for damage in self.damages)

    @property
    def damages(self) -> list[Damage]:
        """Every damage."""
        return [*(damage for part in self.rounds for damage in part.calm), *(damage for _, damage in self.alone)]


def plan_of(seed: int, drifts: int, seconds: float, window_s: float) -> TruthPlan:
    """Return the plan of a seed, with exactly so many rows damaged; `ValueError` if the shop has too few rows."""
    chance = random.Random(seed)  # noqa: S311 - a drill's dice
    rows = _Rows(chance)
    whole = [table_truncated(PRODUCTS)] if drifts >= _TRUNCATED_FROM else []
    single = drifts - sum(len(damage.expected) for damage in whole)
    through = _dealt(rows.through_the_pipeline(), round(single * _THROUGH_THE_PIPELINE))
    alone = _dealt(rows.behind_its_back(), single - len(through)) + whole
    moments = sorted(chance.uniform(0, seconds * _LAST_PLANTED) for _ in alone)
    chance.shuffle(alone)
    rounds = _rounds(chance, through, seconds, window_s)
    plan = TruthPlan(rounds, tuple(zip(moments, alone, strict=True)))
    if plan.drifts != drifts:
        raise ValueError(f"{drifts} drifts: the shop's still rows allow {plan.drifts}; ask for fewer (--drifts)")
    return plan


def _rounds(chance: random.Random, through: Sequence[Damage], seconds: float, window_s: float) -> tuple[Round, ...]:
    """Spread the damages over rounds whose troubles take turns; the first pause makes the copy late for certain."""
    number = max(len(Trouble), int(seconds // _ROUND_S))
    long_s, short_s = min(2 * window_s + 3, _LONGEST_S), window_s / 2
    troubles: list[Trouble] = []
    while len(troubles) < number:
        troubles += chance.sample(list(Trouble), k=len(Trouble))
    troubles = troubles[:number]
    first_pause = troubles.index(Trouble.PAUSE)
    each_s = seconds / number
    return tuple(
        Round(
            tuple(through[n::number]),
            trouble,
            troubled_at_s=(n + 0.5) * each_s,
            lasts_s=long_s if n == first_pause else chance.choice((short_s, long_s)),
        )
        for n, trouble in enumerate(troubles)
    )


_Recipe = Callable[[], Damage]


def _dealt(recipes: Sequence[_Recipe], drifts: int) -> list[Damage]:
    """Take from the recipes in turn until so many rows are damaged; one that has no rows left is taken out."""
    left, dealt, rows = list(recipes), list[Damage](), 0
    while rows < drifts and left:
        for recipe in tuple(left):
            try:
                damage = recipe()
            except StopIteration:
                left.remove(recipe)
                continue
            if rows + len(damage.expected) <= drifts:
                dealt.append(damage)
                rows += len(damage.expected)
    return dealt


class _Rows:
    """Still rows of each table, in an order of chance, each given once."""

    def __init__(self, chance: random.Random) -> None:
        def shuffled(number: int) -> list[int]:
            return chance.sample(range(1, number + 1), k=number)

        orders = shuffled(STILL_ORDERS)
        # A row whose note is empty has no emoji to lose.
        noted = [row for row in orders if row % 5][: STILL_ORDERS // len(MANGLED)]
        self._noted = iter(noted)
        self._orders = iter([row for row in orders if row not in set(noted)])
        self._customers = iter(shuffled(STILL_CUSTOMERS))
        self._documents = iter(shuffled(STILL_DOCUMENTS))
        self._sins = iter(shuffled(_SINS))
        self._foreign = iter(range(_FOREIGN, _FOREIGN + STILL_CUSTOMERS))

    def behind_its_back(self) -> list[_Recipe]:
        """Return what is done to the copy alone, at any moment."""
        return [
            lambda: row_deleted(next(self._orders)),
            lambda: row_inserted(next(self._foreign)),
            *(self._mangled(name) for name in MANGLED),
            lambda: primary_key_changed(next(self._customers), next(self._foreign)),
        ]

    def through_the_pipeline(self) -> list[_Recipe]:
        """Return what needs a pipeline that goes on; sins of the pipeline's own are few, as are the rows for them."""
        return [
            lambda: lost_change(next(self._customers)),
            lambda: old_value_back(next(self._orders)),
            lambda: delete_not_arrived(next(self._customers)),
            lambda: toast_rogue(next(self._documents)),
            lambda: sin_placeholder(next(self._sins)),
            lambda: sin_nan(next(self._sins)),
            lambda: sin_bare_numeric(next(self._sins)),
        ]

    def _mangled(self, name: str) -> _Recipe:
        rows = self._noted if name == "emoji_lost" else self._orders
        return lambda: mangled(name, next(rows))
