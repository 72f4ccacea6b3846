"""How a repair policy is read, by the planner and again by the applier from its own copy. The strictest word wins.

A command is planned only if its replica, its kind and every field that differs may be repaired; it waits for a person
if any of them only proposes. Fields that are not known to be the same count as different.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from app.core.contract import RepairMode, RepairPolicy
from app.core.hours import within

_STRICTEST_FIRST: Final = (RepairMode.OBSERVE, RepairMode.PROPOSE, RepairMode.APPLY)


def strictest(modes: Iterable[RepairMode]) -> RepairMode:
    """Return the strictest of some modes; `apply` of none."""
    return min(modes, key=_STRICTEST_FIRST.index, default=RepairMode.APPLY)


def columns_mode(policy: RepairPolicy, columns: Iterable[str] | None) -> RepairMode:
    """Return how far these fields may be repaired; None: nobody knows which of them differ."""
    named = policy.columns if columns is None else policy.columns.keys() & set(columns)
    return strictest(policy.columns[name] for name in named)


def mode_of(policy: RepairPolicy, kind: str, columns: Iterable[str] | None) -> RepairMode:
    """Return how far a drift of this kind in these fields may be repaired."""
    return strictest((policy.mode, policy.kinds.get(kind, RepairMode.APPLY), columns_mode(policy, columns)))


def is_open(policy: RepairPolicy, now_wall_ms: int) -> bool:
    """Tell whether repairs may be made at this hour: within an allowed part of the week, and within no denied one."""
    return not within(policy.deny, now_wall_ms) and (not policy.allow or within(policy.allow, now_wall_ms))
