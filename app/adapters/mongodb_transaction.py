"""A guarded transaction of MongoDB.

A transaction there is a snapshot, and not READ COMMITTED: it is taken with the first call, whatever is committed later
stays unseen in it, and a write of what somebody has written since, or is writing now, is a write conflict at once. So:

- **Nothing is begun before `lock`.** `fence` and `look` read what a majority has, and `record` keeps its rows. `lock`
  begins, and takes the snapshot then: it sees all that changed since the rows were looked at. First of all it writes
  the documents of `driftline_shared` and reads the flags again (`app.adapters.mongodb_fence`); if they say anything
  else than `fence` told, nobody has decided upon that, and the row is held. Then it adds to the ledger.
- **The snapshot is the lock.** What `lock` showed, the applier judges, and `write` writes over the very documents of
  that snapshot. If somebody has written one of them since, or is at it, that write ends in a conflict (`ROW_LOCKED`)
  and in nothing: no update is lost. Who comes behind our write waits, or meets the conflict, until we are through.
  What another session's lock says in SQL at `lock` is therefore said at `write`; a marker in the documents would say it
  earlier, and would be seen by the application and in the changes.
- A write that changes nothing conflicts with nobody, as it may: it is as if it had come before the other's.
- An absent document has no lock. One that came since is no part of the snapshot, and its insertion is a conflict; who
  is there by then, in what a majority has, is told as a row that moved.
- **After a write that a unique index refuses MongoDB has ended the transaction.** It is begun anew, from the flags on,
  and goes on only if every row still is as `lock` showed it.

No call waits for a lock: within a transaction MongoDB waits for no document, and for no longer than some milliseconds
for a collection. Each call has an upper time, and the server ends a transaction that is forgotten.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from bson import Decimal128, ObjectId
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from app.adapters.fence_flags import Flags, fence_of
from app.adapters.mongodb_client import Document
from app.adapters.mongodb_documents import LOSSLESS, MISSING, at, bson_of, changes
from app.adapters.mongodb_fence import NOBODY
from app.adapters.mongodb_refusals import FAULTS, DuplicateKey, WriteFailed, within_time
from app.adapters.mongodb_snapshots import held_documents, start
from app.adapters.mongodb_table import ID, Held, MongodbTable
from app.core.command import RefusalReason
from app.core.guard import Fence, Refused
from app.core.ledger import LedgerRow
from app.core.rehearsal import Tally, Touched
from app.core.together import freed_first
from app.ports import AlreadyRecorded, RowName, RowRead, RowsRefused, RowWrite, Way, WholeRow

if TYPE_CHECKING:
    from app.adapters.mongodb_rows import MongodbRows

Request = InsertOne[Document] | UpdateOne | ReplaceOne[Document] | DeleteOne

_TYPES: Final[Mapping[type, str]] = {
    ObjectId: "objectId",
    str: "string",
    DatetimeMS: "date",
    bytes: "binData",
    Binary: "binData",
    bool: "bool",
    Decimal128: "number",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """What is done to one document: from what it is to what it will be, None for no document."""

    table: MongodbTable
    now: Document | None
    then: Document | None

    @property
    def request(self) -> Request | None:
        """What the driver is asked for; None where nothing changes."""
        if self.now is None:
            return None if self.then is None else InsertOne(self.then)
        only = {ID: self.now[ID]}
        if self.then is None:
            return DeleteOne(only)
        update = changes(self.now, self.then)
        if update is None:
            return ReplaceOne(only, self.then)
        return UpdateOne(only, update) if update else None

    def touched(self) -> Touched:
        """Return what it counts as."""
        inserted, deleted = self.now is None and self.then is not None, self.now is not None and self.then is None
        updated = self.now is not None and self.then is not None
        return Touched(self.table.name, int(inserted), int(updated), int(deleted))


class UniqueTaken(Refused):
    """A unique index of a collection has a row's value already; `fields` are the paths that it is over."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        told = ", ".join(f'"{field}"' for field in fields)
        reason = RefusalReason.ROW_MOVED if fields == (ID,) else RefusalReason.UNIQUE_CONFLICT
        super().__init__(reason, f"the unique index over {told} has the value already")
        self.fields = fields


