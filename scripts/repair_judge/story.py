"""What the drill knows because it did it: the rows as it made them, and each write of its application."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

COLUMNS: Final = ("name", "price", "paid", "bought_at", "note", "scan")
"""The columns of a table beside its key and its story."""
COVERED: Final = 4
"""So many of them, the first, are the contract's. The others are nobody's business but the database's owner's."""

Row = tuple[object, ...]
"""The values of a row, in the order of `COLUMNS`."""


class Kind(Enum):
    """What is wrong with a row of the target."""

    CHANGED = "changed"
    MISSING = "missing"
    EXTRA = "extra"


class Side(Enum):
    """Where the application writes."""

    TARGET = "target"
    AUTHORITY = "authority"


@dataclass(frozen=True, slots=True)
class Write:
    """One write of the application, begun when the applier had passed `step`; `row` has the contract's columns."""

    side: Side
    step: str
    row: Row


@dataclass(slots=True)
class Repair:
    """One damaged row, the command that was sent for it, and what the application wrote, in order.

    `before` is the target's row, None where it is missing; `truth` the authority's, None where the target's is extra.
    """

    number: int
    kind: Kind
    before: Row | None
    truth: Row | None
    command_id: str = ""
    writes: list[Write] = field(default_factory=list)

    def last(self, side: Side) -> Write | None:
        """Return the application's last write on one side."""
        return next((write for write in reversed(self.writes) if write.side is side), None)
