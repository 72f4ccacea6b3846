"""One partition of the state in RocksDB, as a `PartitionState`.

RocksDB checks every block that it reads against its checksum, but says so in the text of a bare exception, and its
iterator for Python ends at a damaged block as if there were nothing more: here both become `StateDamaged`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import rocksdict

from app.adapters.rocks_options import RocksOptions
from app.core.errors import DiskFull, DriftlineError, StateDamaged, Unready

OFFSET_KEY: Final = b"__faust\0offset__"
"""Faust's own name for it."""


class RocksPartition:
    """One open database; it is made where the folder is empty or missing."""

    def __init__(self, folder: Path, options: RocksOptions) -> None:
        self._folder = folder
        try:
            self._db = rocksdict.Rdict(str(folder), options=options.made())
        except Exception as error:
            raise self._told(error) from error

    def multi_get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        try:
            found: Any = self._db.get(list(keys))
        except Exception as error:
            raise self._told(error) from error
        return found  # type: ignore[no-any-return]

    def items(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the items with start <= key < end, in the order of keys."""
        last = start
        try:
            found: Any = self._db.items(from_key=start)
            for key, value in found:
                if key >= end:
                    return
                last = key
                if key != OFFSET_KEY:
                    yield key, value
            self._check_end(last)
        except DriftlineError:
            raise
        except Exception as error:
            raise self._told(error) from error

    def _check_end(self, last: bytes) -> None:
        """Raise if the iteration ended at `last` for another reason than that there is nothing more."""
        iterator = self._db.iter()
        iterator.seek(last)
        while iterator.valid():
            iterator.next()
        iterator.status()

    def write(self, items: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        """Write in one batch, together with the changelog's offset."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(OFFSET_KEY, str(offset).encode())
        try:
            self._db.write(batch)
        except Exception as error:
            raise self._told(error) from error

    def offset(self) -> int | None:
        """Return the changelog's offset that the state stands at."""
        found = self.multi_get([OFFSET_KEY])[0]
        return None if found is None else int(found)

    def close(self) -> None:
        """Close; harmless a second time."""
        self._db.close()

    def _told(self, error: Exception) -> Exception:
        """Say what RocksDB means by the text of its error."""
        text, where = str(error), str(self._folder)
        if isinstance(error, rocksdict.DbClosedError):
            return error
        if "lock" in text.lower() and "LOCK" in text:
            return Unready("its lock is held by another process", where=where, hint="one worker per instance_id")
        if "No space left" in text or "Disk quota" in text:
            return DiskFull("RocksDB could not write: no space is left", where=where)
        return StateDamaged(f"RocksDB cannot read what was written: {text}", where=where)
