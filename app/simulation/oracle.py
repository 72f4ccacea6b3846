"""What is true, from exact times that the product never sees. Shares no code with the verdict that it judges.

The rule in one walk over what both stores did: while both show one state, the authority vouches; when they do not, it
has vouched up to the last moment at which it was in the state that the replica shows. A row is a drift from the moment
at which that is longer ago than the window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

State = int | None
"""A row's value; None is an absent row, a negative number a state that its log does not tell."""

SINCE_EVER_MS: Final = -(10**9)


def is_told(state: State) -> bool:
    """Whether a log tells a state."""
    return state is None or state >= 0


@dataclass(slots=True)
class History:
    """Every state of one row in one store, with the exact moment of each change."""

    times_ms: list[int] = field(default_factory=lambda: [SINCE_EVER_MS])
    states: list[State] = field(default_factory=lambda: [None])

    def change(self, at_ms: int, state: State) -> None:
        """Note a change."""
        if state != self.states[-1]:
            self.times_ms.append(at_ms)
            self.states.append(state)

    def forget_after(self, moment_ms: int) -> None:
        """Forget every change later than a moment."""
        n = bisect_right(self.times_ms, moment_ms)
        del self.times_ms[n:], self.states[n:]

    def at(self, moment_ms: int) -> State:
        """Return the state at a moment."""
        return self.states[bisect_right(self.times_ms, moment_ms) - 1]

    def change_before(self, moment_ms: int) -> tuple[int, State]:
        """Return when the state at a moment began, and which one was before it."""
        n = bisect_right(self.times_ms, moment_ms) - 1
        return self.times_ms[n], self.states[n - 1] if n else None

    def came_to(self, state: State, from_ms: int, to_ms: int) -> bool:
        """Whether the row came to a state in a stretch of time."""
        return any(
            began == state and from_ms <= at_ms <= to_ms
            for at_ms, began in zip(self.times_ms, self.states, strict=True)
        )

    def stood_still(self, from_ms: int, to_ms: int) -> bool:
        """Whether nothing changed in a stretch of time."""
        return bisect_right(self.times_ms, from_ms) == bisect_right(self.times_ms, to_ms)


def _merged(authority: History, replica: History) -> Iterator[tuple[int, State, State]]:
    """Yield each moment from which on both stores show these two states."""
    moments = sorted({*authority.times_ms, *replica.times_ms})
    a = r = 0
    for moment in moments:
        while a + 1 < len(authority.times_ms) and authority.times_ms[a + 1] <= moment:
            a += 1
        while r + 1 < len(replica.times_ms) and replica.times_ms[r + 1] <= moment:
            r += 1
        yield moment, authority.states[a], replica.states[r]