class MongodbTransaction:
    """One guarded transaction on some documents, of the collections that `tables` holds by entity."""

    def __init__(
        self,
        store: MongodbRows,
        client: MongoClient[Document],
        session: ClientSession,
        tables: Mapping[str, MongodbTable],
        rows: Sequence[RowName],
        server: int,
    ) -> None:
        self.store = store
        self.client = client
        self.tables = tables
        self.rows = rows
        self._session = session
        self._server = server
        self._is_begun = self._is_over = False
        self._flags: Flags | None = None
        self._recorded: list[LedgerRow] = []
        self._locked: list[Held | None] | None = None
        self._written: list[Planned] = []
        self._counts_from: int | None = None

    @property
    def _within(self) -> ClientSession | None:
        """The session, for who reads in the transaction once that is begun."""
        return self._session if self._is_begun else None

    # -- RowTransaction -----------------------------------------------------------------------------------------------

    def fence(self) -> Fence:
        """Return what the store's own flags say; they must say the same when the transaction begins."""
        with self.store.answers.noted():
            try:
                with self.store.translating():
                    flags = self.store.own()[0].flags(self._within)
            except Refused as no:
                raise self.store.own_fault(no) from None
        told = fence_of(flags, self._server, self.store.where)
        self._flags = flags
        return told

    def look(self) -> list[WholeRow]:
        """Read the rows without a lock; behind a write, as this transaction left them."""
        return [WholeRow(RowRead()) if held is None else held.whole() for held in self._held()]

    def record(self, rows: Sequence[LedgerRow]) -> None:
        """Insert ledger rows, with the transaction's beginning where that is still to come."""
        if self.store.recorded([row.row_id for row in rows]):
            raise AlreadyRecorded
        if self._is_begun:
            self._insert(rows)
        self._recorded += rows

    def lock(self) -> list[WholeRow]:
        """Begin, where nothing has yet, and read the rows again: what is written now is written over these."""
        self._begin()
        self._locked = self._held()
        return [WholeRow(RowRead()) if held is None else held.whole() for held in self._locked]

    def write(self, writes: Sequence[RowWrite]) -> int:
        """Write each row in its way; where a unique index says no, in the order that it takes them in."""
        self._begin()
        planned = self._planned(writes, self._held())
        indexes: set[tuple[str, tuple[str, ...]]] = set()
        refused: dict[int, Refused] = {}
        while True:
            values = {place: self._values(planned[place], indexes) for place in planned if place not in refused}
            order, stuck = freed_first(values)
            refused |= {place: self._taken(planned[place], indexes) for place in stuck}
            try:
                written = self._run([(place, planned[place]) for place in order])
            except WriteFailed as no:
                if len(writes) == 1 or self._written:
                    raise _refusal(no.error) from None
                index = planned[no.place].table.name, getattr(no.error, "fields", ())
                if isinstance(no.error, DuplicateKey) and index not in indexes and index[1] != (ID,):
                    indexes.add(index)
                else:
                    refused[no.place] = _refusal(no.error)
                self._begin_again()
                continue
            if refused:
                raise RowsRefused(refused, self._unique_fields(planned, refused))
            self._written += [planned[place] for place in order]
            return written

    def read_back(self) -> list[RowRead]:
        """Read the rows as this transaction left them."""
        return [RowRead() if held is None else held.read for held in self._held()]

    def other_tables(self) -> tuple[str, ...]:
        """Return none: MongoDB has no triggers and no cascades."""
        return ()

    def tally(self) -> Tally:
        """Tell what was written since the first asking, by collection."""
        if self._counts_from is None:
            self._counts_from = len(self._written)
        found: dict[str, Touched] = {}
        for each in map(Planned.touched, self._written[self._counts_from :]):
            sum_ = found.get(each.table, Touched(each.table))
            found[each.table] = Touched(
                each.table,
                sum_.inserted + each.inserted,
                sum_.updated + each.updated,
                sum_.deleted + each.deleted,
            )
        return Tally(tuple(found.values()))

    def commit(self) -> str:
        """Commit; an error here leaves open whether it took place, and the ledger will tell.

        The id is the session's, by which a change names its transaction, and the time of the commit.
        """
        if self._recorded:
            self._begin()
        with self.store.answers.noted(), self.store.translating():
            if self._is_begun:
                self._session.commit_transaction()
        self.store.counted.add(self._recorded)
        at_time = self._session.operation_time
        told = f"{self._session.session_id['id'].as_uuid()}:{at_time.time}.{at_time.inc}" if at_time else ""
        self._end()
        return told if self._is_begun else ""

    def rollback(self) -> None:
        """Undo everything; harmless after a commit, and after the server is gone."""
        if not self._is_over:
            # The server ends what a lost client left.
            with suppress(*FAULTS), within_time():
                if self._session.in_transaction:
                    self._session.abort_transaction()
            self._end()

    def _end(self) -> None:
        self._is_over = True
        with suppress(*FAULTS):
            self._session.end_session()

    # -- beginning ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Take the snapshot, unless that was done; share the fence, and add to the ledger what was recorded."""
        if self._is_begun:
            return
        partitions = sorted({row.partition for row in self._recorded}) or [NOBODY]
        with self.store.translating():
            fence, _ = self.store.own()
            fence.prepare(partitions)
            start(self._session)
            self._is_begun = True
            fence.share(partitions, self._session)
            if self._flags is not None and fence.flags(self._session) != self._flags:
                raise Refused(RefusalReason.ROW_LOCKED, "the store's flags changed just now")
        self._insert(self._recorded)

    def _begin_again(self) -> None:
        """Begin anew where the server has ended the transaction; `Refused` if a row is not as `lock` showed it."""
        with self.store.translating():
            self._session.abort_transaction()
        self._is_begun = False
        self._begin()
        if self._locked is not None and _images(self._held()) != _images(self._locked):
            raise Refused(RefusalReason.ROW_LOCKED, "somebody wrote a row just now")

    def _insert(self, rows: Sequence[LedgerRow]) -> None:
        if not rows:
            return
        try:
            with self.store.translating():
                self.store.own()[1].insert(rows, self._session)
        except DuplicateKey as duplicate:
            raise self.store.ledger_fault(duplicate) from None
        except WriteFailed as no:
            raise (self.store.ledger_fault(no.error) if isinstance(no.error, DuplicateKey) else no.error) from None

    # -- reading ------------------------------------------------------------------------------------------------------

    def _held(self) -> list[Held | None]:
        """Return each row's document; one whose key cannot be read may be any row that was not found."""
        found: dict[RowName, Held | None] = {}
        for entity, table in self.tables.items():
            keys = [key for named, key in self.rows if named == entity]
            with self.store.translating():
                documents = held_documents(self.client, table, keys, self._within)
            by_key = {held.key: held for held in documents if held.key is not None}
            if len(documents) > 1 and len(documents) != sum(key in by_key for key in keys):
                raise Refused(RefusalReason.WIDER_THAN_ONE_ROW, "a key finds several documents")
            unknown = next((held for held in documents if held.key is None), None)
            found |= {(entity, key): by_key.get(key, unknown) for key in keys}
        return [found[row] for row in self.rows]

    # -- writing ------------------------------------------------------------------------------------------------------

    def _planned(self, writes: Sequence[RowWrite], held: Sequence[Held | None]) -> dict[int, Planned]:
        """Return what becomes of each row; `RowsRefused` names those that BSON or the snapshot says no to."""
        planned: dict[int, Planned] = {}
        refused: dict[int, Refused] = {}
        for place, ((entity, key), write, found) in enumerate(zip(self.rows, writes, held, strict=True)):
            table = self.tables[entity]
            now = None if found is None else found.document
            try:
                if now is not None and write.way in {Way.INSERT, Way.PUT_BACK}:
                    raise UniqueTaken((ID,))
                new_id = self._new_id(table, key) if write.way is Way.INSERT else None
                planned[place] = Planned(table, now, table.becomes(write, now, new_id))
            except Refused as no:
                if len(writes) == 1:
                    raise
                refused[place] = no
        if refused:
            raise RowsRefused(refused)
        return planned

    def _new_id(self, table: MongodbTable, key: bytes) -> object:
        """Return the `_id` of a document that is inserted: of the type that the collection's have."""
        by_type: dict[str, list[Any]] = {}
        for each in table.ids(key):
            by_type.setdefault(_TYPES.get(type(each), "number"), []).append(each)
        if len(by_type) == 1:
            return table.ids(key)[0]
        with self.store.translating():
            documents = self._collection(table)
            samples = [documents.find_one({ID: {"$type": name}}, {ID: 1}, session=self._session) for name in by_type]
        there = [sample[ID] for sample in samples if sample is not None]
        if len(there) > 1:
            told = "its collection has ids of several types, and nobody knows of which its own is to be"
            raise Refused(RefusalReason.UNCOVERED_COLUMNS, told)
        if not there:
            return table.ids(key)[0]
        alike = by_type[_TYPES.get(type(there[0]), "number")]
        of_subtype = [each for each in alike if getattr(each, "subtype", 0) == getattr(there[0], "subtype", 0)]
        return (of_subtype or alike)[0]

    def _collection(self, table: MongodbTable) -> Collection[Document]:
        return self.client[table.database].get_collection(table.collection, LOSSLESS)

    def _run(self, planned: Sequence[tuple[int, Planned]]) -> int:
        """Write documents in their order, neighbours of one collection together; return how many were written.

        `WriteFailed` names the place of the one that a unique index or a validator refuses.
        """
        written = 0
        for table, group in groupby(planned, lambda each: each[1].table):
            asked = [(place, each, each.request) for place, each in group]
            # What stays as it is was found in the snapshot, and counts as written.
            written += sum(request is None and each.then is not None for _, each, request in asked)
            places = [place for place, _, request in asked if request is not None]
            requests = [request for _, _, request in asked if request is not None]
            if requests:
                try:
                    with self.store.translating(table.names):
                        result = self._collection(table).bulk_write(requests, session=self._session)
                except WriteFailed as no:
                    raise WriteFailed(places[no.place], no.error) from None
                except Refused as no:
                    raise self._moved(planned) or no from None
                written += result.inserted_count + result.matched_count + result.deleted_count
        return written

    def _moved(self, planned: Sequence[tuple[int, Planned]]) -> Exception | None:
        """Return what a conflict means where rows that are to be inserted are there by now; None if none is."""
        came = {}
        for place, each in planned:
            if each.now is None and each.then is not None:
                with self.store.translating():
                    found = self._collection(each.table).find_one({ID: each.then[ID]}, {ID: 1})
                if found is not None:
                    came[place] = UniqueTaken((ID,))
        if not came:
            return None
        return RowsRefused(came) if len(planned) > 1 else next(iter(came.values()))

    # -- unique values ------------------------------------------------------------------------------------------------

    @staticmethod
    def _values(
        planned: Planned, indexes: set[tuple[str, tuple[str, ...]]]
    ) -> tuple[Mapping[Hashable, Hashable], Mapping[Hashable, Hashable]]:
        """Return the values that a document has, and will have, in the unique indexes of its collection."""
        mine = [index for index in indexes if index[0] == planned.table.name]
        return _held_in(planned.now, mine), _held_in(planned.then, mine)

    @staticmethod
    def _taken(planned: Planned, indexes: set[tuple[str, tuple[str, ...]]]) -> UniqueTaken:
        """Return the no to a row that no order helps."""
        changed = [
            fields
            for name, fields in sorted(indexes)
            if name == planned.table.name and _value(planned.now, fields) != _value(planned.then, fields)
        ]
        return UniqueTaken(changed[0] if changed else ())

    def _unique_fields(
        self, planned: Mapping[int, Planned], refused: Mapping[int, Refused]
    ) -> dict[int, tuple[str, ...]]:
        """Return the fields of the unique indexes that say no to some rows, as far as they are known."""
        taken = {place: no for place, no in refused.items() if isinstance(no, UniqueTaken) and no.fields != (ID,)}
        known: dict[str, set[tuple[str, ...]]] = {}
        found = {}
        for place, no in taken.items():
            table = planned[place].table
            if table.name not in known:
                known[table.name] = self._whole_indexes(table)
            if no.fields in known[table.name]:
                found[place] = table.fields_of(no.fields)
        return {place: fields for place, fields in found.items() if fields}

    def _whole_indexes(self, table: MongodbTable) -> set[tuple[str, ...]]:
        """Return what unique indexes are over; who is not in an index over some documents only holds no value there."""
        try:
            with self.store.translating():
                indexes = [*self._collection(table).list_indexes()]
        except Refused:
            return set()
        parted = {"partialFilterExpression", "sparse", "collation"}
        return {tuple(each["key"]) for each in indexes if each.get("unique") and parted.isdisjoint(each)}


def _refusal(error: Exception) -> Refused:
    """Return what a failed write means for its row; what is no row's own matter is raised."""
    if isinstance(error, DuplicateKey):
        return UniqueTaken(error.fields)
    if isinstance(error, Refused):
        return error
    raise error


def _held_in(document: Document | None, indexes: Sequence[tuple[str, tuple[str, ...]]]) -> Mapping[Hashable, Hashable]:
    """Return the values that a document has in indexes."""
    values = {index: _value(document, index[1]) for index in indexes}
    return {index: value for index, value in values.items() if value is not None}


def _value(document: Document | None, fields: tuple[str, ...]) -> bytes | None:
    """Return what stands in fields, as bytes; None where one of them has nothing."""
    values = [MISSING if document is None else at(document, field) for field in fields]
    return None if any(value in (MISSING, None) for value in values) else bson_of({"": values})


def _images(rows: Sequence[Held | None]) -> list[bytes]:
    return [b"" if held is None else held.data for held in rows]
