"""Strings by their collation, enums, bytes, UUIDs and network addresses."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import unicodedata
from collections.abc import Callable
from typing import Final

from app.core.types.canonical import Canonical, Misfit, Read

COLLATIONS: Final = frozenset({"exact", "trim", "ci", "ci_trim"})
"""How strings are held equal: to the code point; without trailing blanks; without case; without both."""

_UUID_BYTES: Final = 16
_UUID_BASE64: Final = 24
_HEX: Final = frozenset("0123456789abcdef")
_MOST_ADDRESS: Final = 64


def fold_case(text: str) -> str:
    """Return the text without case, in Unicode's composed form; folding twice changes nothing."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold().casefold())


def fold(collation: str) -> Callable[[str], str] | None:
    """Return what makes two texts that a collation holds equal the same, or None for `exact`."""
    if collation == "exact":
        return None
    if collation == "trim":
        return lambda text: text.rstrip(" ")
    if collation == "ci":
        return fold_case
    return lambda text: fold_case(text.rstrip(" "))


def read_string(raw: object) -> Canonical:
    """Read a string as it is; a number or a list is not made into one."""
    if isinstance(raw, str):
        return raw
    raise Misfit("not a string")


def bytes_by_log(*, form: str) -> Read:
    """Read bytes as a log's converter sends them: base64, hexadecimal digits, or bytes as they are."""

    def read(raw: object) -> Canonical:
        if isinstance(raw, bytes):
            return raw
        if isinstance(raw, str):
            try:
                return bytes.fromhex(raw) if form == "hex" else base64.b64decode(raw, validate=True)
            except (binascii.Error, ValueError):
                raise Misfit("bytes in no form that the converter should send") from None
        raise Misfit("not bytes")

    return read


def read_bytes(raw: object) -> Canonical:
    """Read bytes as a driver gives them, or as PostgreSQL writes them in an array."""
    if isinstance(raw, str) and raw.startswith("\\x"):
        try:
            return bytes.fromhex(raw[2:])
        except ValueError:
            raise Misfit("not bytes") from None
    if isinstance(raw, bytes | bytearray | memoryview):
        return bytes(raw)
    raise Misfit("not bytes")


def read_uuid(raw: object) -> Canonical:
    """Read a UUID from text of any case, with or without hyphens or braces, or from 16 bytes, or their base64."""
    if isinstance(raw, str):
        if len(raw) == _UUID_BASE64:
            try:
                raw = base64.b64decode(raw, validate=True)
            except (binascii.Error, ValueError):
                raise Misfit("not a UUID") from None
        else:
            digits = (
                raw.lower()
                .removeprefix("urn:uuid:")
                .removeprefix("\\x")
                .removeprefix("{")
                .removesuffix("}")
                .replace("-", "")
            )
            if len(digits) == 2 * _UUID_BYTES and _HEX.issuperset(digits):
                return _hyphenated(digits)
    if isinstance(raw, bytes) and len(raw) == _UUID_BYTES:
        return _hyphenated(raw.hex())
    raise Misfit("not a UUID")


def _hyphenated(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def read_inet(raw: object) -> Canonical:
    """Read an address; the whole address and its full prefix are the same."""
    if isinstance(raw, str) and len(raw) <= _MOST_ADDRESS:
        try:
            interface = ipaddress.ip_interface(raw)
        except ValueError:
            raise Misfit("not a network address") from None
        length = interface.network.prefixlen
        return str(interface.ip) if length == interface.max_prefixlen else f"{interface.ip}/{length}"
    raise Misfit("not a network address")
