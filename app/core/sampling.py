"""What a sample says of all rows: how many of a million may be wrong at most, with what confidence."""

from __future__ import annotations

import hashlib
from math import exp, lgamma, log, log1p
from typing import Final

CONFIDENCE: Final = 0.95
"""With which a bound on the share of wrong rows is stated."""

SAMPLED: Final = 1 / 16
"""The share of its slices that a sampling pass reads."""

_STEPS: Final = 60


def wrong_at_most(sampled: int, wrong: int, confidence: float = CONFIDENCE) -> float:
    """Return the share of wrong rows that is not exceeded, by the exact (Clopper-Pearson) bound of a random sample.

    It is the share at which so few wrong ones among the sampled are only just as unlikely as `1 - confidence`. A sample
    of nothing says nothing. Rows are taken to be wrong independently of each other: damage that strikes neighbours
    together is met less evenly by slices, and then the slices are what was sampled.

    >>> round(wrong_at_most(3_000_000, 0) * 1e6, 2)
    1.0
    """
    if not 0 <= wrong <= sampled:
        raise ValueError(f"{wrong} wrong of {sampled} sampled")
    if wrong == sampled:
        return 1.0
    low, high = wrong / sampled, 1.0
    for _ in range(_STEPS):
        share = (low + high) / 2
        if _at_most(wrong, sampled, share) > 1 - confidence:
            low = share
        else:
            high = share
    return high


def _at_most(wrong: int, sampled: int, share: float) -> float:
    """Return the probability that a sample has no more than so many wrong rows."""
    if share >= 1.0:
        return 0.0
    whole = lgamma(sampled + 1)
    total = 0.0
    for k in range(wrong + 1):
        ways = whole - lgamma(k + 1) - lgamma(sampled - k + 1)
        total += exp(ways + k * log(share) + (sampled - k) * log1p(-share))
    return total


def is_sampled(seed: int, slice_begin: bytes) -> bool:
    """Whether a sampling pass reads the slice that begins at a key: each is chosen by a hash, for itself."""
    digest = hashlib.blake2b(slice_begin, digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") < SAMPLED * 2**64
