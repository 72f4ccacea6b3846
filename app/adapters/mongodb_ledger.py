"""The ledger as a collection: a document a row, with the fields of the SQL stores' table, and its id also as `_id`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from bson import Int64
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from app.adapters.mongodb_client import Document
from app.adapters.mongodb_documents import LOSSLESS
from app.adapters.sql_ledger import BELOW_ALL, COLUMNS, instant, ledger_row, of_digits
from app.adapters.unchecked_inserts import without_checks
from app.core.chain import FIRST, link
from app.core.ledger import UNCHECKED_AMONG, LedgerCounts, LedgerRow

LEDGER: Final = "driftline_ledger"
CHAIN_FIELDS: Final = ("partition", "sequence")
"""The fields of the index by which two appliers cannot both write the next row of a partition."""

_PAGE: Final = 1_000
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_FIRST_MS: Final = -62_135_596_800_000
_LAST_MS: Final = 253_370_764_800_000
"""The years 1 and 9999: Python knows no time before and none behind, and BSON holds some."""


class MongodbLedger:
    """The ledger in Driftline's own database of a store."""

    def __init__(self, database: Database[Document], chain_key: bytes) -> None:
        self._rows = database[LEDGER].with_options(codec_options=LOSSLESS)
        self._chain_key = chain_key

    def insert(self, rows: Sequence[LedgerRow], session: ClientSession) -> None:
        """Insert rows behind the last one of their partition, in a transaction."""
        heads = {partition: self._head(partition, session) for partition in {row.partition for row in rows}}
        documents = []
        for row in rows:
            last, before = heads[row.partition]
            chain = link(self._chain_key, before, row, last + 1)
            heads[row.partition] = last + 1, chain
            documents.append(_document(row, last + 1, chain))
        self._rows.insert_many(documents, session=session)

    def _head(self, partition: int, session: ClientSession | None) -> tuple[int, bytes]:
        found = self._rows.find_one({"partition": partition}, sort=[("sequence", DESCENDING)], session=session)
        return (0, FIRST) if found is None else (int(found["sequence"]), of_digits(str(found["chain"])))

    def by_ids(self, row_ids: Sequence[bytes]) -> list[LedgerRow]:
        """Return the rows of these ids."""
        return rows_of(self._rows.find({"_id": {"$in": [row_id.hex() for row_id in row_ids]}}))

    def all_rows(self) -> Iterator[list[LedgerRow]]:
        """Yield all rows by partition and sequence, in pages."""
        partition, sequence = BELOW_ALL, 0
        while True:
            behind = {"partition": partition, "sequence": {"$gt": sequence}}
            asked = self._rows.find({"$or": [{"partition": {"$gt": partition}}, behind]})
            page = rows_of(asked.sort([("partition", ASCENDING), ("sequence", ASCENDING)]).limit(_PAGE))
            yield page
            if len(page) < _PAGE:
                return
            partition, sequence = page[-1].partition, page[-1].sequence

    def in_minute(self, entity: str, now_wall_ms: int) -> LedgerCounts:
        """Count the repairs of the last minute."""
        counted = {
            "_id": None,
            "writes": {"$sum": 1},
            "deletes": {"$sum": {"$cond": [{"$eq": ["$action", "delete"]}, 1, 0]}},
            "automatic": {
                "$sum": {"$cond": [{"$and": [{"$eq": ["$approver", ""]}, {"$eq": ["$entity", entity]}]}, 1, 0]}
            },
            "newest": {"$max": "$written_at"},
        }
        chosen = {"kind": "command", "written_at": {"$gt": DatetimeMS(now_wall_ms - _MINUTE_MS)}}
        for found in self._rows.aggregate([{"$match": chosen}, {"$group": counted}]):
            return LedgerCounts(found["writes"], found["deletes"], 0, found["automatic"], int(found["newest"]))
        return LedgerCounts(0, 0, 0)

    def in_hour(self, key_hashes: Collection[str], now_wall_ms: int) -> dict[tuple[str, str], int]:
        """Count the repairs of each row in the last hour, by entity and key hash."""
        hour_ago = DatetimeMS(now_wall_ms - _HOUR_MS)
        chosen = {"kind": "command", "written_at": {"$gt": hour_ago}, "key_hash": {"$in": sorted(key_hashes)}}
        counted = {"_id": {"entity": "$entity", "key_hash": "$key_hash"}, "rows": {"$sum": 1}}
        found = self._rows.aggregate([{"$match": chosen}, {"$group": counted}])
        return {(each["_id"]["entity"], each["_id"]["key_hash"]): int(each["rows"]) for each in found}

    def undone(self, key_hashes: Collection[str]) -> set[tuple[str, str]]:
        """Return the rows to which the last thing done was undoing a repair, by entity and key hash.

        A row's key leads to one partition, whose rows are numbered; times are clocks', which may be set back.
        """
        chosen = {"kind": {"$in": ["command", "undo"]}, "key_hash": {"$in": sorted(key_hashes)}}
        row = {"entity": "$entity", "key_hash": "$key_hash", "partition": "$partition"}
        last = {"_id": row, "kind": {"$last": "$kind"}}
        found = self._rows.aggregate([{"$match": chosen}, {"$sort": {"sequence": ASCENDING}}, {"$group": last}])
        return {(each["_id"]["entity"], each["_id"]["key_hash"]) for each in found if each["kind"] == "undo"}

    def unchecked(self, limit: int) -> list[LedgerRow]:
        """Return applied inserts whose check is not there, oldest first, among each partition's newest rows."""
        partitions = [each for each in self._rows.distinct("partition") if isinstance(each, int) and each >= 0]
        inserts = (digits for partition in partitions for digits in self._newest_inserts(partition))
        return sorted(self.by_ids(without_checks(inserts, self._which)[:limit]), key=attrgetter("written_at_ms"))

    def _newest_inserts(self, partition: int) -> list[str]:
        last, _ = self._head(partition, None)
        newest = {"partition": partition, "sequence": {"$gt": last - UNCHECKED_AMONG}}
        chosen = newest | {"kind": "command", "action": "upsert", "expected_digest": ""}
        return [str(found["_id"]) for found in self._rows.find(chosen, {"_id": True}).sort("sequence")]

    def _which(self, row_ids: Sequence[bytes]) -> list[str]:
        chosen = {"_id": {"$in": [row_id.hex() for row_id in row_ids]}}
        return [str(found["_id"]) for found in self._rows.find(chosen, {"_id": True})]


