"""Booleans, integers, bit strings, decimals and floats."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Final

from app.core.contract import FieldKind
from app.core.types.canonical import Canonical, Misfit, Read, ReadMany

INTEGER_RANGES: Final[dict[FieldKind, tuple[int, int]]] = {
    FieldKind.INT8: (-(1 << 7), (1 << 7) - 1),
    FieldKind.INT16: (-(1 << 15), (1 << 15) - 1),
    FieldKind.INT32: (-(1 << 31), (1 << 31) - 1),
    FieldKind.INT64: (-(1 << 63), (1 << 63) - 1),
    FieldKind.UINT8: (0, (1 << 8) - 1),
    FieldKind.UINT16: (0, (1 << 16) - 1),
    FieldKind.UINT32: (0, (1 << 32) - 1),
    FieldKind.UINT64: (0, (1 << 64) - 1),
}

_NEVER_BASE64: Final = frozenset({FieldKind.INT8, FieldKind.INT16, FieldKind.INT32})

_PLAIN: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]*))?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?", re.ASCII)
_SPECIAL: Final = {
    "NaN": "NaN",
    "NAN": "NaN",
    "nan": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "POSITIVE_INFINITY": "Infinity",
    "NEGATIVE_INFINITY": "-Infinity",
    "inf": "Infinity",
    "-inf": "-Infinity",
}
_TRUTH: Final[dict[int | str | bytes, bool]] = {
    1: True,
    "t": True,
    "true": True,
    "1": True,
    b"\x01": True,
    0: False,
    "f": False,
    "false": False,
    "0": False,
    b"\x00": False,
}
# PostgreSQL's numeric has up to 131,072 digits before and 16,383 after the point.
_MOST_DIGITS: Final = 150_000
_EXACT: Final = Context(prec=_MOST_DIGITS, Emax=999_999, Emin=-999_999)
_SHORT: Final = 16  # bytes and scale of a decimal that is written out without the decimal module
_FLOAT32: Final = struct.Struct(">f")
_FLOAT64: Final = struct.Struct(">d")
_MOST_INTEGER_TEXT: Final = 40
_MOST_FLOAT_TEXT: Final = 1_100  # the smallest float64 written out has 1,074 digits after the point
_EXACT_FLOAT_INTEGER: Final = 1 << 53


def read_bool(raw: object) -> Canonical:
    """Read true and false from the forms of all stores; a tinyint of 2 is neither."""
    if raw is True or raw is False:
        return raw
    if not isinstance(raw, int | str | bytes) or raw not in _TRUTH:
        raise Misfit("neither true nor false")
    return _TRUTH[raw]


def integer(kind: FieldKind, *, bits: bool) -> Read:
    """Read an integer of `kind`; `bits` says that bytes come lowest first, as Debezium sends bit strings.

    Unsigned bigints come as base64. A number that is always narrower never does, or a word would be taken for it.
    """
    lowest, highest = INTEGER_RANGES[kind]
    base64_too = bits or kind not in _NEVER_BASE64
    name = kind.value

    def read(raw: object) -> Canonical:
        number: int = raw if raw.__class__ is int else _integer_of(raw, bits=bits, base64_too=base64_too)
        if lowest <= number <= highest:
            return number
        raise Misfit(f"outside the range of {name}")

    return read


def integers(kind: FieldKind) -> ReadMany:
    """Read many integers that come as numbers."""
    lowest, highest = INTEGER_RANGES[kind]
    return lambda raws: raws if lowest <= min(raws) and max(raws) <= highest else None


def _integer_of(raw: object, *, bits: bool, base64_too: bool) -> int:
    if isinstance(raw, int):
        return int(raw)
    if isinstance(raw, str) and len(raw) <= _MOST_INTEGER_TEXT:
        digits = raw.removeprefix("-")
        # Base64 of a number that is not negative never consists of digits alone: its first bit would be set.
        if digits.isascii() and digits.isdigit() and not bits:
            return int(raw)
        if not base64_too:
            raise Misfit("not an integer")
        try:
            raw = base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError):
            raise Misfit("not an integer") from None
    if isinstance(raw, bytes) and 0 < len(raw) <= _MOST_INTEGER_TEXT:
        return int.from_bytes(raw, "little") if bits else int.from_bytes(raw, "big", signed=True)
    raise Misfit("not an integer")


def bit_string(*, by_log: bool) -> Read:
    """Read a bit string from its digits, or from its bytes, lowest first, as Debezium sends them."""

    def read(raw: object) -> Canonical:
        if isinstance(raw, str):
            if not by_log:
                return _digits_of_bits(raw)
            try:
                raw = base64.b64decode(raw, validate=True)
            except (binascii.Error, ValueError):
                raise Misfit("not a bit string") from None
        if isinstance(raw, bytes):
            raw = int.from_bytes(raw, "little")
        if isinstance(raw, int) and raw >= 0:
            return f"{raw:b}"
        raise Misfit("not a bit string")

    return read


def _digits_of_bits(text: str) -> str:
    if not text or text.strip("01"):
        raise Misfit("not a bit string")
    return text.lstrip("0") or "0"


def decimal_text(text: str) -> str:
    """Return a decimal's one form: no exponent, no needless zeros, no minus zero, or a token for what is no number."""
    plain = _PLAIN.fullmatch(text) if len(text) <= _MOST_DIGITS else None
    if plain:
        sign, digits, after_point = plain.groups()
        whole = digits.lstrip("0") or "0"
        fraction = after_point.rstrip("0") if after_point else ""
        if fraction:
            return f"{sign}{whole}.{fraction}"
        return whole if whole == "0" else sign + whole
    if text in _SPECIAL:
        return _SPECIAL[text]
    if len(text) <= _MOST_DIGITS and _NUMBER.fullmatch(text):
        number = _EXACT.create_decimal(text)
        if not number:
            return "0"
        if abs(number.adjusted()) < _MOST_DIGITS and number.as_tuple().exponent > -_MOST_DIGITS:  # type: ignore[operator] # finite
            return decimal_text(format(number, "f"))
    raise Misfit("not a decimal")


