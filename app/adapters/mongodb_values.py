"""Values of the canonical types in BSON: what to write so that a document reads as the row that it is to be.

What is written is read again by the decoder of changes before it goes anywhere: a form that does not read as exactly
the canonical value is none. So nothing is rounded and nothing is cut, whatever the types of BSON can hold.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from bson import Binary, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError

from app.adapters.mongodb_documents import MISSING, image_of_document
from app.adapters.sql_values import shown
from app.codec.mongodb import image_of
from app.core.contract import FieldKind, FieldType
from app.core.errors import Undecodable, Unmappable
from app.core.normalise import reader
from app.core.types import calendar
from app.core.types.canonical import Canonical, Dialect, Misfit
from app.core.types.numbers import INTEGER_RANGES, decimal_text
from app.core.types.structured import json_text
from app.core.types.temporal import UNITS

Writer = Callable[[Canonical, object], object]
"""Makes of a canonical value, and of what stands in its field now, what is to stand there; `Unmappable`: nothing can.

`MISSING` stands for no field, before and after.
"""

_FAULTS: Final = (
    Misfit,
    Undecodable,
    Unmappable,
    BSONError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
)
_MILLI: Final = 1_000
_STAMPS: Final = frozenset({FieldKind.INSTANT, FieldKind.LOCAL_TIMESTAMP})
_SUBTYPES: Final = (0, 4, 3, 2, 5, 128)
_UUID: Final = 4


class Forms:
    """The forms that values of one type have in one store's documents. `encoding` is the contract's for the store."""

    def __init__(self, type_: FieldType, encoding: str) -> None:
        self._type = type_
        self._encoding = encoding
        self._read = reader(type_, Dialect.MONGO_CDC, encoding)
        self._element = Forms(type_.element, encoding) if type_.element is not None else None
        self._by_type: dict[type, Callable[[Any, Any], object]] = {
            bool: lambda value, _: bool(value),
            int: lambda value, _: _within(FieldKind.INT32, int(self._number(value))),
            Int64: lambda value, _: Int64(_within(FieldKind.INT64, int(self._number(value)))),
            float: lambda value, _: float(self._number(value)),
            Decimal128: lambda value, _: Decimal128(self._number(value)),
            str: lambda value, _: self._text(value),
            DatetimeMS: lambda value, _: DatetimeMS(self._stamp(value) // _MILLI),
            ObjectId: lambda value, _: ObjectId(str(value)),
            bytes: lambda value, _: self._bytes(value),
            Binary: lambda value, now: Binary(self._bytes(value), now.subtype),
            dict: self._structure,
            list: self._structure,
        }

    def write(self, canonical: Canonical, now: object) -> object:
        """Return what is to stand in a field: what stands there if it says the same, else of its type if that can."""
        if canonical is None:
            return now if now in (MISSING, None) else None
        if now is not MISSING and self._reads(now, canonical):
            return now
        for form in self._forms(now):
            try:
                value = form(canonical, now)
            except _FAULTS:
                continue
            if self._reads(value, canonical):
                return value
        raise Unmappable("", "no value of BSON reads as exactly this one")

    def spellings(self, canonical: Canonical) -> list[Any]:
        """Return the values that read as a canonical one, one of each type; the likeliest first."""
        forms = [(self._by_type[ObjectId], None), *((form, MISSING) for form in self._defaults())]
        forms += [(self._by_type[kind], None) for kind in (str, Int64, Decimal128, DatetimeMS, bool)]
        forms += [(self._by_type[Binary], Binary(b"", subtype)) for subtype in _SUBTYPES]
        found: dict[tuple[type, int], object] = {}
        for form, now in forms:
            try:
                value = form(canonical, now)
            except _FAULTS:
                continue
            if self._reads(value, canonical):
                # Numbers of whatever type are one to an index.
                kind = Int64 if isinstance(value, int | float | Decimal128) and value.__class__ is not bool else None
                found.setdefault((kind or type(value), getattr(value, "subtype", 0)), value)
        return list(found.values())

    def _reads(self, value: object, canonical: Canonical) -> bool:
        """Tell whether the decoder of changes reads a value as a canonical one."""
        try:
            raw = image_of(image_of_document({"": value}).decode())[""]
            return raw is not None and self._read(raw) == canonical
        except (*_FAULTS, RecursionError):
            return False

    def _forms(self, now: object) -> Iterator[Callable[[Any, Any], object]]:
        of_now = self._by_type.get(type(now))
        if of_now is not None:
            yield of_now
        yield from self._defaults()

    def _defaults(self) -> Iterator[Callable[[Any, Any], object]]:
        """Return the forms of a value in a field that is not there yet."""
        kind = self._type.kind
        if kind is FieldKind.UUID:
            yield lambda value, _: Binary(self._bytes(value), _UUID)
        elif self._encoding in UNITS:
            yield self._by_type[Int64]
        else:
            yield from (self._by_type[each] for each in _DEFAULTS.get(kind, (str,)))

    # -- parts of forms -----------------------------------------------------------------------------------------------

    def _stamp(self, value: int) -> int:
        """Return the microseconds that a date or a number holds for an instant or a clock's reading."""
        return shown(value, self._type, self._encoding)[0] if self._type.kind in _STAMPS else value

    def _number(self, value: int | str) -> str:
        """Return a number's text, in the unit that the contract says."""
        if isinstance(value, int) and self._encoding in UNITS:
            factor, divisor = UNITS[self._encoding]
            number = Decimal(self._stamp(value) * divisor) / factor
        elif isinstance(value, int):
            number = Decimal(self._stamp(int(value)))
        else:
            return value
        return decimal_text(format(number, "f"))

    def _text(self, value: Any) -> str:  # noqa: ANN401 - canonical, by its kind
        kind = self._type.kind
        if isinstance(value, bytes):
            return value.hex() if self._encoding == "hex" else base64.b64encode(value).decode()
        if kind is FieldKind.BOOL:
            return "true" if value else "false"
        if isinstance(value, str):
            return value
        if kind is FieldKind.DATE:
            return calendar.date_text(value)
        if kind is FieldKind.TIME:
            return calendar.clock_text(value)
        if kind in _STAMPS:
            micros, zone = shown(value, self._type, self._encoding)
            return f"{calendar.stamp_text(micros)}{zone}"
        if kind is FieldKind.INTERVAL:
            return " ".join(map(str, value))
        return str(value)

    def _bytes(self, value: bytes | str) -> bytes:
        if isinstance(value, bytes):
            return value
        if self._type.kind is FieldKind.UUID:
            return bytes.fromhex(value.replace("-", ""))
        return base64.b64decode(value, validate=True)

    def _structure(self, value: Any, now: Any) -> object:  # noqa: ANN401 - canonical, and any value of BSON
        """Return a document or a list: of JSON, of an array, or of an interval's three numbers."""
        if self._type.kind is FieldKind.JSON:
            return _kept(json.loads(value, parse_int=_json_number, parse_float=_json_number), now)
        if self._element is None:
            return [*value]
        old: Sequence[object] = now if isinstance(now, list) else ()
        like = next((each for each in old if each is not None), MISSING)
        elements = [old[place] if place < len(old) and old[place] is not None else like for place in range(len(value))]
        return [None if each is None else self._element.write(each, e) for each, e in zip(value, elements, strict=True)]


