"""What the semantic types that connectors name in schemas mean, as conversions to raw values that need no schema."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final

from app.core.types.canonical import Micros, Misfit
from app.core.types.numbers import scaled_text

Convert = Callable[[object], object]


def _scaled(factor: int, divisor: int = 1) -> Convert:
    def convert(value: object) -> object:
        # A number that is not a whole number of microseconds stays as it is and is refused when it is normalised.
        if isinstance(value, int) and not isinstance(value, bool) and value % divisor == 0:
            return Micros(value * factor // divisor)
        return value

    return convert


def _bits(value: object) -> object:
    """Bit strings come lowest byte first; as a number they have one form."""
    return int.from_bytes(value, "little") if isinstance(value, bytes) else value


def _variable_scale(value: object) -> object:
    if isinstance(value, dict):
        scale, unscaled = value.get("scale"), value.get("value")
        if isinstance(unscaled, str):
            try:
                unscaled = base64.b64decode(unscaled, validate=True)
            except (binascii.Error, ValueError):
                return value
        if isinstance(scale, int) and isinstance(unscaled, bytes):
            return _decimal(unscaled, scale)
    return value


def _decimal(unscaled: bytes, scale: int) -> object:
    try:
        return scaled_text(unscaled, scale) if abs(scale) < 1_000 else unscaled  # noqa: PLR2004 - beyond any database's scale
    except (Misfit, ArithmeticError):
        return unscaled


def _fixed_scale(parameters: Mapping[str, object]) -> Convert | None:
    text = str(parameters.get("scale", "0"))
    if not text.removeprefix("-").isdigit() or len(text) > 5:  # noqa: PLR2004 - digits of a scale
        return None
    scale = int(text)
    return lambda value: _decimal(value, scale) if isinstance(value, bytes) else value


_MILLIS: Final = _scaled(1_000)
_MICROS: Final = _scaled(1)
_NANOS: Final = _scaled(1, 1_000)
_SIMPLE: Final[dict[str, Convert]] = {
    "io.debezium.time.Timestamp": _MILLIS,
    "io.debezium.time.MicroTimestamp": _MICROS,
    "io.debezium.time.NanoTimestamp": _NANOS,
    "org.apache.kafka.connect.data.Timestamp": _MILLIS,
    "io.debezium.time.Time": _MILLIS,
    "io.debezium.time.MicroTime": _MICROS,
    "io.debezium.time.NanoTime": _NANOS,
    "org.apache.kafka.connect.data.Time": _MILLIS,
    "io.debezium.data.Bits": _bits,
    "io.debezium.data.VariableScaleDecimal": _variable_scale,
}
_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"


def converter_of(name: str, parameters: Mapping[str, object]) -> Convert | None:
    """Return the conversion of a semantic type, or None where the raw value already says what it is."""
    return _fixed_scale(parameters) if name == _DECIMAL else _SIMPLE.get(name)
