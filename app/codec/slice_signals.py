"""Rows of the signal table by which the conductor has a slice read again, and says that it was read whole.

The first row is Debezium's own signal: read the rows of the table that a condition chooses, and then that very row of
the signal table. Collections are read one after another, so the second read tells that the first is over. The other row
is a signal that Debezium only logs; ingest reads in it which slice is whole, and from where in the log on.

Names of tables are regular expressions there, matched as a whole. MongoDB's connector knows a collection only once it
has seen a change of it, and takes what matches none for a plain name: an escaped one would be that of nothing, and stay
in its queue for ever. So there the name of what is to be read is plain, which as an expression matches itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from app.core.errors import Undecodable
from app.core.position import PLACE_BYTES

_BEGIN: Final = re.compile(r"driftline-slice-[0-9a-f]{1,32}\Z")
_WHOLE: Final = "-whole"
_KEY_BYTES_MAX: Final = 1_024
_SPECIAL: Final = re.compile(r"([^A-Za-z0-9_])")


class SignalForm(Enum):
    """How a store's signals name tables and rows."""

    SQL = "sql"
    DOCUMENT = "document"  # conditions are documents as text, and a signal's own name is its `_id`


@dataclass(frozen=True, slots=True)
class SignalRow:
    """One row of the signal table."""

    id: str
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class SliceWord:
    """The word that a slice was read whole: canonical keys from `low` on before `high`, behind `begun` in the log."""

    slice_id: str
    entity: str
    low: bytes
    high: bytes
    begun: bytes


class _Word(msgspec.Struct, forbid_unknown_fields=True):
    message: str
    entity: str
    low: str
    high: str
    begun: str


def slice_id(number: int) -> str:
    """Return the id of a slice, which is also that of its first row."""
    return f"driftline-slice-{number:x}"


def is_slice_id(text: object) -> bool:
    """Whether a row's id is that of a slice."""
    return isinstance(text, str) and _BEGIN.match(text) is not None


def name_of(row: Mapping[str, object]) -> object:
    """Return what a row of the signal table is named: its `id`, or the `_id` of a document."""
    return row.get("_id") if row.get("id") is None else row.get("id")


def begin_row(name: str, table: str, signal_table: str, condition: str, form: SignalForm = SignalForm.SQL) -> SignalRow:
    """Return the signal to read the rows of a table that a condition of this form chooses; tables as `schema.table`."""
    names = [_SPECIAL.sub(r"\\\1", each) for each in (table, signal_table)]
    itself = f"id = '{name}'" if form is SignalForm.SQL else json.dumps({"_id": name})
    conditions = [(names[0], condition), (names[1], itself)]
    data = {
        "data-collections": names if form is SignalForm.SQL else [table, signal_table],
        "type": "incremental",
        "additional-conditions": [{"data-collection": each, "filter": chosen} for each, chosen in conditions],
    }
    return SignalRow(name, "execute-snapshot", json.dumps(data))


def whole_row(word: SliceWord) -> SignalRow:
    """Return the row that says that a slice is whole."""
    said = _Word(f"{word.slice_id} was read", word.entity, word.low.hex(), word.high.hex(), word.begun.hex())
    return SignalRow(word.slice_id + _WHOLE, "log", msgspec.json.encode(said).decode())


def word_of(row: Mapping[str, object]) -> SliceWord | None:
    """Return the word that a row of the signal table is, None for another; `Undecodable` for a malformed one."""
    name = name_of(row)
    if not isinstance(name, str) or not name.endswith(_WHOLE) or not is_slice_id(name.removesuffix(_WHOLE)):
        return None
    try:
        said = msgspec.json.decode(str(row.get("data")), type=_Word)
        low, high, begun = (bytes.fromhex(part) for part in (said.low, said.high, said.begun))
    except (msgspec.MsgspecError, ValueError) as error:
        raise Undecodable("shape", f"no word of a slice: {type(error).__name__}") from error
    if len(begun) != PLACE_BYTES or max(len(low), len(high)) > _KEY_BYTES_MAX or (high and high < low):
        raise Undecodable("shape", "the word of a slice names no place, or no range of keys")
    return SliceWord(name.removesuffix(_WHOLE), said.entity, low, high, begun)
