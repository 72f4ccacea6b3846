"""When a row is to be judged next: the common time at which its verdict can change, without anybody touching it.

A row whose stores differ can become a drift only once the common time has passed its window, so it is not looked at
before. What a person or a pipeline has to do first is not awaited here at all: `NEVER` means until it is touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from app.core.contract import Replica
from app.core.finding import Stage
from app.core.keystate import KeyState
from app.core.limits import ECHO_GRACE_MS
from app.core.position import place_of
from app.core.verdict import EVER, OPEN, reason_of

NOW: Final = EVER
"""At every move of the common time."""
SOON: Final = EVER + 1
"""At the next move of the common time, once; its row may sleep until then."""
NEVER: Final = OPEN
"""Not before the row is touched, or something arrives that names it."""

_BUCKET_MS: Final = 256


def next_look_ms(state: KeyState, i: int, terms: Replica, common_ms: int) -> int:
    """Return the common time after which a judged replica's row wants to be judged again.

    What is not known to be at rest is looked at whenever the common time moves.
    """
    replica, truth, shown = state.replicas[i], state.sides[0].stays[-1], state.sides[i + 1].stays[-1]
    drift = replica.drift
    unknown = reason_of(truth.digest) is not None or reason_of(shown.digest) is not None
    rests = truth.latest_ms <= common_ms and shown.latest_ms <= common_ms
    same = truth.digest == shown.digest
    if drift is None:
        if same or unknown:
            return NEVER if rests else NOW
        return replica.vouched_until_ms + terms.window_ms
    if not drift.acknowledged or unknown or not rests:
        return NOW
    match drift.stage:
        case Stage.OVERTAKEN:
            return NOW if drift.refused_at else NEVER
        case Stage.CONFIRMED if not same:
            # A pipeline's progress is told by its own reports.
            return NEVER if terms.pipeline is not None else truth.latest_ms + terms.quiet_for_ms
        case Stage.RESOLVED if same:
            return drift.ended_at_ms + (ECHO_GRACE_MS if drift.command_id else 0)
        case _:
            return NOW


def awaited_place(state: KeyState, i: int, terms: Replica) -> bytes | None:
    """Return the place in the authority's log that a confirmed drift's pipeline must pass; None if it awaits none."""
    drift = state.replicas[i].drift
    if drift is None or drift.stage is not Stage.CONFIRMED or terms.pipeline is None:
        return None
    return place_of(state.sides[0].stays[-1].position)


@dataclass(slots=True)
class Deadlines:
    """The rows of one replica by the common time after which they are to be judged, each at most once."""

    _now: dict[bytes, None] = field(default_factory=dict)  # in the order of what happened
    _buckets: defaultdict[int, dict[bytes, int]] = field(default_factory=lambda: defaultdict(dict))

    def __len__(self) -> int:
        """Return how many rows are noted."""
        return len(self._now) + sum(map(len, self._buckets.values()))

    def put(self, row: bytes, look_ms: int) -> None:
        """Note a row that is not noted here."""
        if look_ms == NOW:
            self._now[row] = None
        elif look_ms != NEVER:
            self._buckets[look_ms // _BUCKET_MS][row] = look_ms

    def discard(self, row: bytes, look_ms: int) -> None:
        """Forget a row that was put with this time."""
        if look_ms == NOW:
            self._now.pop(row, None)
        elif look_ms != NEVER:
            bucket = self._buckets.get(look_ms // _BUCKET_MS)
            if bucket is not None:
                bucket.pop(row, None)

    def due(self, common_ms: int) -> list[bytes]:
        """Return the rows that want to be judged at a common time; they stay noted."""
        rows = list(self._now)
        for number in sorted(self._buckets):
            if number * _BUCKET_MS >= common_ms:
                break
            bucket = self._buckets[number]
            if not bucket:
                del self._buckets[number]
            rows += [row for row, look_ms in bucket.items() if look_ms < common_ms]
        return rows

    def earliest_ms(self, until_ms: int, but: Container[bytes]) -> int:
        """Return the earliest time that a row waits for, if that is before a time, which is returned else.

        Rows of `NOW` do not count, nor do those named by `but`.
        """
        for number in sorted(self._buckets):
            if number * _BUCKET_MS >= until_ms:
                break
            bucket = self._buckets[number]
            earliest_ms = min((look_ms for row, look_ms in bucket.items() if row not in but), default=NEVER)
            if earliest_ms != NEVER:
                return min(earliest_ms, until_ms)
        return until_ms

    @property
    def now(self) -> list[bytes]:
        """The rows that are looked at whenever the common time moves."""
        return list(self._now)
