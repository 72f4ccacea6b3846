"""Checks signatures on a second thread before they are asked for: the library lets others run meanwhile.

Whether a key made a signature over a message never changes, so it does not matter when that is found out, or by whom.
Whether the key is trusted is asked anew each time, elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from app.core.guard import DEFAULT_LIMITS
from app.core.trust import Claim, Verify

_TOGETHER: Final = DEFAULT_LIMITS.rows_per_transaction
"""About as many as one transaction asks for."""


class VerifyAhead:
    """A `Verify` that may have done its work already; what it has not done it does when it is asked."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="signatures")
        self._wanted: set[Claim] = set()
        self._found: dict[Claim, bool] = {}

    def expect(self, claims: Iterable[Claim]) -> None:
        """Begin to check what will be asked for soon, in about this order; what was expected before is forgotten."""
        expected = list(claims)
        self._wanted, self._found = set(expected), {}
        self._beside.submit(self._work, expected, self._wanted, self._found)

    def _work(self, expected: Sequence[Claim], wanted: set[Claim], found: dict[Claim, bool]) -> None:
        for claim in _in_turns(expected):
            if wanted is not self._wanted:
                return
            if claim in wanted:
                wanted.discard(claim)
                found[claim] = self._verify(*claim)

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made this signature over this message."""
        claim = Claim(public_key, message, signature)
        known = self._found.pop(claim, None)
        if known is None:
            self._wanted.discard(claim)
            return self._verify(*claim)
        return known


def _in_turns(expected: Sequence[Claim]) -> Iterator[Claim]:
    """Yield what one transaction after another asks for, each from its end on.

    Whoever asks begins at the other end of the same one, so that the two meet, and nobody waits for anybody.
    """
    for at in range(0, len(expected), _TOGETHER):
        yield from reversed(expected[at : at + _TOGETHER])
