"""How long a store takes for what takes as long whatever is written, which tells how it bears being written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class AnswerTimes:
    """The answers since somebody last looked."""

    def __init__(self) -> None:
        self._count = 0
        self._took_ms = 0.0

    @contextmanager
    def noted(self) -> Iterator[int]:
        """Note how long an answer takes; yield when it was asked for, in milliseconds of a monotonic clock."""
        began = time.monotonic()
        try:
            yield int(began * 1_000)
        finally:
            self._count += 1
            self._took_ms += (time.monotonic() - began) * 1_000

    def mean_ms(self) -> float:
        """Return how long an answer took on average, and begin anew; there must have been one."""
        mean_ms = self._took_ms / self._count
        self._count, self._took_ms = 0, 0.0
        return mean_ms
