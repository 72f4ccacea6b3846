"""MongoDB as a store of rows: `RowStore` over two clients of one store, with the ledger beside the documents.

The roles are those of the SQL stores: `read` reads the contracts' collections, `apply` writes them. What they need is
made by `driftline init` (`app.adapters.own_collections`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from pymongo import MongoClient

from app.adapters.answer_times import AnswerTimes
from app.adapters.minute_counts import MinuteCounts
from app.adapters.mongodb_client import Document, connect_mongodb
from app.adapters.mongodb_fence import SharedFence
from app.adapters.mongodb_identity import as_token, server_name
from app.adapters.mongodb_ledger import CHAIN_FIELDS, MongodbLedger
from app.adapters.mongodb_refusals import FAULTS, DuplicateKey, WriteFailed, translated, within_time
from app.adapters.mongodb_snapshots import held_documents, in_transaction
from app.adapters.mongodb_table import MongodbTable
from app.adapters.mongodb_transaction import MongodbTransaction
from app.core.command import RefusalReason
from app.core.contract import EntityContract
from app.core.errors import ContractViolation, Unready
from app.core.guard import Refused
from app.core.ledger import LedgerCounts, LedgerRow
from app.ports import UNREADABLE, AlreadyRecorded, RowName, RowRead, Strain
from app.settings import StoreSettings

Found = TypeVar("Found")


class MongodbRows:
    """One MongoDB store."""

    def __init__(self, store: StoreSettings, contracts: Iterable[EntityContract], digest_key: bytes) -> None:
        self.store = store
        self.where = f"store {store.name} at {store.host}:{store.port}"
        self._tables = {
            c.entity: MongodbTable(c, store.name, digest_key)
            for c in contracts
            if any(t.store == store.name for t in c.stores)
        }
        self.counted = MinuteCounts()
        self._chain_key = digest_key
        self._reader: MongoClient[Document] | None = None
        self._writer: MongoClient[Document] | None = None
        self._own: tuple[SharedFence, MongodbLedger] | None = None
        self._has_failed = False
        self.answers = AnswerTimes()

    # -- clients ------------------------------------------------------------------------------------------------------

    def table(self, entity: str) -> MongodbTable:
        """Return an entity's collection; `ContractViolation` if it has none here."""
        if entity not in self._tables:
            raise ContractViolation("no contract puts this entity here", where=f"{entity} in {self.where}")
        return self._tables[entity]

    @contextmanager
    def translating(self, names: Collection[str] = ()) -> Iterator[None]:
        """Turn a driver's error into one of ours. `names`: see `translated`.

        Clients that failed are thrown away by who asks next: until then a transaction can still be ended by them.
        """
        try:
            with within_time():
                yield
        except FAULTS as error:
            ours = translated(error, self.where, names)
            if isinstance(ours, WriteFailed) and not isinstance(ours.error, Refused | DuplicateKey):
                ours = ours.error
            self._has_failed |= isinstance(ours, Unready)
            raise ours from None

    def _let_go_of_failed(self) -> None:
        if self._has_failed:
            self.close()

    def _reading(self) -> MongoClient[Document]:
        self._let_go_of_failed()
        if self._reader is None:
            self._reader = connect_mongodb(self.store, "read")
        return self._reader

    def writing(self) -> MongoClient[Document]:
        """Return the writing client."""
        self._let_go_of_failed()
        if self._writer is None:
            self._writer = connect_mongodb(self.store, "apply")
        return self._writer

    def own(self) -> tuple[SharedFence, MongodbLedger]:
        """Return Driftline's own collections, over the writing client."""
        self._let_go_of_failed()
        if self._own is None:
            database = self.writing()[self.store.schema]
            self._own = SharedFence(database), MongodbLedger(database, self._chain_key)
        return self._own

    def close(self) -> None:
        """Let both clients go."""
        for client in (self._reader, self._writer):
            if client is not None:
                with suppress(*FAULTS):
                    client.close()
        self._reader = self._writer = self._own = None
        self._has_failed = False
        # Whether the last commit took place is for the ledger to say.
        self.counted.forget()

    # -- RowStore -----------------------------------------------------------------------------------------------------

    def read(self, rows: Sequence[RowName]) -> list[RowRead]:
        """Read committed rows, those of one collection at one moment."""
        found: dict[RowName, RowRead] = {}
        by_entity: dict[str, list[bytes]] = {}
        for entity, key in rows:
            by_entity.setdefault(entity, []).append(key)
        for entity, keys in by_entity.items():
            table = self.table(entity)
            with self.translating():
                client = self._reading()
                # A majority has what a snapshot shows only if the transaction that reads it commits to a majority.
                with client.start_session(causal_consistency=False) as session, in_transaction(session):
                    documents = held_documents(client, table, keys, session)
            by_key, absent = {}, RowRead()
            for held in documents:
                if held.key is None:
                    absent = held.read
                else:
                    by_key[held.key] = held.read if held.key not in by_key else RowRead(UNREADABLE)
            found |= {(entity, key): by_key.get(key, absent) for key in keys}
        return [found[row] for row in rows]

    def spelling(self, entity: str, values: Mapping[str, object]) -> bytes:
        """Return the keyed digest of how a row is spelled."""
        return self.table(entity).spelling(values)

    def begin(self, rows: Sequence[RowName]) -> MongodbTransaction:
        """Begin a guarded transaction."""
        with self.translating():
            client = self.writing()
            hello = client.admin.command("hello")
            if "setName" not in hello:
                raise Refused(RefusalReason.NOT_TRANSACTIONAL, "the server is no member of a replica set")
            tables = {entity: self.table(entity) for entity, _ in rows}
            for table in tables.values():
                self._must_have_transactions(client, table)
            session = client.start_session(causal_consistency=False)
            server = as_token(server_name(client, self.store.schema))
        return MongodbTransaction(self, client, session, tables, rows, server)

    def _must_have_transactions(self, client: MongoClient[Document], table: MongodbTable) -> None:
        """Raise `Refused` where a table is none that is there, or none whose documents a transaction can write."""
        found = next(iter(client[table.database].list_collections(filter={"name": table.collection})), None)
        if found is None:
            raise Refused(RefusalReason.TABLE_DIFFERS, f"no collection of this name may be seen, in {self.where}")
        options = found.get("options", {})
        if found.get("type") != "collection" or options.get("capped") or "timeseries" in options:
            raise Refused(RefusalReason.NOT_TRANSACTIONAL, "a view, or a capped or time-series collection")

    def ask(self, call: Callable[[MongodbLedger], Found]) -> Found:
        """Ask the ledger. Where the store says no to that, it says so of every row: nothing is refused."""
        try:
            with self.translating():
                return call(self.own()[1])
        except Refused as no:
            raise self.own_fault(no) from None

    def own_fault(self, no: Refused) -> Unready:
        """Return what it means that the store says no to Driftline's own collections."""
        what = f"Driftline's own collections cannot be read: {no.reason.value} {no.what}"
        return Unready(what, where=self.where, hint="run `driftline init` for this store")

    def recorded(self, row_ids: Sequence[bytes]) -> dict[bytes, LedgerRow]:
        """Return those ledger rows that there are of these ids."""
        rows = self.ask(lambda ledger: ledger.by_ids(row_ids)) if row_ids else []
        return {row.row_id: row for row in rows}

    def ledger_fault(self, duplicate: DuplicateKey) -> Exception:
        """Return what a unique index of the ledger means: the id is taken, or another applier was quicker."""
        if duplicate.fields == CHAIN_FIELDS:
            return Unready("another applier writes this partition's ledger", where=self.where, hint="is one a zombie?")
        return AlreadyRecorded()

    def ledger_rows(self) -> Iterator[LedgerRow]:
        """Yield the whole ledger by partition and sequence."""
        pages = self.ask(lambda ledger: ledger.all_rows())
        while (page := self.ask(lambda _: next(pages, None))) is not None:
            yield from page

    def record_alone(self, rows: Sequence[LedgerRow]) -> None:
        """Write ledger rows in a transaction of their own."""
        try:
            with self.translating():
                ledger = self.own()[1]
                with self.writing().start_session(causal_consistency=False) as session, in_transaction(session):
                    ledger.insert(rows, session)
            self.counted.add(rows)
        except DuplicateKey as duplicate:
            raise self.ledger_fault(duplicate) from None
        except WriteFailed as failed:
            raise self._not_taken(failed.error) from None
        except Refused as no:
            raise self._not_taken(no) from None

    def _not_taken(self, why: Exception) -> Exception:
        """Return why the ledger takes no rows: nobody else writes it but another applier, at this very partition."""
        if isinstance(why, DuplicateKey):
            return self.ledger_fault(why)
        told = f"{why.reason.value} {why.what}" if isinstance(why, Refused) else ""
        return Unready(f"the ledger takes no row now: {told}", where=self.where)

    def counts(self, rows: Sequence[tuple[str, bytes]], now_wall_ms: int) -> list[LedgerCounts]:
        """Count what the ledger holds of the last minute, and of each row in the last hour."""

        def in_minute(entity: str, now_wall_ms: int) -> LedgerCounts:
            return self.ask(lambda ledger: ledger.in_minute(entity, now_wall_ms))

        counted = {entity: self.counted.of(entity, now_wall_ms, in_minute) for entity, _ in rows}
        hashes = {key_hash.hex() for _, key_hash in rows}
        repeated = self.ask(lambda ledger: ledger.in_hour(hashes, now_wall_ms))
        undone = self.ask(lambda ledger: ledger.undone(hashes))
        return [
            replace(
                counted[entity],
                same_row_in_hour=repeated.get((entity, key_hash.hex()), 0),
                was_undone=(entity, key_hash.hex()) in undone,
            )
            for entity, key_hash in rows
        ]

    def table_rows(self, entity: str) -> int:
        """Return about how many documents an entity's collection has, by what the server counts along."""
        table = self.table(entity)
        with self.translating():
            client = self.writing()
            self._must_have_transactions(client, table)
            return int(client[table.database][table.collection].estimated_document_count())

    def strain(self) -> Strain:
        """Return how the store bears being written now; the asking is a call like the others."""
        with self.answers.noted(), self.translating():
            self.writing().admin.command("hello")
        return Strain(self.answers.mean_ms())

    def unchecked_inserts(self, limit: int) -> list[LedgerRow]:
        """Return applied inserts whose check is not in the ledger, oldest first."""
        return self.ask(lambda ledger: ledger.unchecked(limit))
