"""Checks signatures on a second thread before they are asked for: the library lets others run meanwhile.

Whether a key made a signature over a message never changes, so it does not matter when that is found out, or by whom.
Whether the key is trusted is asked anew each time, elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from app.core.trust import Claim, Verify

_CLAIMS_MAX: Final = 1_000


class VerifyAhead:
    """A `Verify` that may have done its work already; what it has not done it does when it is asked."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="signatures")
        self._wanted: deque[Claim] = deque(maxlen=_CLAIMS_MAX)
        self._found: dict[Claim, bool] = {}

    def expect(self, claims: Iterable[Claim]) -> None:
        """Begin to check what will be asked for soon; what was expected before and not asked for is forgotten."""
        self._wanted.clear()
        self._found = {}
        self._wanted.extend(claims)
        self._beside.submit(self._work, self._found)

    def _work(self, found: dict[Claim, bool]) -> None:
        """Check from the end on: whoever asks begins at the other one, and nobody waits for anybody."""
        while found is self._found:
            try:
                claim = self._wanted.pop()
            except IndexError:
                return
            found[claim] = self._verify(*claim)

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made this signature over this message."""
        claim = Claim(public_key, message, signature)
        known = self._found.pop(claim, None)
        if known is None:
            return self._verify(*claim)
        return known
