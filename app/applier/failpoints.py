"""Dying on purpose at a named step, for drills: only where the environment says twice that it is one.

`DRIFTLINE_FAILPOINTS=on` and `DRIFTLINE_FAILPOINT=<name>` end the process as kill -9 would, when it passes there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from app.applier.apply import FAILPOINTS, no_failpoint
from app.core.errors import ContractViolation

LOOP_FAILPOINTS: Final = ("outcome_sent", "outcome_acknowledged", "offset_committed")
_KILLED: Final = 137


def failpoint_from(environment: Mapping[str, str]) -> Callable[[str], None]:
    """Return what to call between two steps; `ContractViolation` for a step that there is not."""
    name = environment.get("DRIFTLINE_FAILPOINT", "")
    if environment.get("DRIFTLINE_FAILPOINTS") != "on" or not name:
        return no_failpoint
    known = (*FAILPOINTS, *LOOP_FAILPOINTS)
    if name not in known:
        raise ContractViolation(f"no step is named {name!r}", where="DRIFTLINE_FAILPOINT", hint=f"one of {known}")

    def die(passed: str) -> None:
        if passed == name:
            os._exit(_KILLED)

    return die
