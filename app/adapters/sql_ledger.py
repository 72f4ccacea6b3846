"""The ledger as a table: the same columns and statements in PostgreSQL, MariaDB and MySQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app.adapters.sql_statements import quoted
from app.core.command import Action, Outcome, RefusalReason
from app.core.ledger import LedgerKind, LedgerRow
from app.core.store import StoreKind

COLUMNS: Final = (
    "command_id",
    "original_id",
    "kind",
    "finding_id",
    "entity",
    "target",
    "key_hash",
    "sealed_key",
    "partition",
    "action",
    "outcome",
    "reason",
    "expected_digest",
    "found_digest",
    "intended_digest",
    "before_image",
    "fence_token",
    "trace_id",
    "approver",
    "written_at",
    "sequence",
    "chain",
)
CHAIN_INDEX: Final = "driftline_ledger_chain"
"""The index by which two appliers cannot both write the next row of a partition."""

BELOW_ALL: Final = -(2**31) - 1
"""Below every partition that the column can hold: who may insert may write rows under one that is none."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)


def instant(wall_ms: int) -> datetime:
    """Return a wall-clock time as a date and time in UTC."""
    return _EPOCH + timedelta(milliseconds=wall_ms)


def wall_ms_of(at: datetime) -> int:
    """Return a date and time, in UTC where it says no zone, as wall-clock time."""
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


class LedgerStatements:
    """The ledger's statements in one store; `table` is its quoted name."""

    def __init__(self, kind: StoreKind, table: str) -> None:
        names = ", ".join(quoted(kind, column) for column in COLUMNS)
        # PostgreSQL keeps the id of the transaction that wrote a row beside it.
        own_id = "ledger.xmin::text" if kind is StoreKind.POSTGRES else "''"
        # Python knows no infinite time, nor one outside these years, and PostgreSQL holds both.
        written_at = "ledger.written_at"
        if kind is StoreKind.POSTGRES:
            written_at = f"greatest(least({written_at}, '9999-01-01'::timestamptz), '0002-01-01'::timestamptz)"
        picked = ", ".join(
            written_at if column == "written_at" else f"ledger.{quoted(kind, column)}" for column in COLUMNS
        )
        marks = ", ".join(["%s"] * len(COLUMNS))
        self._is_postgres = kind is StoreKind.POSTGRES
        self.insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - quoted names only
        self.copy = f"COPY {table} ({names}) FROM STDIN"
        select = f"SELECT {picked}, {own_id} FROM {table} AS ledger"  # noqa: S608
        self._by_ids = f"{select} WHERE ledger.command_id"
        partition = quoted(kind, "partition")
        place = f"ledger.{partition}"
        self._head = (
            f"(SELECT {place}, ledger.sequence, ledger.chain FROM {table} AS ledger"  # noqa: S608
            f" WHERE {place} = %s ORDER BY ledger.sequence DESC LIMIT 1)"
        )
        # Each database finds the place by one of these, and goes through all rows before it by the other.
        behind = (
            f"({place}, ledger.sequence) > (%s, %s)"
            if self._is_postgres
            else f"({place} > %s OR ({place} = %s AND ledger.sequence > %s))"
        )
        self._page = f"{select} WHERE {behind} ORDER BY {place}, ledger.sequence LIMIT %s"
        self.next_partition = f"SELECT min({place}) FROM {table} AS ledger WHERE {place} > %s"  # noqa: S608
        self.inserts = (
            # What is an insert is no condition, so that no index of it is taken for the chain's.
            "SELECT ledger.command_id,"  # noqa: S608
            " ledger.kind = 'command' AND ledger.action = 'upsert' AND ledger.expected_digest = ''"
            f" FROM {table} AS ledger WHERE {place} = %s AND ledger.sequence > %s ORDER BY ledger.sequence"
        )
        self._which = f"SELECT ledger.command_id FROM {table} AS ledger WHERE ledger.command_id"  # noqa: S608
        self.in_minute = (
            "SELECT count(*), coalesce(sum(CASE WHEN ledger.action = 'delete' THEN 1 ELSE 0 END), 0),"  # noqa: S608
            " coalesce(sum(CASE WHEN ledger.approver = '' AND ledger.entity = %s THEN 1 ELSE 0 END), 0),"
            f" max({written_at})"
            f" FROM {table} AS ledger WHERE ledger.kind = 'command' AND ledger.written_at > %s"
        )
        # A row's key leads to one partition, whose rows are numbered; times are clocks', which may be set back. The key
        # is the only condition: by an index of kinds or times all of an hour was read where few had been analysed.
        undo, command = (
            f"max(CASE WHEN ledger.kind = '{kind}' THEN ledger.sequence END)" for kind in ("undo", "command")
        )
        self._of_keys = (
            "SELECT ledger.entity, ledger.key_hash,"  # noqa: S608
            " count(CASE WHEN ledger.kind = 'command' AND ledger.written_at > %s THEN 1 END),"
            f" coalesce({undo} > coalesce({command}, -1), false)"
            f" FROM {table} AS ledger WHERE ledger.key_hash"
        )
        self._by_keys = f"GROUP BY ledger.entity, ledger.key_hash, {place}"

    def heads(self, partitions: Collection[int]) -> tuple[str, list[object]]:
        """Return the statement that reads where the chain of each of these partitions ends."""
        return " UNION ALL ".join([self._head] * len(partitions)), [*partitions]

    def by_ids(self, row_ids: Sequence[bytes]) -> tuple[str, list[object]]:
        """Return the statement that reads the rows of these ids."""
        condition, parameters = self._among(row_ids)
        return f"{self._by_ids} {condition}", parameters

    def page(self, partition: int, sequence: int, limit: int) -> tuple[str, list[object]]:
        """Return the statement that reads so many rows behind a place, by partition and sequence."""
        place = [partition, sequence] if self._is_postgres else [partition, partition, sequence]
        return self._page, [*place, limit]

    def which(self, row_ids: Sequence[bytes]) -> tuple[str, list[object]]:
        """Return the statement that tells which rows of these ids there are."""
        condition, parameters = self._among(row_ids)
        return f"{self._which} {condition}", parameters

    def of_keys(self, key_hashes: Sequence[bytes], since: datetime) -> tuple[str, list[object]]:
        """Return the statement that tells what was done to rows, by entity, key hash and partition.

        How often each was repaired since a moment, and whether the last thing done to it was undoing a repair.
        """
        condition, parameters = self._among(key_hashes)
        return f"{self._of_keys} {condition} {self._by_keys}", [since, *parameters]

    def _among(self, names: Sequence[bytes]) -> tuple[str, list[object]]:
        digits = [name.hex() for name in names]
        if self._is_postgres:
            return "= ANY(%s)", [digits]
        return f"IN ({', '.join(['%s'] * len(digits))})", [*digits]

    def _at(self, wall_ms: int) -> datetime:
        at = instant(wall_ms)
        return at if self._is_postgres else at.replace(tzinfo=None)

    def since(self, now_wall_ms: int) -> tuple[datetime, datetime]:
        """Return the moments a minute and an hour ago, as the store compares them."""
        now = self._at(now_wall_ms)
        return now - _MINUTE, now - _HOUR

    def parameters(self, row: LedgerRow, sequence: int, chain: bytes) -> list[object]:
        """Return a row's values in the order of `COLUMNS`, with its place and the link to the row before."""
        return [
            row.row_id.hex(),
            row.original_id.hex(),
            row.kind.value,
            row.finding_id.hex(),
            row.entity,
            row.target,
            row.key_hash.hex(),
            row.sealed_key,
            row.partition,
            row.action.value,
            row.outcome.value,
            row.reason.value if row.reason else "",
            row.expected_digest.hex(),
            row.found_digest.hex(),
            row.intended_digest.hex(),
            row.before_image,
            row.fence_token,
            row.trace_id.hex(),
            row.approver,
            self._at(row.written_at_ms),
            sequence,
            chain.hex(),
        ]


