"""The flags of a store of MongoDB, and what a transaction writes so that nobody raises one unseen meanwhile.

`driftline_fence` has the rows of the SQL stores' table: `scope` (also `_id`) and `token`, for the store (`*`), for the
flag that stops all writing (`stop`), for the server that a person accepted (`server`), and for shards by their names.

A transaction of MongoDB reads a snapshot, and what it only reads it does not lock: a flag that is raised behind the
snapshot would go unseen. So each transaction also writes a document of `driftline_shared`, one for each partition of
the ledger that it adds to; and **whoever changes a flag must, once that is acknowledged by a majority, write all of
these documents**: `db.driftline_shared.updateMany({}, {$inc: {shared: 1}})`. When that comes back, no transaction that
did not see the flag can commit any more. For take one whose snapshot is from before the flag. Its documents of
`driftline_shared` were there before its snapshot, hence before that update, which writes them. If the transaction
writes one first, the update waits until the transaction is over; if the update does, the transaction's own write of the
document meets one from behind its snapshot, which is a write conflict, and it ends in nothing.

Two appliers meet at these documents only where they add to the same partition of the ledger, where they would meet
anyhow: its rows are numbered. `driftline init --raise-fence` does both; who says `stop` by hand does too.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from app.adapters.fence_flags import Flags
from app.adapters.mongodb_client import Document
from app.core.command import RefusalReason
from app.core.errors import Unready
from app.core.guard import Refused

FENCE: Final = "driftline_fence"
SHARED: Final = "driftline_shared"
NOBODY: Final = -1
"""The partition of a transaction that adds nothing to the ledger."""


class SharedFence:
    """The flags in Driftline's own database of a store."""

    def __init__(self, database: Database[Document]) -> None:
        self._flags = database[FENCE]
        self._shared = database[SHARED]
        self._known: set[int] = set()

    def flags(self, session: ClientSession | None = None) -> Flags:
        """Read them: a majority's, or a transaction's snapshot of them."""
        tokens = {str(each["_id"]): each.get("token") for each in self._flags.find({}, session=session)}
        told = {scope: token for scope, token in tokens.items() if isinstance(token, int)}
        if len(told) < len(tokens):
            raise Unready(
                f"a document of {FENCE} has no whole number for its token",
                hint="put it right: until then nobody can tell what it fences",
            )
        return told

    def prepare(self, partitions: Collection[int]) -> None:
        """Have a document for each partition before a transaction's snapshot is taken."""
        missing = set(partitions) - self._known
        if not missing:
            return
        found = {int(each["_id"]) for each in self._shared.find({"_id": {"$in": sorted(map(str, missing))}})}
        for partition in missing - found:
            try:
                self._shared.insert_one({"_id": str(partition), "shared": 0})
            except DuplicateKeyError:
                continue  # another applier was quicker
        self._known |= missing

    def share(self, partitions: Collection[int], session: ClientSession) -> None:
        """Write the documents of partitions in a transaction."""
        for partition in partitions:
            written = self._shared.update_one({"_id": str(partition)}, {"$inc": {"shared": 1}}, session=session)
            if written.matched_count != 1:
                self._known.clear()
                raise Refused(RefusalReason.ROW_LOCKED, f"{SHARED} lost a document, which is put there again")
