"""Digests of rows: keyed, by groups of fields, the same for a row read from a log and from SQL, in every store.

What is digested is, for each field in the contract's order, the field's name, its type tag, the length and the bytes
of its canonical value. Algorithm, entity, contract version and group are part of the personalisation, so unlike ones
are never equal. The key of the row is not part of its digest: whoever keeps a digest keeps it under its key.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from app.core.canonical_key import key_writer
from app.core.columns import field_writer, key_part_writer
from app.core.contract import EntityContract, Field, KeyField
from app.core.errors import Unmappable
from app.core.event import LEFT_OUT
from app.core.limits import KEY_BYTES_MAX
from app.core.normalise import NULL, encode, folding, normalisation, reader
from app.core.types.canonical import Canonical, Dialect, Misfit, Read
from app.core.types.numbers import INTEGER_RANGES

__all__ = ["DIGEST_BYTES", "Dialect", "RowDigester", "compared_reader", "keyed_hash", "partition_of", "row_digest"]

DIGEST_BYTES: Final = 16
ALGORITHM: Final = 1
"""The version of everything that goes into a digest, from reading a value to its bytes."""

_PERSON: Final = struct.Struct(">3sBIIH")
_NOT_CARRIED: Final = bytes(DIGEST_BYTES)

_Step = tuple[str, str, bytes, Read, Callable[[Canonical], bytes]]


def keyed_hash(digest_key: bytes, entity_number: int, canonical_key: bytes) -> bytes:
    """Return the 16 bytes by which topics and ledgers name a row without telling its key."""
    h = blake2b(key=digest_key, digest_size=DIGEST_BYTES, person=b"DLkey\x01")
    h.update(entity_number.to_bytes(4, "big"))
    h.update(canonical_key)
    return h.digest()


def keyed_hasher(digest_key: bytes, entity_number: int) -> Callable[[bytes], bytes]:
    """Return `keyed_hash` for one entity: the key schedule is paid for once."""
    base = blake2b(entity_number.to_bytes(4, "big"), key=digest_key, digest_size=DIGEST_BYTES, person=b"DLkey\x01")

    def hashed(canonical_key: bytes) -> bytes:
        h = base.copy()
        h.update(canonical_key)
        return h.digest()

    return hashed


def partition_of(key_hash: bytes, partitions: int) -> int:
    """Return the partition of a row in every topic that speaks of rows."""
    return int.from_bytes(key_hash[:8], "big") % partitions


def meaning_of(contract: EntityContract) -> str:
    """Return what tells digests and keys of a contract from those of another, as hexadecimal digits.

    The names of columns do not: a column may be renamed. A field that is to be read from another column is another
    field, which the contract's version tells.
    """
    parts = [(part.name, part.type, sorted(part.encodings.items())) for part in contract.key]
    fields = [
        (f.name, f.type, [normalisation(name, f.type)[1] for name in f.normalise], f.large, sorted(f.encodings.items()))
        for f in contract.fields
    ]
    stores = [table.store for table in contract.stores]
    meaning = repr((ALGORITHM, contract.number, contract.version, parts, fields, stores))
    return blake2b(meaning.encode(), digest_size=DIGEST_BYTES).hexdigest()


def row_digest(groups: bytes) -> bytes:
    """Return a row's digest from its groups': the only one itself, of several the hash of all."""
    if len(groups) == DIGEST_BYTES:
        return groups
    return blake2b(groups, digest_size=DIGEST_BYTES, person=b"DLrow\x01").digest()


class RowDigester:
    """Reads rows of one entity in one store's dialect: canonical key, values, digests.

    Compiled once from the contract; it keeps no row. Row images map the store's column names to raw values.
    """

    def __init__(self, contract: EntityContract, store: str, dialect: Dialect, digest_key: bytes) -> None:
        self._where = f"{contract.entity} in {store}"
        self._key_steps = [
            (part.name, part.columns[store], _folded(part, store, dialect), key_writer(part.type))
            for part in contract.key
        ]
        self._key_is_short = all(part.type.kind in INTEGER_RANGES for part in contract.key)
        self._fields = [
            (f.name, f.columns[store], reader(f.type, dialect, f.encodings.get(store, ""))) for f in contract.fields
        ]
        steps = {f.name: _step(f, store, dialect) for f in contract.fields}
        self._main = [steps[f.name] for f in contract.fields if not f.large]
        self._large = [steps[f.name] for f in contract.large_fields]
        self._steps = list(steps.values())
        self._spellings = [(f.name, steps[f.name][2], encode(f.type)) for f in contract.fields]
        self._spelling = blake2b(
            key=digest_key,
            digest_size=DIGEST_BYTES,
            person=_PERSON.pack(b"DLs", ALGORITHM, contract.number, contract.version, 0),
        )
        self._hashes = [
            blake2b(
                key=digest_key,
                digest_size=DIGEST_BYTES,
                person=_PERSON.pack(b"DLg", ALGORITHM, contract.number, contract.version, group),
            )
            for group in range(1 + len(self._large))
        ]
        self.group_count = len(self._hashes)
        ordered = [f for f in contract.fields if not f.large] + list(contract.large_fields)
        self.columns = tuple(f.columns[store] for f in ordered)
        self._writers = [
            field_writer(
                steps[f.name][2],
                f.type,
                steps[f.name][3],
                f.encodings.get(store, ""),
                is_changed=bool(f.normalise) or folding(f.type) is not None,
            )
            for f in ordered
        ]
        self._key_writers = [
            key_part_writer(part.type, read)
            for part, (_, _, read, _) in zip(contract.key, self._key_steps, strict=True)
        ]

    def canonical_key(self, raw: Mapping[str, object]) -> bytes:
        """Return the order-preserving bytes of a row's key; `raw` is the key, or a row image that has its columns."""
        parts = []
        for name, column, read, write in self._key_steps:
            value = raw.get(column)
            if value is None or value is LEFT_OUT:
                raise Unmappable(
                    name, "a part of the key has no value", where=self._where, hint="keys must not be NULL"
                )
            try:
                parts.append(write(read(value)))
            # A zero date reads as None, and what writes a part of a key fails on it.
            except (Misfit, UnicodeEncodeError, struct.error, TypeError) as why:
                raise self._unmappable(name, why) from None
        key = parts[0] if len(parts) == 1 else b"".join(parts)
        if len(key) > KEY_BYTES_MAX:
            what = f"the key has {len(key)} bytes, more than the {KEY_BYTES_MAX} that are compared"
            raise Unmappable(self._key_steps[-1][0], what, where=self._where)
        return key

    def canonical_keys(self, count: int, columns: Sequence[Sequence[object]]) -> list[bytes | None]:
        """Return `canonical_key` of `count` keys, given as a column a part; None where a key needs a closer look."""
        keys = _joined([write(raws) for write, raws in zip(self._key_writers, columns, strict=True)], count)
        if self._key_is_short:
            return keys
        return [None if key is not None and len(key) > KEY_BYTES_MAX else key for key in keys]

    def groups(self, row: Mapping[str, object]) -> bytes:
        """Return the digests of a row's groups: the fields that are not large, then each large one (zero: left out)."""
        main = self._hashes[0].copy()
        main.update(self._encoded(self._main, row))
        if not self._large:
            return main.digest()
        digests = [main.digest()]
        for base, step in zip(self._hashes[1:], self._large, strict=True):
            if row.get(step[1]) is LEFT_OUT:
                digests.append(_NOT_CARRIED)
            else:
                h = base.copy()
                h.update(self._encoded([step], row))
                digests.append(h.digest())
        return b"".join(digests)

    def groups_of(self, count: int, columns: Sequence[Sequence[object]]) -> list[bytes | None]:
        """Return `groups` of `count` rows, whose values stand in the columns that `columns` names, in that order.

        None stands where a row needs a closer look: `groups` says of it what it is.
        """
        written = [write(values) for write, values in zip(self._writers, columns, strict=True)]
        main = len(self._main)
        found = _digests(self._hashes[0], _joined(written[:main], count))
        if not self._large:
            return found
        groups = [found]
        for base, encoded, values in zip(self._hashes[1:], written[main:], columns[main:], strict=True):
            digests = _digests(base, encoded)
            groups.append(
                [_NOT_CARRIED if v is LEFT_OUT else digest for v, digest in zip(values, digests, strict=True)]
            )
        return _joined(groups, count)

    def values(self, row: Mapping[str, object]) -> dict[str, Canonical]:
        """Return the canonical values by field, before normalisations and collation: what another store may be given.

        A field that the log left out is absent.
        """
        found: dict[str, Canonical] = {}
        for name, column, read in self._fields:
            try:
                raw = row[column]
                if raw is not LEFT_OUT:
                    found[name] = None if raw is None else read(raw)
            except KeyError:
                raise self._missing(name, column) from None
            except Misfit as why:
                raise self._unmappable(name, why) from None
        return found

    def spelling(self, values: Mapping[str, Canonical]) -> bytes:
        """Return the digest of how a row is spelled, of what `values` gives; empty where a field is not there.

        It tells apart what normalisations and collations hold equal, and is never compared with a row's digest.
        """
        h = self._spelling.copy()
        for name, prefix, write in self._spellings:
            if name not in values:
                return b""
            h.update(prefix + write(values[name]))
        return h.digest()

    def field_digests(self, row: Mapping[str, object]) -> dict[str, bytes]:
        """Return a digest for each field, to name those in which two rows differ; one that was left out is absent."""
        found: dict[str, bytes] = {}
        for step in self._steps:
            if row.get(step[1]) is not LEFT_OUT:
                h = self._hashes[0].copy()
                h.update(self._encoded([step], row))
                found[step[0]] = h.digest()
        return found

    def _encoded(self, steps: list[_Step], row: Mapping[str, object]) -> bytes:
        parts = []
        name = column = ""
        raw: object = None
        try:
            for name, column, prefix, read, write in steps:  # noqa: B007 - read by the handler
                raw = row[column]
                parts.append(prefix)
                parts.append(NULL if raw is None else write(read(raw)))
        except KeyError:
            raise self._missing(name, column) from None
        except Misfit as why:
            if raw is LEFT_OUT:
                raise Unmappable(
                    name,
                    f"the log left out column {column!r}",
                    where=self._where,
                    hint="mark the field `large: true`, or have the log carry whole rows",
                ) from None
            raise self._unmappable(name, why) from None
        return b"".join(parts)

    def _missing(self, name: str, column: str) -> Unmappable:
        return Unmappable(
            name,
            f"the row has no column {column!r}",
            where=self._where,
            hint="compare the contract's columns with the table's, and the connector's column filters",
        )

    def _unmappable(self, name: str, why: Exception) -> Unmappable:
        what = str(why) if isinstance(why, Misfit) else "a value that has no canonical form"
        return Unmappable(name, what, where=self._where, hint="compare the column's type with the contract's")


