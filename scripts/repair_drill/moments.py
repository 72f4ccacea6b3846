"""What happens at which step: the application's writes, the applier's deaths, the target's ends; all by one seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from repair_judge.story import Kind, Side
from repair_judge.ways import AFTERWARDS, BEFORE_LOCK, LOCKED

from app.applier.failpoints import FAILPOINTS, LOOP_FAILPOINTS

STEPS: Final = (*FAILPOINTS, *LOOP_FAILPOINTS)
"""Every step behind which the applier asks."""

_ON_ANY_WAY: Final = (*BEFORE_LOCK, *LOCKED, "committed", *AFTERWARDS)
_AFTER_INSERT: Final = ("authority_read_again", "check_recorded")
_INVERSE: Final = ("inverse_begun", "inverse_written", "inverse_committed")
_SERVER_ENDS: Final = ("row_locked", "before_commit", "committed", "fence_shared", "row_written")
_RANDOM_PASSAGES: Final = 60
_RANDOM_SECONDS: Final = 0.6


@dataclass(frozen=True, slots=True)
class Moment:
    """What is wrong with a row, and the writes that the application makes to it, each when its step was passed."""

    kind: Kind
    writes: tuple[tuple[Side, str], ...]


_MOVED: Final = (Side.AUTHORITY, "authority_read")
_WHILE_INVERTED: Final = tuple(Moment(Kind.MISSING, (_MOVED, (Side.TARGET, step))) for step in _INVERSE)
_INVERTED: Final = (Moment(Kind.MISSING, (_MOVED,)), *_WHILE_INVERTED)
_WHILE_REFUSED: Final = Moment(Kind.CHANGED, ((Side.AUTHORITY, "received"), (Side.TARGET, "refusal_recorded")))
_REFUSED: Final = (Moment(Kind.CHANGED, ((Side.TARGET, "row_looked_at"),)), _WHILE_REFUSED)


@dataclass(frozen=True, slots=True)
class Death:
    """When the applier dies by kill -9: behind a step, at so many passages of any step, or so much later than one."""

    step: str = ""
    passage: int = 0
    after_s: float = 0.0

    @property
    def needs(self) -> tuple[Moment, ...]:
        """What must happen to a row, or the step is never passed; and what can happen beside it."""
        if self.step in {"authority_read_again", *_INVERSE}:
            return _INVERTED
        return _REFUSED if self.step == "refusal_recorded" else ()


def all_moments() -> list[Moment]:
    """Return every kind of drift, side and step together, between each pair of steps."""
    single = [Moment(kind, ((side, step),)) for step, side, kind in itertools.product(_ON_ANY_WAY, Side, Kind)]
    single += [Moment(Kind.MISSING, ((side, step),)) for step, side in itertools.product(_AFTER_INSERT, Side)]
    return [*single, *_WHILE_INVERTED, _WHILE_REFUSED]


def moments(chance: random.Random) -> Iterator[Moment]:
    """Yield all of them in some order, again and again."""
    while True:
        every = all_moments()
        chance.shuffle(every)
        yield from every


def deaths(chance: random.Random, randomly: int) -> list[Death]:
    """Return a death at each step in turn, then so many at random: half between steps, half within them."""
    planned = [Death(step=step) for step in STEPS]
    for number in range(randomly):
        if number % 2:
            planned.append(Death(after_s=chance.uniform(0.001, _RANDOM_SECONDS)))
        else:
            planned.append(Death(passage=chance.randrange(1, _RANDOM_PASSAGES)))
    return planned


def server_ends(waves: int, count: int) -> dict[int, str]:
    """Return at which step of which waves the target is killed and started again."""
    return {(2 * n + 1) * waves // (2 * count): step for n, step in zip(range(count), itertools.cycle(_SERVER_ENDS))}


def kinds(rows: int) -> Iterable[Kind]:
    """Return what is wrong with so many rows: half changed, a quarter missing, a quarter extra."""
    return itertools.islice(itertools.cycle((Kind.CHANGED, Kind.MISSING, Kind.CHANGED, Kind.EXTRA)), rows)
