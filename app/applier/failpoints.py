"""Dying on purpose at a named step, for drills: only where the environment says twice that it is one.

`DRIFTLINE_FAILPOINTS=on` and `DRIFTLINE_FAILPOINT=<name>` end the process as kill -9 would, when it passes there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from app.core.errors import ContractViolation

FAILPOINTS: Final = (
    "received",
    "before_transaction",
    "transaction_begun",
    "fence_shared",
    "row_looked_at",
    "ledger_row_inserted",
    "row_locked",
    "authority_read",
    "row_written",
    "row_read_back",
    "before_commit",
    "committed",
    "refusal_recorded",
    "authority_read_again",
    "inverse_begun",
    "inverse_written",
    "inverse_committed",
    "check_recorded",
)
"""Every step between which the process may die, by name. `loop` adds those around the outcome and the offset."""
LOOP_FAILPOINTS: Final = ("outcome_sent", "outcome_acknowledged", "offset_committed")
_KILLED: Final = 137


def no_failpoint(_name: str) -> None:
    """Do nothing: what production calls between two steps."""


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
