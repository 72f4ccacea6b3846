"""The verdict: does a replica's row agree with the authority's, judged by the order of both logs.

One idea carries the rule: the authority vouches for the replica's row up to the last moment at which the authority was
itself in the state that the replica shows. A moment is known only as a bracket between two beacons of its log, so each
comparison takes the end of the bracket that favours the replica. Nothing here reads a clock: `watermark_ms` is the
common time up to which both logs are known, and a state that begins later is not looked at, for what belongs before it
may still be on its way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from app.core.finding import DriftKind, UnknownReason, Verdict
from app.core.position import BEFORE_ALL

EVER: Final = -(2**62)
"""The moment of a state that has held since unknown times."""
OPEN: Final = 2**62
"""The end of a bracket that is not known yet: later than every watermark."""
ABSENT: Final = b""
"""The state of a row that is not there."""


class Stay(NamedTuple):
    """One state of one row in one store, from the change that made it to the next.

    `digest` is the row's digest, `ABSENT`, or one byte that names why the state is not known. The change happened
    after `earliest_ms` and before `latest_ms` on the beacons' clock. `partition` and `offset` are Kafka's, or -1.
    """

    digest: bytes
    position: bytes
    earliest_ms: int = EVER
    latest_ms: int = EVER
    partition: int = -1
    offset: int = -1
    transaction: int = 0


stay_of: Final[Callable[[tuple[bytes, bytes, int, int, int, int, int]], Stay]] = partial(tuple.__new__, Stay)
"""Return the stay that has these fields, in their order, in a third of the time that naming its type takes."""


def unknown_state(reason: UnknownReason) -> bytes:
    """Return the state of a row that is there but not known, as one byte in place of a digest."""
    return bytes([list(UnknownReason).index(reason) + 1])


def reason_of(digest: bytes) -> UnknownReason | None:
    """Return why a state is not known, or None for a known one."""
    return list(UnknownReason)[digest[0] - 1] if len(digest) == 1 else None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on one row of one replica; `judged_at_ms` is its deadline, for a drift the moment that decided."""

    verdict: Verdict
    vouched_until_ms: int
    judged_at_ms: int
    reason: UnknownReason | None = None


def vouched_until(
    replica: Sequence[Stay], authority: Sequence[Stay], deadline_ms: int, watermark_ms: int, so_far_ms: int
) -> int:
    """Return the last moment at which the authority was in a state that the replica shows.

    Only states that began by `deadline_ms` count, and none that begins at the watermark or later: until the next beacon
    is known, the beginning of such a state is known only as "not before". A state that nobody can know (a value that
    the log left out) is vouched for: what it may hide is `unknown`, not drift.

    >>> at = bytes(20)
    >>> a = [Stay(b"old-digest", at), Stay(b"new-digest", at, 10_000, 10_000)]
    >>> vouched_until([Stay(b"old-digest", at)], a, 20_000, 14_000, 0)
    10000
    >>> vouched_until([Stay(b"odd-digest", at, 12_000, 12_000)], a, 20_000, 14_000, 12_000)
    12000
    """
    last_stay = _last_stay(authority)
    for i, shown in enumerate(replica):
        if shown.earliest_ms > deadline_ms or shown.earliest_ms >= watermark_ms:
            break
        left_ms = min(replica[i + 1].latest_ms, watermark_ms) if i + 1 < len(replica) else watermark_ms
        # The latest stay decides: an authority that came back to a state vouches for it again, from then on.
        k = last_stay(shown.digest, min(left_ms, deadline_ms, watermark_ms - 1))
        if k is not None:
            until_ms = authority[k + 1].latest_ms if authority[k] is not authority[-1] else OPEN
            so_far_ms = max(so_far_ms, min(until_ms, left_ms))
    return so_far_ms