@dataclass(slots=True)
class _Vouching:
    """How far the authority has vouched, as time goes on."""

    until_ms: int
    left_ms: dict[State, int] = field(default_factory=dict)
    left_untold_ms: int = SINCE_EVER_MS

    def pass_time(self, to_ms: int, truth: State, shown: State) -> bool:
        """Let both stores stand in these states until a moment; whether it is vouched for all the while."""
        agreed = truth == shown or not is_told(truth) or not is_told(shown)
        if agreed:
            self.until_ms = max(self.until_ms, to_ms)
        else:
            self.until_ms = max(self.until_ms, self.left_ms.get(shown, SINCE_EVER_MS), self.left_untold_ms)
        return agreed

    def leave(self, at_ms: int, truth: State) -> None:
        """Note that the authority leaves a state."""
        if is_told(truth):
            self.left_ms[truth] = at_ms
        else:
            self.left_untold_ms = at_ms


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch in which both stores stand still, and up to when the replica's row is vouched for at its end.

    `agreed` says that it is vouched for all the while, up to each moment itself.
    """

    begin_ms: int
    end_ms: int
    vouched_ms: int
    agreed: bool


def stretches(authority: History, replica: History, end_ms: int, from_ms: int = SINCE_EVER_MS) -> list[Stretch]:
    """Return the whole of time in stretches, as a row was vouched for; `from_ms` is where vouching begins."""
    found: list[Stretch] = []
    vouching = _Vouching(from_ms)
    before: tuple[int, State, State] | None = None
    for moment, truth, shown in (*_merged(authority, replica), (end_ms, None, None)):
        if before is not None:
            begun_ms, was_true, was_shown = before
            until_ms = min(moment, end_ms)
            if until_ms > begun_ms:
                agreed = vouching.pass_time(until_ms, was_true, was_shown)
                found.append(Stretch(begun_ms, until_ms, vouching.until_ms, agreed))
            if truth != was_true:
                vouching.leave(moment, was_true)
        before = (moment, truth, shown)
        if moment >= end_ms:
            break
    return found


def vouched_at(row: list[Stretch], moment_ms: int) -> int:
    """Return the last moment up to which the authority vouched for what the replica had shown by a moment."""
    at = bisect_right(row, moment_ms, key=lambda stretch: stretch.begin_ms) - 1
    if at < 0:
        return SINCE_EVER_MS
    stretch = row[at]
    return moment_ms if stretch.agreed else min(moment_ms, stretch.vouched_ms)


def drifts(row: list[Stretch], window_ms: int, start_ms: int) -> list[tuple[int, int]]:
    """Return when a replica's row was not vouched for within the window: from its deadline to its end."""
    found: list[tuple[int, int]] = []
    for stretch in row:
        deadline_ms = max(stretch.vouched_ms, start_ms) + window_ms
        if stretch.agreed or deadline_ms >= stretch.end_ms:
            continue
        begins_ms = max(stretch.begin_ms, deadline_ms)
        if found and found[-1][1] >= begins_ms - 1:
            found[-1] = (found[-1][0], stretch.end_ms)
        else:
            found.append((begins_ms, stretch.end_ms))
    return found


def sure_drifts(
    authority: History, replica: History, doubt_ms: Callable[[int], int], window_ms: int, lasted_ms: tuple[int, int]
) -> list[tuple[int, int]]:
    """Return when a replica's row was not vouched for within a stretch, whenever in their doubts its changes happened.

    What happens between two beacons has no order that a log tells. So each store may have been in a state a doubt
    longer on either side, `doubt_ms` at that moment, and the row drifts where even that vouches for none.
    """
    start_ms, end_ms = lasted_ms
    truths, showns = _possible(authority, doubt_ms, end_ms), _possible(replica, doubt_ms, end_ms)
    bounds = {min(max(moment, start_ms), end_ms) for begin, end, _ in (*truths, *showns) for moment in (begin, end)}
    vouched_ms, found = start_ms, list[tuple[int, int]]()
    for begin_ms, over_ms in pairwise(sorted(bounds)):
        true = {state for begin, end, state in truths if begin <= begin_ms and over_ms <= end}
        shown = {state for begin, end, state in showns if begin <= begin_ms and over_ms <= end}
        if true & shown or not all(map(is_told, true | shown)):
            vouched_ms = over_ms
            continue
        left = [end for _, end, state in truths if end <= begin_ms and (state in shown or not is_told(state))]
        vouched_ms = max([vouched_ms, *left])
        drifts_ms = max(begin_ms, vouched_ms + window_ms)
        if drifts_ms < over_ms:
            goes_on = found and found[-1][1] == drifts_ms
            found.append((found.pop()[0] if goes_on else drifts_ms, over_ms))
    return found


def _possible(row: History, doubt_ms: Callable[[int], int], end_ms: int) -> list[tuple[int, int, State]]:
    """Return each state with when it may have begun at the earliest, and been left at the latest."""
    ends_ms = [at_ms + doubt_ms(at_ms) for at_ms in row.times_ms[1:]]
    begins_ms = [SINCE_EVER_MS, *(at_ms - doubt_ms(at_ms) for at_ms in row.times_ms[1:])]
    return list(zip(begins_ms, [*ends_ms, end_ms], row.states, strict=True))
