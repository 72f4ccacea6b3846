"""Transactions of MongoDB, each on a snapshot that its first call takes, and what documents one shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from bson import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from app.adapters.mongodb_client import Document
from app.adapters.mongodb_table import Held, MongodbTable

_COMMIT_MS: Final = 10_000
_RAW: Final[CodecOptions[RawBSONDocument]] = CodecOptions(document_class=RawBSONDocument)


@contextmanager
def in_transaction(session: ClientSession) -> Iterator[None]:
    """Begin a transaction on a snapshot, and commit it to a majority behind the block."""
    start(session)
    yield
    session.commit_transaction()


def start(session: ClientSession) -> None:
    """Begin a transaction whose first call takes the snapshot."""
    session.start_transaction(
        read_concern=ReadConcern("snapshot"),
        write_concern=WriteConcern("majority", j=True),
        max_commit_time_ms=_COMMIT_MS,
    )


def held_documents(
    client: MongoClient[Document], table: MongodbTable, keys: Sequence[bytes], session: ClientSession | None
) -> list[Held]:
    """Return the documents of some keys, in a transaction's snapshot or of a majority."""
    database: Any = client[table.database]
    raws: Collection[RawBSONDocument] = database.get_collection(table.collection, _RAW)
    ids = [each for key in keys for each in table.ids(key)]
    return [table.held(raw) for raw in raws.find({"_id": {"$in": ids}}, session=session)]