_DEFAULTS: Final[Mapping[FieldKind, tuple[type, ...]]] = {
    **dict.fromkeys((FieldKind.INT8, FieldKind.INT16, FieldKind.INT32, FieldKind.UINT8, FieldKind.UINT16), (int,)),
    **dict.fromkeys((FieldKind.UINT32, FieldKind.INT64, FieldKind.UINT64), (Int64,)),
    FieldKind.BOOL: (bool,),
    FieldKind.DECIMAL: (Decimal128,),
    FieldKind.FLOAT32: (float,),
    FieldKind.FLOAT64: (float,),
    FieldKind.BYTES: (bytes,),
    FieldKind.INSTANT: (DatetimeMS,),
    FieldKind.LOCAL_TIMESTAMP: (DatetimeMS,),
    FieldKind.JSON: (dict,),
    FieldKind.ARRAY: (list,),
}
"""The types of BSON that a value of each kind is tried in where its field has none yet; text for all other kinds."""


def _within(kind: FieldKind, number: int) -> int:
    lowest, highest = INTEGER_RANGES[kind]
    if not lowest <= number <= highest:
        raise ValueError
    return number


def _json_number(text: str) -> object:
    """Return a number of JSON in the first type of BSON that holds it."""
    canonical = decimal_text(text)
    for kind, as_type in ((FieldKind.INT32, int), (FieldKind.INT64, Int64)):
        with suppress(ValueError):
            return as_type(_within(kind, int(canonical)))
    if decimal_text(repr(float(canonical))) == canonical:
        return float(canonical)
    try:
        return Decimal128(canonical)
    except InvalidOperation:
        raise Misfit("a number of JSON that BSON cannot hold") from None


def _kept(new: Any, now: Any) -> object:  # noqa: ANN401 - any value of BSON
    """Return a structure in which each part that says what it said has the type that it had, and its place."""
    if now is MISSING or new is None:
        return new
    if _json_of(new) == _json_of(now):
        return now
    if isinstance(new, dict) and isinstance(now, dict):
        places = [*(name for name in now if name in new), *(name for name in new if name not in now)]
        return {name: _kept(new[name], now.get(name, MISSING)) for name in places}
    if isinstance(new, list) and isinstance(now, list):
        return [_kept(each, now[place] if place < len(now) else MISSING) for place, each in enumerate(new)]
    return new


def _json_of(value: object) -> str | None:
    try:
        return json_text(image_of(image_of_document({"": value}).decode())[""])
    except (*_FAULTS, RecursionError):
        return None
