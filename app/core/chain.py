"""The hash chain over the ledger's rows, one per partition, and what an audit of it finds.

Each row's link is a keyed hash over all of its content and the link before it. Without the deployment's key nobody can
make a link, so a row that was changed, taken out or put in breaks its chain there. Rows taken from the end leave no
break: those are found by the outcomes on the topic, which say what must be in the ledger, and by signed heads that were
kept elsewhere (`app.core.heads`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from enum import Enum
from operator import attrgetter
from typing import Final

from app.core.command import DISTRUSTED, Action, CommandOutcome, Outcome, RefusalReason, inverse_id
from app.core.ledger import LedgerKind, LedgerRow, check_id
from app.core.packing import packed, packed_fields

_LINK_BYTES: Final = 32
FIRST: Final = bytes(_LINK_BYTES)
"""What stands before the first row of a partition."""
# What the store itself adds, and the link that is made here.
_UNBOUND: Final = frozenset({"transaction", "chain"})
_NAMES: Final = tuple(sorted(f.name for f in fields(LedgerRow) if f.name not in _UNBOUND))
_PACKED_NAMES: Final = tuple(map(packed, _NAMES))
_VALUES: Final = attrgetter(*_NAMES)
_REASON: Final = _NAMES.index("reason")
_SEQUENCE: Final = _NAMES.index("sequence")


class Break(Enum):
    """What is wrong at one place of the ledger."""

    ALTERED = "altered"  # the row is not what was written, or was not written by us
    MISSING = "missing"  # a row was taken out
    NOT_SIGNED_FOR = "not_signed_for"  # who is named as having let it go, or said no, has signed no such word
    WORD_NOT_PROVEN = (
        "word_not_proven"  # nor can that be said: a key is not trusted any more, or its command was deleted
    )
    DELETED = "deleted"  # of a topic that keeps all for ever the first records are gone, before the one that is named
    NOT_RECORDED = "not_recorded"  # an outcome was told that the ledger knows nothing of
    HEAD_GONE = "head_gone"  # what stood there when somebody signed it does not any more


@dataclass(frozen=True, slots=True)
class Finding:
    """One break, and where: a partition with its sequence (0 where it has none), and the command if it is known.

    Of a topic the sequence is the offset of its first record, or that behind its last one when a head was signed.
    """

    what: Break
    partition: int
    sequence: int
    command_id: bytes


def link(key: bytes, before: bytes, row: LedgerRow, sequence: int) -> bytes:
    """Return the link of a row that stands at this place of its partition, after the link before it."""
    values = [*_VALUES(row)]
    values[_REASON] = "" if row.reason is None else row.reason
    values[_SEQUENCE] = sequence
    told = before + packed_fields(_PACKED_NAMES, values)
    return hashlib.blake2b(told, key=key, digest_size=_LINK_BYTES, person=b"driftline-chain").digest()


def breaks(key: bytes, rows: Iterable[LedgerRow]) -> Iterator[Finding]:
    """Yield the breaks of a ledger whose rows come by partition and sequence.

    After a break the chain is taken up again from what stands there, so that one break hides no other.
    """
    partition, sequence, before = None, 0, FIRST
    for row in rows:
        if row.partition < 0:
            # No chain is there: it was put in by somebody who may add rows.
            yield Finding(Break.ALTERED, row.partition, row.sequence, row.row_id)
            continue
        if row.partition != partition:
            partition, sequence, before = row.partition, 0, FIRST
        if row.sequence != sequence + 1:
            yield Finding(Break.MISSING, row.partition, sequence + 1, b"")
        elif row.chain != link(key, before, row, row.sequence):
            yield Finding(Break.ALTERED, row.partition, row.sequence, row.original_id)
        sequence, before = row.sequence, row.chain


def must_be_recorded(outcome: CommandOutcome) -> bool:
    """Tell whether an outcome says that the target's ledger has a row under its command's id."""
    if outcome.outcome in {Outcome.APPLIED, Outcome.INVERTED}:
        return True
    without = {RefusalReason.UNREADABLE, RefusalReason.OUTSIDE_CONTRACT} | DISTRUSTED
    return outcome.outcome is Outcome.REFUSED and bool(outcome.target) and outcome.reason not in without


def goes_with(outcome: CommandOutcome, *, is_insert: bool) -> frozenset[bytes]:
    """Return the ids that the ledger must have besides the command's own, once the outcome was told.

    An insert is told of behind its check, and one that was taken back behind the row that says so.
    """
    found = {check_id(outcome.command_id)} if is_insert or outcome.outcome is Outcome.INVERTED else set()
    if outcome.outcome is Outcome.INVERTED:
        found.add(inverse_id(outcome.command_id))
    return frozenset(found)


def is_insert(row: LedgerRow) -> bool:
    """Tell whether a ledger row is of an insert that a check follows."""
    return row.kind is LedgerKind.COMMAND and row.action is Action.UPSERT and not row.expected_digest
