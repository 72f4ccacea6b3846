"""What follows from the bytes of a key in its topic, kept for the keys that come again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Final

import msgspec

from app.core.digest import RowDigester, keyed_hasher, partition_of
from app.core.event import LEFT_OUT
from app.core.observation import RAW_KEY_BYTES

KEPT_BYTES_MAX: Final = 256
"""A longer raw key is not kept, so that the number of kept keys bounds their memory."""

COMPARABLE: Final[frozenset[type]] = frozenset({int, str, bytes})
"""Values of these types are equal only if their types are."""

_RAW_KEY: Final = blake2b(digest_size=RAW_KEY_BYTES)

ReadKeys = Callable[[Sequence[bytes | None]], Sequence[Mapping[str, object] | None]]
"""Reads raw keys; None for one that needs a closer look."""


def raw_key_digest(raw_key: bytes) -> bytes:
    """Return the bytes by which two raw keys under one canonical key are told apart."""
    h = _RAW_KEY.copy()
    h.update(raw_key)
    return h.digest()


def told_key(key: Mapping[str, object] | None, raw_key: bytes) -> bytes:
    """Return what tells one key from another: its values, since another schema would change the bytes."""
    return raw_key if key is None else repr(sorted(key.items())).encode()


class KnownKey(msgspec.Struct, gc=False, frozen=True):
    """A raw key as it was read.

    `values` are those of the contract's key columns, empty if they cannot be compared; `canonical` is the canonical
    key, empty if the raw key does not hold it; `target` its partition of `observations`; `raw` its digest.
    """

    values: tuple[object, ...]
    canonical: bytes
    target: int
    raw: bytes


class KeyPlaces:
    """Finds canonical keys and their partitions: `partitions` is how many `observations` has."""

    def __init__(
        self, digester: RowDigester, columns: Sequence[str], digest_key: bytes, entity: int, partitions: int
    ) -> None:
        self._digester = digester
        self._columns = columns
        self._hashed = keyed_hasher(digest_key, entity)
        self._partitions = partitions

    def target(self, canonical: bytes) -> int:
        """Return the partition of a key."""
        return partition_of(self._hashed(canonical), self._partitions)

    def known(self, keys: Sequence[Mapping[str, object]], raws: Sequence[bytes]) -> list[KnownKey]:
        """Return what decoded raw keys tell; `raws` are their digests."""
        columns = [[key.get(column, LEFT_OUT) for key in keys] for column in self._columns]
        canonical = self._digester.canonical_keys(len(keys), columns)
        is_comparable = all(COMPARABLE.issuperset(map(type, column)) for column in columns)
        values = zip(*columns, strict=True)
        return [
            KnownKey((), b"", 0, raw)
            if key is None
            else KnownKey(parts if is_comparable else (), key, self.target(key), raw)
            for parts, key, raw in zip(values, canonical, raws, strict=True)
        ]

    def moved(self, known: KnownKey, values: tuple[object, ...]) -> KnownKey | None:
        """Return a raw key with a row image's key in place of its own; None if that needs a closer look."""
        (key,) = self._digester.canonical_keys(1, [[value] for value in values])
        return None if key is None else KnownKey(values, key, self.target(key), known.raw)


class KnownKeys:
    """Reads the raw keys of one table; keeps those that came last, at most `kept_max` of them."""

    def __init__(self, read: ReadKeys, places: KeyPlaces, kept_max: int) -> None:
        self._read = read
        self._places = places
        self._generation = kept_max // 2
        self._young: dict[bytes | None, KnownKey] = {}
        self._old: dict[bytes | None, KnownKey] = {}

    def of(self, raw_keys: Sequence[bytes | None]) -> list[KnownKey | None]:
        """Return what is known of keys, in their order; None for one that needs a closer look."""
        found: list[KnownKey | None] = list(map(self._young.get, raw_keys))
        new = [raw_key for raw_key, known in zip(raw_keys, found, strict=True) if known is None]
        if not new:
            return found
        told = self._told(new)
        self._keep(told)
        return [known or told.get(raw_key) for raw_key, known in zip(raw_keys, found, strict=True)]

    @property
    def kept(self) -> int:
        """How many keys are kept."""
        return len(self._young) + len(self._old)

    def forget(self) -> None:
        """Keep nothing of what was read."""
        self._young.clear()
        self._old.clear()

    def _told(self, raw_keys: Sequence[bytes | None]) -> dict[bytes | None, KnownKey]:
        old = self._old
        told = {raw_key: old[raw_key] for raw_key in raw_keys if raw_key in old}
        new = [raw_key for raw_key in dict.fromkeys(raw_keys) if raw_key not in told]
        read = [
            (raw_key, key)
            for raw_key, key in zip(new, self._read(new), strict=True)
            if key is not None and raw_key is not None
        ]
        raws = [raw_key for raw_key, _ in read]
        digests = [raw_key_digest(told_key(key, raw_key)) for raw_key, key in read]
        known = self._places.known([key for _, key in read], digests)
        told.update(zip(raws, known, strict=True))
        return told

    def _keep(self, told: Mapping[bytes | None, KnownKey]) -> None:
        if len(self._young) + len(told) > self._generation:
            self._old, self._young = self._young, {}
        short = (told_of for told_of in told.items() if len(told_of[0] or b"") <= KEPT_BYTES_MAX)
        self._young.update(islice(short, self._generation))
