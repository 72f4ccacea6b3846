"""No row of a ledger can be changed, taken out or put in without the audit saying where."""

from __future__ import annotations

from dataclasses import fields, replace
from enum import Enum
from typing import Any

import pytest

from app.adapters.memory_rows import CHAIN_KEY
from app.core.chain import FIRST, Break, Finding, breaks, link, must_be_recorded
from app.core.command import CommandOutcome, Outcome, RefusalReason
from app.core.ledger import LedgerRow
from tests.property.applier_world import KEY, World, row


def ledger() -> list[LedgerRow]:
    """Return the ledger of a few repairs in two partitions: refusals, an insert and its check among them."""
    world = World("new", None)
    for partition in (0, 1, 0, 1, 0):
        world.applier().carry_out(replace(world.command(None, "new"), partition=partition))
        world.target.put("orders", KEY, None if partition else row("else"))
    return list(world.target.ledger_rows())


ROWS = ledger()


def found(rows: list[LedgerRow]) -> list[Finding]:
    """Return what an audit says of rows, as a store gives them."""
    return list(breaks(CHAIN_KEY, sorted(rows, key=lambda each: (each.partition, each.sequence))))


def test_a_ledger_that_nobody_touched_has_no_break() -> None:
    """Partition by partition, from 1 without a gap."""
    assert found(ROWS) == []
    for partition in (0, 1):
        mine = [each.sequence for each in ROWS if each.partition == partition]
        assert mine == list(range(1, len(mine) + 1))
        assert len(mine) > 1


def changed(value: Any) -> Any:  # noqa: ANN401 - any field
    """Return another value of the same type."""
    match value:
        case Enum():
            return next(each for each in type(value) if each is not value)
        case None:
            return RefusalReason.EXPIRED
        case int():
            return value + 1
        case str():
            return value + "x"
        case _:
            return value + b"x"


@pytest.mark.parametrize("name", [f.name for f in fields(LedgerRow) if f.name not in {"transaction", "sequence"}])
@pytest.mark.parametrize("at", [0, 1, len(ROWS) - 1])
def test_a_changed_field_is_found_at_its_row(name: str, at: int) -> None:
    """Whichever field, in whichever row; the row's own place is the break's."""
    rows = list(ROWS)
    rows[at] = replace(rows[at], **{name: changed(getattr(rows[at], name))})
    breaks_found = found(rows)
    assert breaks_found
    if name != "partition":
        assert (rows[at].partition, rows[at].sequence) in {(b.partition, b.sequence) for b in breaks_found}


@pytest.mark.parametrize("at", range(len(ROWS)))
def test_a_row_that_was_taken_out_is_missed(at: int) -> None:
    """Unless it was its partition's last: then the outcome that was told of it says so."""
    rows = [each for each in ROWS if each is not ROWS[at]]
    is_last = ROWS[at].sequence == max(each.sequence for each in ROWS if each.partition == ROWS[at].partition)
    expected = [] if is_last else [Finding(Break.MISSING, ROWS[at].partition, ROWS[at].sequence, b"")]
    assert found(rows) == expected


def test_a_row_put_in_by_who_has_no_key_is_found() -> None:
    """At the end of a chain, where nothing else would speak against it."""
    last = max(ROWS, key=lambda each: (each.partition, each.sequence))
    forged = replace(last, row_id=b"f" * 16, sequence=last.sequence + 1)
    forged = replace(forged, chain=link(b"another key".ljust(32), last.chain, forged, forged.sequence))
    assert [(b.what, b.sequence) for b in found([*ROWS, forged])] == [(Break.ALTERED, forged.sequence)]


@pytest.mark.parametrize("sequence", [-1, 0, 1, 7])
def test_a_row_under_a_partition_that_is_none_is_found(sequence: int) -> None:
    """Whatever number it has and whatever it is bound to; the chains of the others stay whole."""
    forged = replace(ROWS[0], row_id=b"f" * 16, partition=-5, sequence=sequence)
    forged = replace(forged, chain=link(CHAIN_KEY, FIRST, forged, forged.sequence))
    assert found([*ROWS, forged]) == [Finding(Break.ALTERED, -5, sequence, b"f" * 16)]


def test_two_rows_that_changed_places_are_found() -> None:
    """Order is content."""
    first, second = (each for each in ROWS if each.partition == 0 and each.sequence <= 2)
    rest = [each for each in ROWS if each not in (first, second)]
    swapped = [replace(second, sequence=1), replace(first, sequence=2)]
    assert {b.what for b in found([*swapped, *rest])} == {Break.ALTERED}


def test_the_first_row_stands_on_nothing() -> None:
    """A chain that begins elsewhere was begun by somebody else."""
    first = ROWS[0]
    assert first.chain == link(CHAIN_KEY, FIRST, first, 1)
    assert found([replace(first, chain=link(CHAIN_KEY, b"x" * 32, first, 1)), *ROWS[1:]])


@pytest.mark.parametrize(
    ("what", "reason", "target", "recorded"),
    [
        (Outcome.APPLIED, None, "copy", True),
        (Outcome.INVERTED, None, "copy", True),
        (Outcome.REFUSED, RefusalReason.ROW_MOVED, "copy", True),
        (Outcome.REFUSED, RefusalReason.REJECTED, "copy", True),
        (Outcome.REFUSED, RefusalReason.FORGED, "copy", False),
        (Outcome.REFUSED, RefusalReason.UNREADABLE, "copy", False),
        (Outcome.REFUSED, RefusalReason.APPROVAL_EXPIRED, "", False),
        (Outcome.HELD, RefusalReason.ROW_LOCKED, "copy", False),
    ],
)
def test_which_outcomes_must_stand_in_the_ledger(
    what: Outcome, reason: RefusalReason | None, target: str, *, recorded: bool
) -> None:
    """Those that say that something was written, or refused for good."""
    outcome = CommandOutcome(b"c", b"f", "orders", target, what, reason, 0, "", 0, b"", "")
    assert must_be_recorded(outcome) is recorded
