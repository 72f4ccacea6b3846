"""The connector's placeholder for values that the log left out, in each form that it takes, turned into `LEFT_OUT`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Final

from app.core.errors import ContractViolation
from app.core.event import LEFT_OUT

_UNSAFE: Final = frozenset('"\\')


class Placeholder:
    """Recognises the placeholder as text, as bytes, as base64 or hexadecimal digits of them, in arrays and in maps."""

    def __init__(self, text: str) -> None:
        if not text or not text.isascii() or not text.isprintable() or _UNSAFE & set(text):
            raise ContractViolation(
                "the placeholder must be printable ASCII without quotes and backslashes",
                hint="use the one that `driftline init` made",
            )
        data = text.encode()
        encoded = base64.b64encode(data).decode()
        # An array of UUIDs holds the name-based (version 3, no namespace) UUID of the placeholder's bytes.
        name = bytearray(hashlib.md5(data, usedforsecurity=False).digest())
        name[6] = name[6] & 0x0F | 0x30
        name[8] = name[8] & 0x3F | 0x80
        digits = name.hex()
        uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        self._texts = frozenset({text, encoded, data.hex(), uuid, f'{{"{text}":"{text}"}}'})
        self._data = data
        self._scalars: frozenset[object] = self._texts | {data}
        self._numbers = list(data)
        arrays = (",".join(map(str, data)), ",".join(map(str, map(float, data))))
        self._needles = tuple(needle.encode() for needle in (text, encoded, data.hex(), uuid, *arrays))

    def may_be_in(self, record: bytes) -> bool:
        """Say quickly whether a JSON record can hold the placeholder at all."""
        return any(needle in record for needle in self._needles)

    def mark(self, image: dict[str, object] | None) -> None:
        """Put `LEFT_OUT` in place of the placeholder in a row image."""
        if image is None:
            return
        for column, value in image.items():
            if self.is_value(value):
                image[column] = LEFT_OUT

    def is_none_of(self, values: Iterable[object]) -> bool:
        """Say quickly that none of many values is the placeholder; `TypeError` if one is a container."""
        return self._scalars.isdisjoint(values)

    def is_value(self, value: object) -> bool:
        """Say whether a value is the placeholder in one of its forms."""
        if isinstance(value, str):
            return value in self._texts
        if isinstance(value, bytes):
            return value == self._data
        if isinstance(value, list):
            return value == self._numbers or (len(value) == 1 and isinstance(value[0], str) and value[0] in self._texts)
        if isinstance(value, dict):
            return len(value) == 1 and next(iter(value)) in self._texts
        return False
