"""What comes of one command and nobody foresaw: it is held, or its check left unmade, and all others go on.

A process that died of it would meet the command again at each start, for ever, and carry out nothing at all, for any
entity or target. It hides no bug: the outcome says which fault it was and where in the code, on the topic and in the
log as an error, again each time that the planner sends the command. And it makes none worse: the applier keeps nothing
of a command from one transaction to the next, and this one is rolled back.
"""

from __future__ import annotations

import traceback
from typing import Final

from app.core.command import RefusalReason
from app.core.errors import DriftlineError, Unready
from app.core.guard import Refused

FAULTS: Final = (DriftlineError, LookupError, ValueError, TypeError, ArithmeticError)
"""What a row's values or a table's shape can be the reason of. Whatever else is wrong is wrong with the process."""


def refusal_of(fault: Exception) -> Refused:
    """Return what a fault means for the command that it came of; `Unready` is no command's own, and raised again."""
    if isinstance(fault, Unready):
        raise fault
    if isinstance(fault, Refused):
        return fault
    # Its text may carry a row's value; where it comes from says more of a bug than the library's own line.
    places = [(str(frame.f_globals.get("__name__")), line) for frame, line in traceback.walk_tb(fault.__traceback__)]
    module, line = [place for place in places if place[0].startswith("app.")][-1]
    return Refused(RefusalReason.APPLIER_FAILED, f"{type(fault).__name__} in {module}, line {line}")