def _document(row: LedgerRow, sequence: int, chain: bytes) -> Document:
    """Return a row as a document, with its place and the link that binds it to the row before."""
    row_id = row.row_id.hex()
    return {
        "_id": row_id,
        "command_id": row_id,
        "original_id": row.original_id.hex(),
        "kind": row.kind.value,
        "finding_id": row.finding_id.hex(),
        "entity": row.entity,
        "target": row.target,
        "key_hash": row.key_hash.hex(),
        "sealed_key": row.sealed_key,
        "partition": row.partition,
        "action": row.action.value,
        "outcome": row.outcome.value,
        "reason": row.reason.value if row.reason else "",
        "expected_digest": row.expected_digest.hex(),
        "found_digest": row.found_digest.hex(),
        "intended_digest": row.intended_digest.hex(),
        "before_image": row.before_image,
        "fence_token": Int64(row.fence_token),
        "trace_id": row.trace_id.hex(),
        "approver": row.approver,
        "written_at": DatetimeMS(row.written_at_ms),
        "sequence": Int64(sequence),
        "chain": chain.hex(),
    }


def rows_of(found: Iterable[Mapping[str, Any]]) -> list[LedgerRow]:
    """Return rows; of one that no applier can have written only its id and its place, as of other stores."""
    return [ledger_row([*(_value(each, column) for column in COLUMNS), ""]) for each in found]


def _value(document: Mapping[str, Any], column: str) -> object:
    value = document.get(column)
    if column == "command_id":
        return str(document["_id"])
    if column == "chain":
        return str(value)
    if isinstance(value, Int64):
        return int(value)
    return instant(max(_FIRST_MS, min(int(value), _LAST_MS))) if isinstance(value, DatetimeMS) else value
