"""One contract's collection in one store of MongoDB: where documents are found, what they read as, what they become.

A document is read as the decoder of changes reads it, by way of extended JSON, so that it has one digest wherever it
was read. It is found by every `_id` that reads as the key, since a text of 24 digits may be an ObjectId or a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from bson.raw_bson import RawBSONDocument

from app.adapters.mongodb_client import Document
from app.adapters.mongodb_documents import (
    MISSING,
    NoWay,
    at,
    bson_of,
    document_of_bson,
    document_of_image,
    image_of_document,
    put,
    take,
)
from app.adapters.mongodb_refusals import FAULTS
from app.adapters.mongodb_values import Forms
from app.codec.mongodb import image_of
from app.core.canonical_key import decode_key
from app.core.command import RefusalReason
from app.core.contract import EntityContract
from app.core.dialects import BY_LOG
from app.core.digest import RowDigester, row_digest
from app.core.errors import ContractViolation, Undecodable, Unmappable
from app.core.guard import Refused
from app.core.store import StoreKind
from app.core.undo import must_have
from app.ports import UNREADABLE, RowRead, RowWrite, Way, WholeRow

ID: Final = "_id"
_KEYS_KEPT: Final = 1_000
_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Held:
    """A document as it was read: its bytes, its text, its canonical key (None: it has none), and what it reads as."""

    data: bytes
    image: bytes
    key: bytes | None
    read: RowRead

    @property
    def document(self) -> Document:
        """The document itself."""
        return document_of_bson(self.data)

    def whole(self) -> WholeRow:
        """Return the row with its image; `Refused` where that would not bring every byte of it back."""
        try:
            gives_back = bson_of(document_of_image(self.image)) == self.data
        except (*FAULTS, ValueError, TypeError, KeyError, ArithmeticError):
            gives_back = False
        if not gives_back:
            raise Refused(RefusalReason.NOT_UNDOABLE, "a value of its document has no text that gives it back")
        return WholeRow(self.read, self.image)


class MongodbTable:
    """One entity in one store."""

    def __init__(self, contract: EntityContract, store: str, digest_key: bytes) -> None:
        self.contract = contract
        self.name = contract.table_of(store).table
        self.database, _, self.collection = self.name.partition(".")
        if [part.columns[store] for part in contract.key] != [ID]:
            raise ContractViolation(
                "documents are found by their `_id` alone",
                where=f"{contract.entity} in {store}",
                hint="let the key be one field, whose column there is _id",
            )
        (key,) = contract.key
        self._key_forms = Forms(key.type, key.encodings.get(store, ""))
        self._digester = RowDigester(contract, store, BY_LOG[StoreKind.MONGODB], digest_key)
        self._fields = [
            (f.name, f.columns[store], Forms(f.type, f.encodings.get(store, "")))
            for f in contract.fields
            if f.columns[store] != ID
        ]
        self._field_of = {column: name for name, column, _ in self._fields}
        self.names = frozenset(part for column in (ID, *self._field_of) for part in (column, *column.split(".")))
        # A transaction asks for each of its keys again and again.
        self.ids = lru_cache(_KEYS_KEPT)(self._ids)

    def spelling(self, values: Mapping[str, object]) -> bytes:
        """Return the digest of how a row is spelled."""
        return self._digester.spelling(values)  # type: ignore[arg-type] # canonical, as a store's read gave them

    def _ids(self, key: bytes) -> tuple[Any, ...]:
        """Return each `_id` that reads as a key; `Undecodable` for no key of this entity, `Refused` if none does."""
        (value,) = decode_key(self.contract, key)
        found = self._key_forms.spellings(value)
        if not found:
            raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, "its key: no `_id` reads as it")
        return tuple(found)

    def fields_of(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the fields that columns hold; none if one of them holds none that is compared."""
        found = [self._field_of.get(column) for column in columns]
        return tuple(name for name in found if name is not None) if all(found) else ()

    def held(self, raw: RawBSONDocument) -> Held:
        """Return a document with what it reads as."""
        data = bytes(raw.raw)
        document = document_of_bson(data)
        image = image_of_document(document)
        key = None
        try:
            row = image_of(image.decode())
            key = self._digester.canonical_key(row)
            digest = row_digest(self._digester.groups(row))
            values = self._digester.values(row)
        # Whatever a document has within that looks like extended JSON and is none.
        except (Unmappable, Undecodable, KeyError, TypeError, ValueError, ArithmeticError):
            return Held(data, image, key, RowRead(UNREADABLE))
        return Held(data, image, key, RowRead(digest, values))

    # -- what documents become ----------------------------------------------------------------------------------------

    def becomes(self, write: RowWrite, now: Document | None, new_id: object) -> Document | None:
        """Return what a write makes of a document, None for none; `new_id` is the one of a document that is inserted.

        `Refused` where BSON cannot hold what is to stand there, or not at that place.
        """
        if write.way is Way.DELETE or (now is None and write.way in {Way.UPDATE, Way.RESTORE}):
            return None
        then = self._written(write, {ID: new_id} if now is None else now)
        _must_fit(then)
        return then

    def _written(self, write: RowWrite, now: Document) -> Document:
        if write.way in {Way.INSERT, Way.UPDATE}:
            return self._with(write.values, now)
        was = document_of_image(write.image)
        must_have(was, (ID,))
        return was if write.way is Way.PUT_BACK else self._restored(now, was)

    def _with(self, values: Mapping[str, object], document: Document) -> Document:
        """Return a document with the fields that are given."""
        for name, column, forms in self._fields:
            if name in values:
                now = at(document, column)
                try:
                    value = forms.write(values[name], now)  # type: ignore[arg-type] # canonical, as another store gave it
                    if value is not now:
                        document = put(document, column, value)
                except Unmappable as fault:
                    raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, f'field "{name}": {fault.what}') from None
                except NoWay:
                    told = f'field "{name}": "{column}" leads through what is no document'
                    raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, told) from None
        return document

    def _restored(self, document: Document, was: Document) -> Document:
        """Return a document with the contract's fields as they were, those that were not there gone again."""
        for name, column, _ in self._fields:
            value = at(was, column)
            try:
                document = take(document, column, was) if value is MISSING else put(document, column, value)
            except NoWay:
                told = f'field "{name}": "{column}" leads through what is no document any more'
                raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, told) from None
        return document


def _must_fit(document: Document) -> None:
    """Raise `Refused` where a document is none that the store takes."""
    try:
        size = len(bson_of(document))
    except (*FAULTS, ValueError):
        raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, "a value has no form in BSON") from None
    if size > _BYTES_MAX:
        raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, "the document would have more than 16 MiB")