def agreed_again_at(
    replica: Sequence[Stay], authority: Sequence[Stay], window_ms: int, watermark_ms: int, so_far_ms: int
) -> int | None:
    """Return the moment at which a row that had drifted was vouched for within its window again; None if it is not yet.

    It is the first moment behind the beginnings of two states by which it agrees. Whoever judges at every beacon sees
    it at the next one, and whoever comes later, with the watermark far behind it, must see the same, or what drifted
    since would go unsaid. `so_far_ms` is up to when the row was vouched for when it was judged last; that window ended
    before the watermark.

    >>> at = bytes(20)
    >>> a = [Stay(b"old-digest", at), Stay(b"new-digest", at, 10_000, 10_500)]
    >>> late = [a[0], Stay(b"new-digest", at, 17_000, 17_500), Stay(b"odd-digest", at, 20_000, 20_500)]
    >>> agreed_again_at(late, a, 2_000, 30_000, 10_500), agreed_again_at(late[:1], a, 2_000, 30_000, 10_500)
    (17001, None)
    """
    stays_in, unknown = _stays_in(authority)
    began_ms = [stay.earliest_ms for stay in authority]
    left_ms, gone_ms = ([*(stay.latest_ms for stay in stays[1:]), OPEN] for stays in (authority, replica))
    in_order = _are_in_order(began_ms)
    found_ms = watermark_ms + 1
    for shown, until_ms in list(zip(replica, gone_ms, strict=True))[bisect_right(gone_ms, so_far_ms) :]:
        if shown.earliest_ms >= found_ms:
            continue
        ks = _matching(shown.digest, stays_in, unknown, len(authority))
        # What was left earlier vouches for nothing new, or for nothing within a window of the replica's state.
        first = bisect_left(left_ms, max(so_far_ms, shown.earliest_ms - window_ms) + 1)
        end = bisect_right(began_ms, until_ms) if in_order else len(authority)
        for k in ks[bisect_left(ks, first) : bisect_left(ks, end)]:
            both_ms = max(shown.earliest_ms, began_ms[k])
            # What began by the deadline came late, as a snapshot's and a truncate's may: then the row agrees as of now.
            # So it does by what was too much to keep, of which nobody knows when it began.
            is_now = both_ms <= so_far_ms + window_ms or _is_cut(shown) or _is_cut(authority[k])
            at_ms = watermark_ms if is_now else both_ms + 1
            if at_ms <= min(until_ms, left_ms[k]) + window_ms and began_ms[k] <= until_ms:
                found_ms = min(found_ms, at_ms)
    return found_ms if found_ms <= watermark_ms else None


def _is_cut(stay: Stay) -> bool:
    """Whether a state stands for what a row has shown so long that it was forgotten, and is not known."""
    return stay.latest_ms == EVER and not _is_known(stay.digest)


def _are_in_order(began_ms: list[int]) -> bool:
    """Whether states began one after the other: all but a snapshot's, whose have held since unknown times."""
    return began_ms == sorted(began_ms)


def _stays_in(authority: Sequence[Stay]) -> tuple[dict[bytes, list[int]], list[int]]:
    """Return which of an authority's stays are in each state, and which of them are in one that nobody knows."""
    stays_in: dict[bytes, list[int]] = {}
    for k, stay in enumerate(authority):
        stays_in.setdefault(stay.digest, []).append(k)
    return stays_in, [k for digest, ks in stays_in.items() if not _is_known(digest) for k in ks]


def _matching(shown: bytes, stays_in: dict[bytes, list[int]], unknown: list[int], count: int) -> Sequence[int]:
    """Return which of an authority's stays may be in a state, in their order; one that nobody knows may be any."""
    ks: Sequence[int] = stays_in.get(shown, ()) if _is_known(shown) else range(count)
    return sorted({*ks, *unknown}) if unknown else ks


def _last_stay(authority: Sequence[Stay]) -> Callable[[bytes, int], int | None]:
    """Return what finds the latest stay of the authority that may be in a state and began by a moment.

    A busy row has thousands of stays in few or in many states, so they are looked up and not walked through. A state
    that nobody knows may be any.
    """
    stays_in, unknown = _stays_in(authority)
    began_ms = [stay.earliest_ms for stay in authority]
    in_order = _are_in_order(began_ms)

    def find(shown: bytes, by_ms: int) -> int | None:
        ks = _matching(shown, stays_in, unknown, len(authority))
        if in_order:
            n = bisect_left(ks, bisect_right(began_ms, by_ms))
            return ks[n - 1] if n else None
        return next((k for k in reversed(ks) if began_ms[k] <= by_ms), None)

    return find


def _is_known(digest: bytes) -> bool:
    return len(digest) != 1


