"""What a rehearsal tells of one command: whether it would be written, and what that would touch. Never a row's value.

A rehearsal is the write itself, through the same checks and locks, that ends in a rollback. Each row is tried alone
against what stands there now: what depends on another row of its batch is told as the store tells it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.core.command import RefusalReason, RepairCommand
from app.core.contract import RehearsalRule, RepairPolicy

UNCOUNTED: Final = -1
"""Nobody can tell how many rows."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Rows of one table that a transaction wrote, by what it did to them; `UNCOUNTED` where it cannot be told.

    `table` is the store's name, empty where the store counts rows without saying of which table. `through` names the
    trigger or foreign key by which they are written, empty where they are the command's own or the store cannot tell.
    """

    table: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    through: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a transaction wrote, without its ledger row. `is_complete`: the store knows of no other table."""

    touched: tuple[Touched, ...] = ()
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of trying one command of a batch.

    `command_id` and `content` are the command as the batch has it (`app.core.signing.member_of`): of a command that
    has another content this says nothing. `reason` is the first check that said no, None where it would be written;
    `detail` is for a person, with the name of the constraint where one said no. `at_ms` is wall-clock time.
    """

    batch_id: bytes
    command_id: bytes
    content: bytes
    entity: str
    target: str
    reason: RefusalReason | None
    detail: str
    touched: tuple[Touched, ...]
    is_complete: bool
    partition: int
    at_ms: int
    trace_id: bytes

    @property
    def member(self) -> bytes:
        """The command as the batch has it."""
        return self.command_id + self.content


def yes_counts_from_ms(policy: RepairPolicy, command: RepairCommand, rehearsed_at_ms: int | None) -> int | None:
    """Return from when on a yes counts; None while the policy wants a rehearsal first, and there was none.

    `rehearsed_at_ms` is when the command was first tried. What a person asks for is not planned, and was seen before.
    """
    return rehearsed_at_ms if policy.rehearsal is RehearsalRule.REQUIRED and not command.is_asked_for else 0


def _added(one: int, other: int) -> int:
    return UNCOUNTED if UNCOUNTED in {one, other} else one + other


def summed(rehearsals: Iterable[Rehearsal]) -> list[Touched]:
    """Return what the rows of a batch touch together, table by table; one that cannot be counted has no sum."""
    found: dict[tuple[str, str], Touched] = {}
    for each in (touched for rehearsal in rehearsals for touched in rehearsal.touched):
        at = (each.table, each.through)
        held = found.get(at, Touched(each.table, through=each.through))
        found[at] = Touched(
            each.table,
            _added(held.inserted, each.inserted),
            _added(held.updated, each.updated),
            _added(held.deleted, each.deleted),
            each.through,
        )
    return [found[at] for at in sorted(found)]