def _decimal_raw_text(raw: object) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    if isinstance(raw, Decimal):
        return str(raw)
    if isinstance(raw, dict):  # a decimal of no fixed scale, in the connector's `precise` mode
        scale, value = raw.get("scale"), raw.get("value")
        if isinstance(scale, int) and abs(scale) < _MOST_DIGITS and isinstance(value, str | bytes):
            try:
                unscaled = value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise Misfit("not a decimal") from None
            return scaled_text(unscaled, scale)
    if isinstance(raw, float):
        # A column of floating point is compared by what it holds; `driftline check` refuses a connector whose
        # decimal mode makes floats of exact columns.
        return float_text(raw)
    raise Misfit("not a decimal")


def scaled_text(unscaled: bytes, scale: int) -> str:
    """Return the decimal whose unscaled value is big-endian two's complement, as Connect sends decimals."""
    if len(unscaled) > _MOST_DIGITS // 3:
        raise Misfit("a decimal of too many digits")
    whole = int.from_bytes(unscaled, "big", signed=True)
    if len(unscaled) <= _SHORT and 0 < scale <= _SHORT:
        digits = str(abs(whole)).zfill(scale + 1)
        return f"{'-' if whole < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"
    number = Decimal(whole)
    return format(number.scaleb(-scale, _EXACT), "f")


def rounded(text: str, digits: int, *, half_up: bool) -> str:
    """Keep `digits` after the point: rounding half away from zero as the databases do, or cutting off."""
    point = text.find(".")
    if point < 0 or len(text) - point - 1 <= digits:
        return text
    try:
        unit = Decimal(1).scaleb(-digits)
        mode = ROUND_HALF_UP if half_up else ROUND_DOWN
        return decimal_text(format(Decimal(text).quantize(unit, mode, _EXACT), "f"))
    except InvalidOperation:
        raise Misfit("not a decimal") from None


def decimal(scale: int | None) -> Read:
    """Read a decimal, keeping `scale` digits after the point (None: all)."""

    def read(raw: object) -> Canonical:
        text = decimal_text(raw if raw.__class__ is str else _decimal_raw_text(raw))
        return text if scale is None else rounded(text, scale, half_up=True)

    return read


def decimals(scale: int | None) -> ReadMany:
    """Read many decimals that come as texts which need no rounding: all with digits after the point, or all without."""
    digits = "" if scale is None else scale
    fractions = re.compile(rf"(?:-?(?:0|[1-9][0-9]{{0,99}})\.[0-9]{{1,{digits}}}\n)*", re.ASCII) if scale != 0 else None
    wholes = re.compile(r"(?:-?[1-9][0-9]{0,99}\n|0\n)*", re.ASCII)

    def read(raws: Sequence[str]) -> list[str] | None:
        lines = "\n".join(raws) + "\n"
        if lines.count("\n") != len(raws):
            return None
        if wholes.fullmatch(lines):
            return list(raws)
        # Minus zero has no sign in canonical form.
        if fractions is None or not fractions.fullmatch(lines) or "-0." in lines:
            return None
        return [raw.rstrip("0").rstrip(".") for raw in raws]

    return read


def float_text(number: float) -> str:
    """Return a float's one form."""
    if number != number:  # noqa: PLR0124 - only NaN differs from itself
        return "NaN"
    text = repr(number or 0.0)  # minus zero is zero
    return _SPECIAL.get(text, text)


def floating(*, single: bool) -> Read:
    """Read a float of 32 or 64 bits."""

    def read(raw: object) -> Canonical:
        number = raw if raw.__class__ is float else _float_of(raw)
        if single:
            try:
                number = _FLOAT32.unpack(_FLOAT32.pack(number))[0]
            except OverflowError:
                raise Misfit("outside the range of float32") from None
        return float_text(number)

    return read


def _float_of(raw: object) -> float:
    if isinstance(raw, str):
        if raw in _SPECIAL:
            return float(_SPECIAL[raw])
        if len(raw) <= _MOST_FLOAT_TEXT and _NUMBER.fullmatch(raw):
            return float(raw)
    elif isinstance(raw, bytes) and len(raw) == _FLOAT64.size:
        return float(_FLOAT64.unpack(raw)[0])
    elif isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) <= _EXACT_FLOAT_INTEGER:
        return float(raw)
    raise Misfit("not a float")
