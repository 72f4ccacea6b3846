"""How a repair policy is read, by the planner and again by the applier from its own copy. The strictest word wins.

A command is planned only if its replica, its kind and every field that differs may be repaired; it waits for a person
if any of them only proposes. Fields that are not known to be the same count as different.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields
from enum import Enum
from typing import Any, Final

from app.core.contract import RepairMode, RepairPolicy
from app.core.hours import within

_STRICTEST_FIRST: Final = (RepairMode.OBSERVE, RepairMode.PROPOSE, RepairMode.APPLY)
_DEFAULTS: Final = RepairPolicy()


def policy_id(policy: RepairPolicy) -> bytes:
    """Name a policy by its content (16 bytes)."""
    told = policy_text(policy).encode()
    return hashlib.blake2b(told, digest_size=16, person=b"driftline-policy").digest()


def policy_text(policy: RepairPolicy) -> str:
    """Return a policy as JSON, in one form.

    What is at its default is left out: a key that a later version adds gives no policy another name.
    """
    values = ((field.name, getattr(policy, field.name)) for field in fields(policy))
    told = {name: value for name, value in values if value != getattr(_DEFAULTS, name)}
    return json.dumps(told, default=_plain, sort_keys=True)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a part of a policy that JSON has no form for
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    return {field.name: getattr(value, field.name) for field in fields(value)}


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
