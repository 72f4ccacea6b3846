"""A float of 32 bits in Avro is the number that its shortest text names."""

from __future__ import annotations

import math
import struct

from hypothesis import given
from hypothesis import strategies as st

from app.codec.avro_envelope import as_told


def single(number: float) -> float:
    """Return a number as 32 bits hold it."""
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def test_it_is_told_as_it_was_written() -> None:
    """JSON and SQL have the short form, and a decimal is compared by it."""
    for number in (0.1, -0.0001, 1e-10, 3.4028235e38, 1e-45, 16777216.0, 0.0):
        assert as_told(single(number)) == number


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_it_is_the_same_float(number: float) -> None:
    """Nothing of its bits is lost."""
    told = as_told(number)
    assert isinstance(told, float)
    assert single(told) == number
    assert math.copysign(1, told) == math.copysign(1, number)


def test_what_is_no_finite_float_stays_as_it_is() -> None:
    """Infinities, NaN and missing values have no shorter form."""
    assert as_told(math.inf) == math.inf
    assert math.isnan(float(str(as_told(math.nan))))
    assert as_told(None) is None
