"""The frames around records: why one cannot be read, how large it may be, and Confluent's header of Avro records."""

from __future__ import annotations

import struct
from enum import Enum
from typing import Annotated, Final

import msgspec

from app.core.errors import Undecodable

MOST_BYTES: Final = 64 * 1024 * 1024
"""No record larger than this is parsed. Far above what brokers take, so that only nonsense meets it."""

Natural = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""A number of a log as a typed record may hold it."""

_HEADER: Final = struct.Struct(">bI")


class Reason(Enum):
    """Why a record goes to quarantine. A closed list."""

    BAD_JSON = "bad_json"
    BAD_AVRO = "bad_avro"
    BAD_FRAME = "bad_frame"  # no header of the wire format
    UNKNOWN_SCHEMA = "unknown_schema"  # the registry does not know the id
    BAD_ENVELOPE = "bad_envelope"  # readable, but no change as its connector writes them
    NO_KEY = "no_key"  # a change of a row without a key
    WRONG_KEY = "wrong_key"  # a key that is no object, or does not fit the entity
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"


def undecodable(reason: Reason, what: str, hint: str = "") -> Undecodable:
    """Return the error for a reason; `what` never quotes the record."""
    return Undecodable(reason.value, what, hint=hint)


def check_size(data: bytes) -> None:
    """Refuse what is too large to be parsed."""
    if len(data) > MOST_BYTES:
        raise undecodable(Reason.TOO_LARGE, f"a record of {len(data)} bytes", f"the limit is {MOST_BYTES}")


def frame(schema_id: int, payload: bytes) -> bytes:
    """Put the header before an Avro payload: a zero byte, and the schema's id in four."""
    return _HEADER.pack(0, schema_id) + payload


def unframe(data: bytes) -> tuple[int, bytes]:
    """Return the schema's id and the payload of a framed record."""
    if len(data) < _HEADER.size or data[0] != 0:
        raise undecodable(
            Reason.BAD_FRAME,
            "the record does not begin with the header of the Confluent wire format",
            "set the store's `converter` to what its connector uses",
        )
    return _HEADER.unpack_from(data)[1], data[_HEADER.size :]
