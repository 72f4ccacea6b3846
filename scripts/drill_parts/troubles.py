"""What is done to the workers and the broker, and when: the plan of one seed, in changes written so far."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final

AT_FIRST: Final = 2
"""Workers that are there from the beginning."""

_FIRST, _LAST = 0.04, 0.96
_ALL_AT_ONCE: Final = 0.25
_SENT_AGAIN_TIMES: Final = 3


class Trouble(Enum):
    """What may happen."""

    JOIN = "a worker joins"
    LEAVE = "a worker leaves"
    KILL = "a worker is killed"
    KILL_ALL = "all workers are killed"
    WIPE = "a worker is killed and its state deleted"
    BROKER = "the broker is killed"
    REFUSE = "a block is refused"
    SEND_AGAIN = "a connector sends again"


@dataclass(frozen=True, slots=True)
class Planned:
    """One trouble, at so many changes; `subject` is a worker or a store, empty where the moment decides."""

    at: int
    trouble: Trouble
    subject: str = ""


def plan(chance: random.Random, changes: int, kills: int, workers: int) -> list[Planned]:
    """Return the troubles of a drill in their order.

    Two workers are there from the beginning, the others come; all but the first leave once and come again.
    """

    def at(share: float) -> int:
        return int(share * changes)

    planned = []
    for number in range(2, workers + 1):
        goes = chance.uniform(0.3, 0.45) + 0.2 * (number - 2)
        if number > AT_FIRST:
            planned.append(Planned(at(0.08 * number), Trouble.JOIN, f"worker-{number}"))
        planned += [
            Planned(at(goes), Trouble.LEAVE, f"worker-{number}"),
            Planned(at(goes + 0.12), Trouble.JOIN, f"worker-{number}"),
        ]
    moments = [at(chance.uniform(_FIRST, _LAST)) for _ in range(kills)]
    kinds = [Trouble.WIPE, Trouble.KILL_ALL]
    kinds += [Trouble.KILL_ALL if chance.random() < _ALL_AT_ONCE else Trouble.KILL for _ in moments[2:]]
    planned += [Planned(moment, kind) for moment, kind in zip(moments, kinds, strict=False)]
    planned.append(Planned(at(chance.uniform(0.2, 0.4)), Trouble.REFUSE))
    planned.append(Planned(at(chance.uniform(0.5, 0.7)), Trouble.BROKER))
    for number in range(_SENT_AGAIN_TIMES):
        planned.append(Planned(at(chance.uniform(_FIRST, _LAST)), Trouble.SEND_AGAIN, ("pg", "my")[number % 2]))
    return sorted(planned, key=lambda trouble: trouble.at)
