"""How much is measured: a quick plan for a look, and a full one for the numbers that are published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from app.bench.load import Load, Spread
from app.core.errors import ContractViolation
from app.core.store import Converter

_BASE: Final = Load()
_ZIPF: Final = replace(_BASE, spread=Spread.ZIPF)


class Part(Enum):
    """A part of the bench; each can be run alone."""

    WHOLE_PATH = "whole-path"
    SAME_HOP = "same-hop"
    LATENCY = "latency"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. `loads[0]` is the one whose number stands for the whole path.

    `changes` are those of both stores in one measured stretch, `repeat` is how often each figure is measured. The same
    hop and the recovery have numbers of their own; delays are looked at for `live_s` seconds at each load.
    """

    loads: tuple[Load, ...]
    changes: int
    repeat: int
    hop_changes: int
    live_s: float
    recovered_keys: int
    hop_keys: int = 200_000

    def over(self, keys: int) -> Plan:
        """Return the same plan with so many keys in every load."""
        loads = tuple(dict.fromkeys(replace(load, keys=keys) for load in self.loads))
        return replace(self, loads=loads, hop_keys=keys, recovered_keys=keys)

    def with_changes(self, changes: int) -> Plan:
        """Return the same plan with so many changes in every measured stretch."""
        return replace(self, changes=changes, hop_changes=changes)

    def of(self, names: Collection[str]) -> Plan:
        """Return the same plan with the loads of these names alone; all of them if none is named."""
        known = {load.name: load for load in self.loads}
        for name in names:
            if name not in known:
                raise ContractViolation(f"no load is named {name!r}", hint=f"there are {', '.join(known)}")
        return replace(self, loads=tuple(known[name] for name in names or known))


FULL: Final = Plan(
    loads=(
        _BASE,
        _ZIPF,
        replace(_BASE, drifting=0.01),
        replace(_ZIPF, drifting=0.01),
        replace(_BASE, converter=Converter.AVRO),
        replace(_BASE, columns=40),
        replace(_BASE, converter=Converter.AVRO, columns=40),
        replace(_BASE, keys=1_000_000),
        replace(_ZIPF, keys=1_000_000),
        replace(_BASE, keys=10_000_000),
        replace(_ZIPF, keys=10_000_000),
    ),
    changes=1_000_000,
    repeat=3,
    hop_changes=1_000_000,
    live_s=60.0,
    recovered_keys=1_000_000,
)
_SMALL: Final = replace(_BASE, keys=20_000)
QUICK: Final = Plan(
    loads=(
        _SMALL,
        replace(_SMALL, spread=Spread.ZIPF, drifting=0.01),
        replace(_SMALL, converter=Converter.AVRO),
        replace(_SMALL, columns=40),
    ),
    changes=50_000,
    repeat=1,
    hop_changes=200_000,
    live_s=10.0,
    recovered_keys=20_000,
)