def ledger_row(values: Sequence[Any]) -> LedgerRow:
    """Return a ledger row from what a select gave; of one that no applier can have written only its id and its place.

    Whoever may add rows may write what is none, and neither the audit nor an applier may end at it. Such a row speaks
    of no command, and no link makes it whole.
    """
    found = dict(zip(COLUMNS, values, strict=False))
    try:
        return _read(found, str(values[len(COLUMNS)]))
    except (ValueError, TypeError, AttributeError):
        return LedgerRow(
            row_id=of_digits(found["command_id"]),
            original_id=b"",
            kind=LedgerKind.REFUSAL,
            finding_id=b"",
            entity="",
            target="",
            key_hash=b"",
            sealed_key=b"",
            partition=found["partition"],
            action=Action.UPSERT,
            outcome=Outcome.REFUSED,
            reason=RefusalReason.UNREADABLE,
            expected_digest=b"",
            found_digest=b"",
            intended_digest=b"",
            before_image=b"",
            fence_token=0,
            trace_id=b"",
            approver="",
            written_at_ms=0,
            sequence=found["sequence"],
            chain=of_digits(found["chain"]),
        )


def of_digits(text: str) -> bytes:
    """Return what hexadecimal digits say, and other text as it stands."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return text.encode()


def _read(found: Mapping[str, Any], transaction: str) -> LedgerRow:
    return LedgerRow(
        row_id=bytes.fromhex(found["command_id"]),
        original_id=bytes.fromhex(found["original_id"]),
        kind=LedgerKind(found["kind"]),
        finding_id=bytes.fromhex(found["finding_id"]),
        entity=found["entity"],
        target=found["target"],
        key_hash=bytes.fromhex(found["key_hash"]),
        sealed_key=bytes(found["sealed_key"]),
        partition=found["partition"],
        action=Action(found["action"]),
        outcome=Outcome(found["outcome"]),
        reason=RefusalReason(found["reason"]) if found["reason"] else None,
        expected_digest=bytes.fromhex(found["expected_digest"]),
        found_digest=bytes.fromhex(found["found_digest"]),
        intended_digest=bytes.fromhex(found["intended_digest"]),
        before_image=bytes(found["before_image"]),
        fence_token=found["fence_token"],
        trace_id=bytes.fromhex(found["trace_id"]),
        approver=found["approver"],
        written_at_ms=wall_ms_of(found["written_at"]),
        transaction=transaction,
        sequence=found["sequence"],
        chain=bytes.fromhex(found["chain"]),
    )
