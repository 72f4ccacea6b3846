"""The rule of the verdict, read from the design and written a second time, over whole histories.

The authority vouches for the replica's row up to the last moment at which it was itself in the state that the replica
shows. A row whose replica has had no voucher for longer than the window is drift, judged at its deadline with the
states that began by then. A drift is over at the first moment at which the row is vouched for within its window again.
Of a bracket the end counts that favours the replica.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine_judge.moments import NEVER
from engine_judge.rebuild import Stay
from engine_judge.rows import ABSENT

AUTHORITY_STATES_REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Drift:
    """A drift that must be told. `is_open`: it is not over at the last beacon."""

    number: int
    kind: str
    deadline_ms: int
    is_open: bool


def drifts_of(
    number: int, authority: Sequence[Stay], replica: Sequence[Stay], beats_ms: Sequence[int], window_ms: int
) -> Iterator[Drift]:
    """Give the drifts of one row in their order; `beats_ms` are the moments of the beacons that both logs have."""
    row = _Row(authority, replica)
    last_ms, vouched_ms = beats_ms[-1], beats_ms[0]
    # A row that nobody vouches for is vouched for again where a state begins, or never.
    begun_ms = sorted({stay.earliest_ms + 1 for stay in (*authority, *replica) if stay.earliest_ms < last_ms})
    while (deadline_ms := vouched_ms + window_ms) < last_ms:
        moved_ms = row.vouched_until(deadline_ms, last_ms, vouched_ms)
        if moved_ms > vouched_ms:
            vouched_ms = moved_ms
            continue
        is_open = True
        for moment_ms in begun_ms[bisect_right(begun_ms, deadline_ms) :]:
            vouched_ms = row.vouched_until(moment_ms, moment_ms, vouched_ms)
            if moment_ms <= vouched_ms + window_ms:
                is_open = False
                break
        yield Drift(number, row.kind_at(deadline_ms), deadline_ms, is_open)
        if is_open:
            return


class _Row:
    """One row's states in both stores, each with the latest moment at which it was left."""

    def __init__(self, authority: Sequence[Stay], replica: Sequence[Stay]) -> None:
        self.authority, self.authority_left_ms = authority, _left_ms(authority)
        self.replica, self.replica_left_ms = replica, _left_ms(replica)
        self.same: dict[bytes, list[int]] = {}
        for place, stay in enumerate(authority):
            self.same.setdefault(stay.digest, []).append(place)

    def vouched_until(self, deadline_ms: int, known_ms: int, so_far_ms: int) -> int:
        """Return the last moment at which the authority was in a state that the replica shows.

        Only states count that began by the deadline and before the moment up to which both logs are known.
        """

        def began(stay: Stay) -> bool:
            return stay.earliest_ms <= deadline_ms and stay.earliest_ms < known_ms

        vouched_ms = so_far_ms
        # A state that was left before is vouched for no longer than until then.
        for place in range(bisect_right(self.replica_left_ms, so_far_ms), len(self.replica)):
            shown = self.replica[place]
            if not began(shown):
                break
            until_ms = min(self.replica_left_ms[place], known_ms)
            # The latest stay in that state decides: the authority may have come back to it.
            for there in reversed(self.same.get(shown.digest, [])):
                if began(self.authority[there]) and self.authority[there].earliest_ms <= until_ms:
                    vouched_ms = max(vouched_ms, min(self.authority_left_ms[there], until_ms))
                    break
        return vouched_ms

    def kind_at(self, moment_ms: int) -> str:
        """Name what the replica shows at a moment."""
        shown = self.replica[_at(moment_ms, self.replica)].digest
        place = _at(moment_ms, self.authority)
        if shown == ABSENT:
            return "missing"
        if self.authority[place].digest == ABSENT:
            return "extra"
        past = self.authority[max(0, place - AUTHORITY_STATES_REMEMBERED) : place]
        return "stale" if shown in [stay.digest for stay in past] else "different"


def _left_ms(stays: Sequence[Stay]) -> list[int]:
    return [stay.latest_ms for stay in stays[1:]] + [NEVER]


def _at(moment_ms: int, stays: Sequence[Stay]) -> int:
    """Return the place of the newest state that began by a moment."""
    return max((place for place, stay in enumerate(stays) if stay.earliest_ms <= moment_ms), default=0)
