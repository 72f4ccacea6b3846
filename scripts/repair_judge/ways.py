"""Which ends a repair may have, by when the application wrote to its row: the order of an applier's steps.

An applier looks, locks, reads the authority, writes, commits; after an insert it reads the authority again. What was
written before the lock, or before the authority was read, must have the repair refused. What was written later waits
for the commit, or comes after the read; then either this attempt was committed, or it was not and the next one sees the
write. Steps are named by what was done last.
"""

from __future__ import annotations

from typing import Final

from repair_judge.evidence import Told
from repair_judge.story import Kind, Repair, Side, Write

BEFORE_LOCK: Final = (
    "received",
    "before_transaction",
    "transaction_begun",
    "fence_shared",
    "row_looked_at",
    "ledger_row_inserted",
)
LOCKED: Final = ("row_locked", "authority_read", "row_written", "row_read_back", "before_commit")
AFTERWARDS: Final = ("outcome_sent", "outcome_acknowledged", "offset_committed")
ABSENT_IS_NOT_LOCKED: Final = ("row_locked", "authority_read")

APPLIED: Final = Told("applied", "")
LEFT: Final = Told("applied", "row_moved")
"""Inserted, found wrong, and left, since somebody has written to it meanwhile."""
ROW_MOVED: Final = Told("refused", "row_moved")
AUTHORITY_MOVED: Final = Told("refused", "authority_moved")
INVERTED: Final = Told("inverted", "authority_moved")


def ways_of(repair: Repair) -> frozenset[Told]:
    """Return the ends that a repair may have. Its last write decides: an earlier one was what let it be made there."""
    if not repair.writes:
        return frozenset({APPLIED})
    write = repair.writes[-1]
    ways = _by_target(write, repair.kind) if write.side is Side.TARGET else _by_authority(write, repair.kind)
    return frozenset(ways)


def _by_target(write: Write, kind: Kind) -> set[Told]:
    match write.step:
        case "refusal_recorded":
            return {AUTHORITY_MOVED}
        case "inverse_begun":
            return {LEFT}
        case "inverse_written":
            return {INVERTED, LEFT}
        case "inverse_committed":
            return {INVERTED}
    if write.step in BEFORE_LOCK or (kind is Kind.MISSING and write.step in ABSENT_IS_NOT_LOCKED):
        return {ROW_MOVED}
    return {APPLIED, ROW_MOVED} if write.step in LOCKED else {APPLIED}


def _by_authority(write: Write, kind: Kind) -> set[Told]:
    if write.step in {*BEFORE_LOCK, "row_locked"}:
        return {AUTHORITY_MOVED}
    is_insert = kind is Kind.MISSING
    if write.step in LOCKED:
        return {INVERTED if is_insert else APPLIED, AUTHORITY_MOVED}
    if is_insert and write.step == "committed":
        return {INVERTED}
    if is_insert and write.step == "authority_read_again":
        # Killed there, it reads once more.
        return {APPLIED, INVERTED}
    return {APPLIED}