def judge(
    replica: Sequence[Stay], authority: Sequence[Stay], watermark_ms: int, window_ms: int, so_far_ms: int
) -> Judgement:
    """Judge one row of one replica at its deadline, `vouched_until + window`, or say that it is still to come.

    The verdict does not depend on the steps in which the watermark moves: a drift is judged with the states that
    began by its deadline, however far the watermark is by then. `so_far_ms` is where coverage or the last verdict
    left off.
    """
    vouched_ms = so_far_ms
    while True:
        moved_ms = vouched_until(replica, authority, vouched_ms + window_ms, watermark_ms, vouched_ms)
        if moved_ms == vouched_ms:
            break
        vouched_ms = moved_ms
    deadline_ms = vouched_ms + window_ms
    if watermark_ms > deadline_ms:
        return Judgement(Verdict.DRIFT, vouched_ms, deadline_ms)
    shown, truth = replica[-1], authority[-1]
    if shown.latest_ms <= watermark_ms and truth.latest_ms <= watermark_ms:
        reason = reason_of(shown.digest) or reason_of(truth.digest)
        if reason is not None:
            return Judgement(Verdict.UNKNOWN, vouched_ms, watermark_ms, reason)
        if shown.digest == truth.digest:
            return Judgement(Verdict.AGREE, vouched_ms, watermark_ms)
    return Judgement(Verdict.WAIT, vouched_ms, watermark_ms)


def surely_followed(replica: Sequence[Stay], authority: Sequence[Stay], window_ms: int, so_far_ms: int) -> bool:
    """Whether a row whose newest states are one has agreed, however far the watermark went before it was judged.

    Up to the first change both showed one state, so the authority vouches up to then at least. If every later state
    began within the window after that, all of them count at the deadline, and the newest are the same. Both logs must
    be known beyond the newest states: what has not arrived is not followed.

    >>> at = bytes(20)
    >>> a = [Stay(b"old-digest", at), Stay(b"new-digest", at, 10_000, 10_500)]
    >>> [surely_followed([a[0], Stay(b"new-digest", at, ms, ms + 500)], a, 2_000, 0) for ms in (12_000, 12_001)]
    [True, False]
    """
    return followed_by(replica, authority, shared_until(replica, authority, so_far_ms) + window_ms)


def followed_by(replica: Sequence[Stay], authority: Sequence[Stay], deadline_ms: int) -> bool:
    """Do what `surely_followed` does, where the deadline is known by which every later state must have begun."""
    newest, before = replica[-1], authority[-1]
    if newest.digest != before.digest or replica[0].digest != authority[0].digest or len(newest.digest) == 1:
        return False
    return newest.earliest_ms <= deadline_ms and before.earliest_ms <= deadline_ms


def shared_until(replica: Sequence[Stay], authority: Sequence[Stay], so_far_ms: int) -> int:
    """Return up to when at least the authority vouches for a row, whatever either store shows later.

    Where the oldest states that are kept are one, that is the first change of either store.

    >>> at = bytes(20)
    >>> old, new = Stay(b"old-digest", at), Stay(b"new-digest", at, 10_000, 10_500)
    >>> shared_until([old], [old, new], 4_000), shared_until([new], [old, new], 4_000)
    (10000, 4000)
    """
    if replica[0].digest != authority[0].digest:
        return so_far_ms
    first_ms = EVER
    if len(replica) > 1:
        first_ms = replica[1].earliest_ms
    if len(authority) > 1:
        first_ms = min(first_ms, authority[1].earliest_ms) if len(replica) > 1 else authority[1].earliest_ms
    return max(first_ms, so_far_ms)


def state_at(stays: Sequence[Stay], moment_ms: int) -> Stay:
    """Return the newest state that began by a moment (the earliest end of its bracket); the first if none did."""
    for stay in reversed(stays):
        if stay.earliest_ms <= moment_ms:
            return stay
    return stays[0]


def naming_position(state: Stay) -> bytes:
    """Return the position by which a drift names the state that its replica showed at the deadline.

    None for absence: where a row was deleted is forgotten once it is gone everywhere, sooner or later.
    """
    return state.position if state.digest else BEFORE_ALL


def kind_of(shown: bytes, truth: bytes, past: Iterable[bytes]) -> DriftKind:
    """Name a drift by what the replica shows; `past` are the authority's last states before `truth`."""
    if shown == ABSENT:
        return DriftKind.MISSING
    if truth == ABSENT:
        return DriftKind.EXTRA
    if shown in past:
        return DriftKind.STALE
    return DriftKind.DIFFERENT