def compared_reader(member: Field | KeyField, store: str, dialect: Dialect) -> Read:
    """Return what reads a raw value that is not None as it is compared: normalised, and folded by its collation."""
    return _step(member, store, dialect)[3] if isinstance(member, Field) else _folded(member, store, dialect)


def _joined(columns: Sequence[Sequence[bytes | None]], count: int) -> list[bytes | None]:
    """Join the columns row by row; None where a part is None."""
    if not columns:
        return [b""] * count
    try:
        return list(map(b"".join, zip(*columns, strict=True)))
    except TypeError:
        return [None if None in row else b"".join(row) for row in zip(*columns, strict=True)]


def _digests(base: blake2b, encoded: Sequence[bytes | None]) -> list[bytes | None]:
    copy = base.copy
    found: list[bytes | None] = []
    for data in encoded:
        if data is None:
            found.append(None)
        else:
            h = copy()
            h.update(data)
            found.append(h.digest())
    return found


def _step(f: Field, store: str, dialect: Dialect) -> _Step:
    read = reader(f.type, dialect, f.encodings.get(store, ""))
    changes = []
    names = []
    for name in f.normalise:
        change, versioned = normalisation(name, f.type)
        changes.append(change)
        names.append(versioned)
    fold = folding(f.type)
    if fold is not None:
        changes.append(fold)
    title = "|".join((f.name, *names)).encode()
    prefix = len(title).to_bytes(2, "big") + title
    return f.name, f.columns[store], prefix, _changed(read, changes), encode(f.type)


def _folded(part: KeyField, store: str, dialect: Dialect) -> Read:
    fold = folding(part.type)
    read = reader(part.type, dialect, part.encodings.get(store, ""))
    return read if fold is None else _changed(read, [fold])


def _changed(read: Read, changes: list[Callable[[Canonical], Canonical]]) -> Read:
    if not changes:
        return read

    def read_and_change(raw: object) -> Canonical:
        value = read(raw)
        for change in changes:
            if value is None:
                break
            value = change(value)
        return value

    return read_and_change
