"""The document of `driftline_beacon` that belongs to a store of MongoDB, read and written as the SQL stores' row is.

One update that finds the document as expected or finds none, acknowledged by a majority: what is told as written
outlives an election. Who wrote the log is named by the replica set and by the UUID of the collection: both survive a
failover, and a collection that was restored from a dump has another.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from bson.int64 import Int64
from pymongo import MongoClient

from app.adapters.mongodb_client import Document, connect_mongodb
from app.adapters.mongodb_faults import said
from app.adapters.mongodb_identity import BEACON, server_name
from app.adapters.mongodb_refusals import FAULTS
from app.adapters.system_clock import wall_utc
from app.core.beacon_writer import BeaconRow, Beat
from app.core.errors import ContractViolation, Unready
from app.settings import StoreSettings

_MOST: Final = 2**62
_READ: Final = ("writer_epoch", "sequence", "issued_at_ms", "previous_acknowledged_ms")


class MongodbBeaconRows:
    """The document of one store, over a client that is thrown away with the first fault."""

    def __init__(self, store: StoreSettings) -> None:
        self.store = store
        self.server = ""
        self._client: MongoClient[Document] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        del kind, fault, at
        self.close()

    def close(self) -> None:
        """Let the client go."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def read(self) -> BeaconRow:
        """Return the document as a majority has it, and look again whose it is: a restore takes no connection away."""
        try:
            client = self._connected()
            self.server = server_name(client, self.store.schema)
            found = client[self.store.schema][BEACON].find_one({"_id": self.store.name})
        except FAULTS as fault:
            self.close()
            raise self._unready(fault) from fault
        if found is None:
            raise ContractViolation(
                f"{self.store.schema}.{BEACON} has no document for this store",
                where=f"store {self.store.name}",
                hint="run `driftline init` for this store",
            )
        row = [found[name] for name in _READ if isinstance(found.get(name), int)]
        # A writer goes on above what it reads: what has no number above it is none of ours either.
        if len(row) != len(_READ) or max(row) > _MOST:
            raise ContractViolation(
                f"the document of this store in {self.store.schema}.{BEACON} is no beacon",
                where=f"store {self.store.name}",
                hint="remove it, and run `driftline init` for this store",
            )
        return BeaconRow(*map(int, row))

    def compare_and_set(self, beat: Beat) -> bool:
        """Write the beat's document if the store's is as expected; False if it is not."""
        expected = {
            "_id": self.store.name,
            "writer_epoch": beat.expected_epoch,
            "sequence": beat.expected_sequence,
        }
        try:
            client = self._connected()
            self.server = self.server or server_name(client, self.store.schema)
            written = {
                "writer_epoch": Int64(beat.row.epoch),
                "sequence": Int64(beat.row.sequence),
                "issued_at_ms": Int64(beat.row.issued_at_ms),
                "previous_acknowledged_ms": Int64(beat.row.previous_acknowledged_ms),
                "server": self.server,
                "wall_at": wall_utc(),
            }
            done = client[self.store.schema][BEACON].update_one(expected, {"$set": written})
        except FAULTS as fault:
            self.close()
            raise self._unready(fault) from fault
        return bool(done.matched_count == 1)

    def _connected(self) -> MongoClient[Document]:
        if self._client is None:
            self._client = connect_mongodb(self.store, "beacon")
        return self._client

    def _unready(self, fault: Exception) -> Unready:
        user = self.store.role("beacon").user
        return Unready(
            f"the beacon document cannot be reached: {said(fault)}",
            where=f"store {self.store.name} at {self.store.host}:{self.store.port}",
            hint=f"is there a primary, and may {user} find and update in {self.store.schema}.{BEACON}?",
        )
