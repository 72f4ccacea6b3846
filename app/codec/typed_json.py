"""Typed records of the JSON converter without schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import orjson

from app.codec.typed import Envelope, Shapes
from app.codec.wire import MOST_BYTES

_LONG: Final = 2_000  # a shorter record cannot be nested too deep
_MOST_OPENED: Final = 900
# What msgspec does not look at in the parts that it skips: whether texts are UTF-8, and how deep containers are nested.
_MISFITS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class JsonUnpack:
    """Unpacks JSON records of one table."""

    def __init__(self, shapes: Shapes) -> None:
        self._decode = msgspec.json.Decoder(shapes.envelope).decode

    def __call__(self, records: Sequence[bytes | None]) -> list[Envelope | None]:
        """Return the records as envelopes; None for one that is not as usual."""
        whole = [r for r in records if r is not None]
        if len(whole) == len(records) and all(map(bytes.isascii, whole)) and max(map(len, whole), default=0) < _LONG:
            try:
                return list(map(self._decode, whole))
            except _MISFITS:
                pass
        return [self._one(record) for record in records]

    def _one(self, record: bytes | None) -> Envelope | None:
        if record is None or len(record) > MOST_BYTES:
            return None
        if len(record) >= _LONG and record.count(b"[") + record.count(b"{") > _MOST_OPENED:
            return None
        try:
            if not record.isascii():
                record.decode()
            return self._decode(record)
        except _MISFITS:
            return None


def unpack_json_keys(keys: Sequence[bytes | None]) -> list[Mapping[str, object] | None]:
    """Return keys as objects with at least one field; None for one that is not."""
    return [_key(key) for key in keys]


def _key(data: bytes | None) -> Mapping[str, object] | None:
    if data is None or len(data) > _LONG:
        return None
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and found else None
