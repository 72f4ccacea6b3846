"""What the conductor does in a store of MongoDB: find where slices end, and add documents to the signal collection.

A condition is a document as text, which the connector parses. It reads a slice up to the greatest `_id` that the
condition chooses, and MongoDB compares values of one type only: where a collection has an `_id` of another type, the
connector leaves out the one or the other and says nothing, and on some types it ends. So a collection is read only
where each `_id` is of one type: of whole numbers, or of strings, or of ObjectIds.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from bson import ObjectId, json_util
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError

from app.adapters.mongodb_client import Document, connect_mongodb
from app.adapters.mongodb_faults import code_of
from app.adapters.mongodb_refusals import FAULTS
from app.adapters.own_collections import SIGNAL, place_of
from app.codec.slice_signals import SignalForm, SignalRow
from app.core.conducting import Bound, Key, Look, Part
from app.core.errors import Unready
from app.core.types.numbers import INTEGER_RANGES
from app.settings import StoreSettings

ROLE: Final = "conduct"
_ID: Final = "_id"
_WHOLE_NUMBERS: Final = ("int", "long")
_STRINGS: Final = ("string",)
_OBJECT_IDS: Final = ("objectId",)
# What else may be an `_id`. Named one by one, so that the index answers without being gone through.
_TYPES: Final = (
    *("minKey", "null", "double", "int", "long", "decimal", "symbol", "string", "object", "binData", "objectId"),
    *("bool", "date", "timestamp", "dbPointer", "javascript", "maxKey"),
)


def key_text(value: object) -> str:
    """Return an `_id` as extended JSON; whole numbers as their digits, whatever their width."""
    return str(int(value)) if isinstance(value, int) else json_util.dumps(value)


def key_value(text: str) -> object:
    """Return the `_id` that a text stands for."""
    return json_util.loads(text)


class MongodbSliceStore:
    """One store, by the role `conduct`: find in the contracts' collections, insert into the signal collection."""

    form: Final = SignalForm.DOCUMENT

    def __init__(self, store: StoreSettings) -> None:
        self._store = store
        self._client: MongoClient[Document] | None = None
        self.signal_table = f"{store.schema}.{SIGNAL}"

    def close(self) -> None:
        """Let the client go."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def bound(self, look: Look) -> Bound:
        """Return the key that ends the next slice, by the store's own order of keys."""
        try:
            return self._bound(look)
        except FAULTS as fault:
            raise self._unready(fault) from None

    def condition(self, part: Part, after: Key, end: Key) -> str:
        """Return the condition that chooses the documents behind one key, up to another."""
        types = _WHOLE_NUMBERS if _has_numbers(part) else (*_STRINGS, *_OBJECT_IDS)
        return json_util.dumps(_chosen(types, after, end), json_options=json_util.CANONICAL_JSON_OPTIONS)

    def signal(self, row: SignalRow) -> None:
        """Add a document to the signal collection; one that is there already stays as it is.

        The connector takes its fields by their order, and nothing where there is one more.
        """
        try:
            self._connected()[self._store.schema][SIGNAL].insert_one({_ID: row.id, "type": row.type, "data": row.data})
        except DuplicateKeyError:
            return
        except FAULTS as fault:
            raise self._unready(fault) from None

    def _bound(self, look: Look) -> Bound:
        collection, types = self._collection(look.part), self._types(look)
        chosen = _chosen(types, look.after, ())
        began_s = monotonic()
        found = list(collection.find(chosen, {_ID: 1}).sort(_ID, 1).skip(look.rows - 1).limit(1))
        answered_ms = (monotonic() - began_s) * 1_000
        # Only who begins or ends says which keys are nowhere.
        if not (look.after and found):
            self._refuse_others(look.part, types)
        if found:
            return Bound((key_text(found[0][_ID]),), look.rows, answered_ms)
        return Bound((), collection.count_documents(chosen), answered_ms)

    def _types(self, look: Look) -> tuple[str, ...]:
        if _has_numbers(look.part):
            return _WHOLE_NUMBERS
        if look.after:
            sample = key_value(look.after[0])
        else:
            found = self._collection(look.part).find_one({}, {_ID: 1}, sort=[(_ID, 1)])
            sample = found and found[_ID]
        return _OBJECT_IDS if isinstance(sample, ObjectId) else _STRINGS

    def _refuse_others(self, part: Part, types: tuple[str, ...]) -> None:
        others = [each for each in _TYPES if each not in types]
        if self._collection(part).find_one({_ID: {"$type": others}}, {_ID: 1}) is None:
            return
        raise Unready(
            f"a collection has documents whose _id is no {' or '.join(types)}, which the connector would leave out",
            where=f"store {self._store.name}, collection {part.contract.table_of(part.store).table}",
            hint="nothing of this store is read again until each _id there is of one type",
        )

    def _collection(self, part: Part) -> Any:  # noqa: ANN401 - the driver's type
        database, collection = place_of(self._store, part.contract.table_of(part.store).table)
        return self._connected()[database][collection]

    def _connected(self) -> MongoClient[Document]:
        if self._client is None:
            self._client = connect_mongodb(self._store, ROLE)
        return self._client

    def _unready(self, fault: Exception) -> Unready:
        self.close()
        return Unready(
            f"the store cannot be asked ({code_of(fault)})",
            where=f"store {self._store.name} at {self._store.host}:{self._store.port}",
            hint=f"is there a primary, and may the role {ROLE} do its work? `driftline init` gives the rights",
        )


def _has_numbers(part: Part) -> bool:
    return part.contract.key[0].type.kind in INTEGER_RANGES


def _chosen(types: tuple[str, ...], after: Key, end: Key) -> Document:
    bounds: Document = {"$type": list(types)}
    if after:
        bounds["$gt"] = key_value(after[0])
    if end:
        bounds["$lte"] = key_value(end[0])
    return {_ID: bounds}
