"""The applier's steps by name: behind each it calls what it was given, so that a drill can stop it there.

In production that is `no_failpoint`. No setting and no variable puts anything else in its place: only who composes an
applier can (`app.cli.applier.compose`).
"""

from __future__ import annotations

from typing import Final

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


def no_failpoint(_name: str) -> None:
    """Do nothing: what production calls between two steps."""
