"""What happens in the two stores: a shop that writes, a pipeline that copies, and damages to the copy. One seed.

Time is counted in changes: so many make the interval of a beacon. The pipeline copies in order and is late by less than
the window. No row is damaged twice, so that each damage is one drift at most, whatever the steps in which the workers
come to know of it; no two rows are ever alike, so that no state comes back by accident.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from drill_parts.envelopes import Row

AUTHORITY: Final = "pg"
REPLICA: Final = "my"
_HOT_ROWS: Final = 200
_HOT_SHARE: Final = 0.2
_INSERTS, _DELETES = 0.02, 0.015
_PAST_KEPT: Final = 3
_FIRST_FOREIGN: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class Step:
    """One change of one store; no row: deleted. `operation` is Debezium's letter."""

    store: str
    number: int
    row: Row | None
    operation: str


@dataclass(frozen=True, slots=True)
class Shape:
    """How much traffic, and how it is spread over time."""

    changes: int
    rows: int
    changes_per_beacon: int
    window_beacons: int
    damages: int


@dataclass
class Traffic:
    """The world of both stores; `steps` goes through its life once."""

    shape: Shape
    seed: int
    planted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - a drill's dice
        self._made = 0
        self._truth = {number: self._row() for number in range(1, self.shape.rows + 1)}
        self._copy = dict(self._truth)
        self._past: dict[int, deque[Row]] = {}
        self._numbers = list(self._truth)
        self._spoilt: set[int] = set()
        self._next_number = self.shape.rows + 1
        self._next_foreign = _FIRST_FOREIGN
        self._pipeline: deque[tuple[int, int, Row | None]] = deque()  # when it is due, which row, what it brings
        self._later: deque[tuple[int, int, Row]] = deque()  # likewise, if the authority still shows it
        self._done = 0

    def snapshot(self) -> Iterator[Step]:
        """Give every row of both stores, as their first snapshots do."""
        for store in (AUTHORITY, REPLICA):
            for number, row in self._truth.items():
                yield Step(store, number, row, "r")

    def steps(self) -> Iterator[Step]:
        """Give the changes of both stores in the order in which they happen."""
        plan = self._plan()
        while self._done < self.shape.changes:
            for step in self._due(plan) or self._shop():
                self._done += 1
                yield step
        # What is on its way arrives.
        for _, number, row in self._pipeline:
            yield from self._write_copy(number, row)

    # -- the shop and the pipeline -------------------------------------------------------------------------------

    def _row(self) -> Row:
        self._made += 1
        chance = self._chance
        return Row(
            f"name {self._made}",
            chance.randrange(1_000_000),
            chance.randrange(-1_000, 100_000),
            1_700_000_000_000_000 + chance.randrange(10**14),
            chance.random() < 0.5,  # noqa: PLR2004 - as often as not
            None if chance.random() < 0.3 else f"a note that says {chance.random()}",  # noqa: PLR2004 - some have none
        )

    def _pick(self, *, hot_share: float = 0.0) -> int:
        """Return a row that there is; hot ones are changed much more often than others, and are never deleted."""
        while True:
            is_hot = self._chance.random() < hot_share
            first, last = (0, _HOT_ROWS) if is_hot else (_HOT_ROWS, len(self._numbers))
            number = self._numbers[self._chance.randrange(first, last)]
            if number in self._truth:
                return number

    def _shop(self) -> list[Step]:
        roll = self._chance.random()
        row: Row | None = self._row()
        if roll < _INSERTS:
            number = self._new_number()
        elif roll < _INSERTS + _DELETES:
            number, row = self._pick(), None
        else:
            number = self._pick(hot_share=_HOT_SHARE)
        steps = self._write_truth(number, row)
        lag = self._chance.randrange(self.shape.changes_per_beacon * (self.shape.window_beacons - 2) // 2)
        due = max(self._done + lag, self._pipeline[-1][0] if self._pipeline else 0)
        self._pipeline.append((due, number, row))
        return steps

    def _new_number(self) -> int:
        number = self._next_number
        self._next_number += 1
        self._numbers.append(number)
        return number

    def _write_truth(self, number: int, row: Row | None) -> list[Step]:
        held = self._truth.get(number)
        if held is not None:
            self._past.setdefault(number, deque(maxlen=_PAST_KEPT)).append(held)
        if row is None:
            del self._truth[number]
        else:
            self._truth[number] = row
        return [Step(AUTHORITY, number, row, _letter(held, row))]

    def _write_copy(self, number: int, row: Row | None) -> list[Step]:
        held = self._copy.get(number)
        if held == row:
            return []
        if row is None:
            del self._copy[number]
        else:
            self._copy[number] = row
        return [Step(REPLICA, number, row, _letter(held, row))]

    def _due(self, plan: deque[tuple[int, Callable[[], list[Step]]]]) -> list[Step]:
        """Return what is due: of the pipeline, of damages, of what was put off."""
        while self._pipeline and self._pipeline[0][0] <= self._done:
            _, number, row = self._pipeline.popleft()
            if steps := self._write_copy(number, row):
                return steps
        while self._later and self._later[0][0] <= self._done:
            _, number, mended = self._later.popleft()
            if self._truth.get(number) == mended and (steps := self._write_copy(number, mended)):
                return steps
        if plan and plan[0][0] <= self._done:
            return plan.popleft()[1]()
        return []

    # -- damages -------------------------------------------------------------------------------------------------

    def _plan(self) -> deque[tuple[int, Callable[[], list[Step]]]]:
        kinds = (
            self._changed,
            self._old_value,
            self._lost_update,
            self._late_update,
            self._deleted,
            self._lost_insert,
            self._foreign,
            self._lost_delete,
            self._brief,
            self._mended,
        )
        # Not at once: an old value can be written back only of rows that have one.
        first, last = self.shape.changes // 10, self.shape.changes
        moments = sorted(self._chance.randrange(first, last) for _ in range(self.shape.damages))
        return deque((moment, kinds[place % len(kinds)]) for place, moment in enumerate(moments))

    def _victim(self, *, with_past: bool = False, hot_share: float = 0.0) -> int:
        """Return a row that both stores show alike, and that was never damaged."""
        while True:
            number = self._pick(hot_share=hot_share)
            alike = self._copy.get(number) == self._truth[number]
            if alike and number not in self._spoilt and (not with_past or self._past.get(number)):
                self._spoilt.add(number)
                return number

    def _put_off(self, windows: float, number: int, row: Row) -> None:
        due = self._done + int(windows * self.shape.window_beacons * self.shape.changes_per_beacon)
        self._later = deque(sorted([*self._later, (due, number, row)], key=lambda entry: entry[0]))

    def _changed(self) -> list[Step]:
        self.planted["changed"] += 1
        return self._write_copy(self._victim(hot_share=_HOT_SHARE), self._row())

    def _old_value(self) -> list[Step]:
        self.planted["an old value written back"] += 1
        number = self._victim(with_past=True)
        return self._write_copy(number, self._chance.choice(self._past[number]))

    def _lost_update(self) -> list[Step]:
        self.planted["an update that did not arrive"] += 1
        return self._write_truth(self._victim(), self._row())

    def _late_update(self) -> list[Step]:
        """An update that arrives after three windows, and is then still the newest or is not brought at all."""
        self.planted["an update that is late"] += 1
        number, row = self._victim(), self._row()
        self._put_off(3, number, row)
        return self._write_truth(number, row)

    def _deleted(self) -> list[Step]:
        self.planted["deleted"] += 1
        return self._write_copy(self._victim(), None)

    def _lost_insert(self) -> list[Step]:
        self.planted["an insert that did not arrive"] += 1
        number = self._new_number()
        self._spoilt.add(number)
        return self._write_truth(number, self._row())

    def _foreign(self) -> list[Step]:
        self.planted["inserted"] += 1
        self._next_foreign += 1
        return self._write_copy(self._next_foreign, self._row())

    def _lost_delete(self) -> list[Step]:
        self.planted["a delete that did not arrive"] += 1
        return self._write_truth(self._victim(), None)

    def _brief(self) -> list[Step]:
        """A damage that is gone within the window: no drift."""
        self.planted["changed and at once mended"] += 1
        number = self._victim()
        self._put_off(0.25, number, self._truth[number])
        return self._write_copy(number, self._row())

    def _mended(self) -> list[Step]:
        """A damage that somebody mends after three windows."""
        self.planted["changed and later mended"] += 1
        number = self._victim()
        self._put_off(3, number, self._truth[number])
        return self._write_copy(number, self._row())


def _letter(held: Row | None, row: Row | None) -> str:
    if row is None:
        return "d"
    return "c" if held is None else "u"
