"""What errors of MongoDB's driver mean here. Their texts are never passed on: they carry values of documents."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pymongo
from bson.errors import BSONError
from pymongo.errors import BulkWriteError, ConnectionFailure, DocumentTooLarge, OperationFailure, PyMongoError

from app.core.command import RefusalReason
from app.core.errors import Unready
from app.core.guard import Refused

FAULTS: Final = (PyMongoError, BSONError, OverflowError, OSError)
"""What the driver raises."""

_ANSWER_S: Final = 10
"""How long one call may take, by the server's clock and by ours."""

_BY_CODE: Final[Mapping[int, RefusalReason]] = {
    112: RefusalReason.ROW_LOCKED,  # WriteConflict: somebody is writing it, or has written it since the snapshot
    24: RefusalReason.ROW_LOCKED,  # LockTimeout: somebody is changing the collection
    246: RefusalReason.ROW_LOCKED,  # SnapshotUnavailable: likewise
    239: RefusalReason.ROW_LOCKED,  # SnapshotTooOld
    13: RefusalReason.NO_RIGHT,
    26: RefusalReason.TABLE_DIFFERS,  # NamespaceNotFound
    20: RefusalReason.NOT_TRANSACTIONAL,  # IllegalOperation: no replica set
    166: RefusalReason.NOT_TRANSACTIONAL,  # CommandNotSupportedOnView
    263: RefusalReason.NOT_TRANSACTIONAL,  # OperationNotSupportedInTransaction
    121: RefusalReason.CONSTRAINT,  # DocumentValidationFailure
    2: RefusalReason.NOT_HELD_BY_COLUMN,  # BadValue
    14: RefusalReason.NOT_HELD_BY_COLUMN,  # TypeMismatch
    28: RefusalReason.NOT_HELD_BY_COLUMN,  # PathNotViable
    54: RefusalReason.NOT_HELD_BY_COLUMN,  # NotSingleValueField
    66: RefusalReason.NOT_HELD_BY_COLUMN,  # ImmutableField
    171: RefusalReason.NOT_HELD_BY_COLUMN,  # CannotIndexParallelArrays
    10334: RefusalReason.NOT_HELD_BY_COLUMN,  # BSONObjectTooLarge
    16755: RefusalReason.NOT_HELD_BY_COLUMN,  # no value of an index of places on earth
    17280: RefusalReason.NOT_HELD_BY_COLUMN,  # too long for an index
    17419: RefusalReason.NOT_HELD_BY_COLUMN,  # the document would be too large
}
_DUPLICATE: Final = 11000
_INVALID: Final = 121
_KNOWN: Final = frozenset({*_BY_CODE, _DUPLICATE})


class DuplicateKey(Exception):
    """A unique index says no; `fields` are the paths that it is over, nothing where they are not known."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.fields = fields


class WriteFailed(Exception):
    """Of several writes in a row the one at `place` failed, and `error` says why."""

    def __init__(self, place: int, error: Exception) -> None:
        super().__init__()
        self.place = place
        self.error = error


def translated(error: Exception, where: str, columns: Collection[str] = ()) -> Exception:
    """Return `Refused`, `DuplicateKey`, `WriteFailed` or `Unready` for a driver's error, without its text.

    `columns` are those of the contract: what a validator asks for besides is not covered by it.
    """
    if isinstance(error, BulkWriteError):
        for failed in error.details.get("writeErrors", ()):
            code = int(failed.get("code", 0))
            passes = code not in _KNOWN and error.has_error_label("TransientTransactionError")
            # A code that nobody has told of is of that one row: were it waited for, all others would be too.
            no = Refused(RefusalReason.CONSTRAINT, f"code {code}")
            is_told = code in _KNOWN or passes
            return WriteFailed(int(failed["index"]), _by_code(code, failed, where, columns) if is_told else no)
    if isinstance(error, DocumentTooLarge):
        return Refused(RefusalReason.NOT_HELD_BY_COLUMN, "the document would be too large")
    if isinstance(error, BSONError | OverflowError):
        return Refused(RefusalReason.NOT_HELD_BY_COLUMN, "the value has no form in this store")
    is_open = isinstance(error, PyMongoError) and error.has_error_label("UnknownTransactionCommitResult")
    if isinstance(error, OperationFailure) and not isinstance(error, ConnectionFailure) and not is_open:
        details = error.details if isinstance(error.details, Mapping) else {}
        return _by_code(error.code or 0, details, where, columns)
    return _unready(type(error).__name__, where)


def _by_code(code: int, details: Mapping[str, Any], where: str, columns: Collection[str]) -> Exception:
    if code == _DUPLICATE:
        return DuplicateKey(tuple(map(str, details.get("keyPattern") or ())))
    if code == _INVALID:
        missing = sorted(set(_missing(details.get("errInfo"))) - set(columns))
        if missing:
            told = ", ".join(f'"{name}"' for name in missing)
            return Refused(RefusalReason.UNCOVERED_COLUMNS, f"the collection's validator asks for {told}")
    reason = _BY_CODE.get(code)
    if reason is None:
        return _unready(f"code {code}", where)
    told = f"code {code}"
    return Refused(reason, f"{told}, in {where}" if reason is RefusalReason.TABLE_DIFFERS else told)


def _missing(told: object) -> Iterator[str]:
    """Yield the names of fields that a validator misses, however deep it tells of them."""
    if isinstance(told, Mapping):
        for name, part in told.items():
            if name == "missingProperties" and isinstance(part, list):
                yield from map(str, part)
            else:
                yield from _missing(part)
    elif isinstance(told, list):
        for part in told:
            yield from _missing(part)


def _unready(what: str, where: str) -> Unready:
    return Unready(
        f"the store does not answer as it should ({what})",
        where=where,
        hint="is it up, and may the roles read and apply log in? it is tried again",
    )


@contextmanager
def within_time() -> Iterator[None]:
    """Bound how long the calls within may take together."""
    with pymongo.timeout(_ANSWER_S):
        yield
