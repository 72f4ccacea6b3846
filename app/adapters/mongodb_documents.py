"""Documents of MongoDB as values: as text without loss, by dotted paths, and what differs between two of them.

A path leads through documents, as the decoder of changes follows it (`app.codec.mongodb.Document`): never into arrays,
and a field whose own name has the dots comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bson import CodecOptions, DatetimeConversion, decode, encode, json_util
from bson.binary import UuidRepresentation
from bson.json_util import JSONMode, JSONOptions

from app.adapters.mongodb_client import Document

MISSING: Final = object()
"""What stands at a path where nothing stands, not even null."""

LOSSLESS: Final[CodecOptions[Document]] = CodecOptions(
    document_class=dict,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
"""Every value as a type that is written as it was read: dates of any year, binaries of any subtype."""

_CANONICAL: Final = JSONOptions(
    json_mode=JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    tz_aware=False,
)


class NoWay(Exception):
    """Something else than a document stands on the way of a path."""


def document_of_bson(data: bytes) -> Document:
    """Return a document from its bytes."""
    return decode(data, LOSSLESS)


def bson_of(document: Document) -> bytes:
    """Return a document's bytes."""
    return encode(document, codec_options=LOSSLESS)


def image_of_document(document: Document) -> bytes:
    """Return a document as canonical extended JSON: the types of its values and the order of its fields included."""
    return json_util.dumps(document, json_options=_CANONICAL).encode()


def document_of_image(image: bytes) -> Document:
    """Return the document of an image."""
    found: Document = json_util.loads(image.decode(), json_options=_CANONICAL)
    return found


def at(document: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - any value of BSON
    """Return what stands at a path, `MISSING` where the way ends."""
    if path in document:
        return document[path]
    found: Any = document
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return MISSING
        found = found[part]
    return found


def put(document: Mapping[str, Any], path: str, value: object) -> Document:
    """Return a document with a value at a path; `NoWay` where that leads through what is no document."""
    return _put(document, [path] if path in document else path.split("."), value)


def _put(document: object, parts: list[str], value: object) -> Document:
    if not isinstance(document, Mapping):
        raise NoWay
    first, *rest = parts
    return {**document, first: _put(document.get(first, {}), rest, value) if rest else value}


def take(document: Mapping[str, Any], path: str, was: object) -> Document:
    """Return a document without what stands at a path, nor a document around it that `was` had not and is empty now."""
    return _take(document, [path] if path in document else path.split("."), was)


def _take(document: Mapping[str, Any], parts: list[str], was: object) -> Document:
    first, *rest = parts
    had = was if isinstance(was, Mapping) else {}
    if rest:
        within = document.get(first)
        left = _take(within, rest, had.get(first)) if isinstance(within, Mapping) else within
        if left == within or left or first in had:
            return {**document, first: left} if first in document else {**document}
    return {name: value for name, value in document.items() if name != first}


def is_same(one: object, other: object) -> bool:
    """Tell whether two values are the same in BSON, type and order included."""
    return bson_of({"": one}) == bson_of({"": other})


def changes(now: Mapping[str, Any], then: Mapping[str, Any]) -> Document | None:
    """Return the update that makes one document of another; None where a name cannot stand in a path."""
    sets: Document = {}
    unsets: Document = {}
    if not _differ(now, then, "", sets, unsets):
        return None
    return {verb: paths for verb, paths in (("$set", sets), ("$unset", unsets)) if paths}


def _differ(now: Mapping[str, Any], then: Mapping[str, Any], above: str, sets: Document, unsets: Document) -> bool:
    changed = [n for n in {**now, **then} if n not in now or n not in then or not is_same(now[n], then[n])]
    for name in changed:
        if not name or "." in name or name.startswith("$"):
            return False
        was, will = now.get(name), then.get(name)
        if name not in then:
            unsets[above + name] = ""
        elif isinstance(was, Mapping) and isinstance(will, Mapping) and _keeps_order(was, will):
            if not _differ(was, will, f"{above}{name}.", sets, unsets):
                return False
        else:
            sets[above + name] = will
    return True


def _keeps_order(was: Mapping[str, Any], will: Mapping[str, Any]) -> bool:
    """Tell whether fields that are set one by one stand as they shall: new ones come last, by their names."""
    return [*(name for name in was if name in will), *sorted(name for name in will if name not in was)] == [*will]
