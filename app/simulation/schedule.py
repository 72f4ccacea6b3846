"""What is to happen when: one queue for all that writes into stores, so that logs are in the order of time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

Action = Callable[[int], None]
"""Is called with the moment at which it happens."""


@dataclass(slots=True)
class Schedule:
    """Actions by their moment; those of one moment in the order in which they were put."""

    _queue: list[tuple[int, int, Action]] = field(default_factory=list)
    _number: int = 0

    def put(self, at_ms: int, action: Action) -> None:
        """Let something happen at a moment."""
        self._number += 1
        heapq.heappush(self._queue, (at_ms, self._number, action))

    def run(self, until_ms: int) -> int:
        """Let everything happen that is due before a moment, also what is put meanwhile; return how much it was."""
        queue, happened = self._queue, 0
        while queue and queue[0][0] < until_ms:
            at_ms, _, action = heapq.heappop(queue)
            action(at_ms)
            happened += 1
        return happened
