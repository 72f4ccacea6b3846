"""The verdict: does a replica's row agree with the authority's, judged by the order of both logs.

One idea carries the rule: the authority vouches for the replica's row up to the last moment at which the authority was
itself in the state that the replica shows. A moment is known only as a bracket between two beacons of its log, so each
comparison takes the end of the bracket that favours the replica. Nothing here reads a clock: `watermark_ms` is the
common time up to which both logs are known, and a state that begins later is not looked at, for what belongs before it
may still be on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
    latest_first = _latest_first(authority)
    for i, shown in enumerate(replica):
        if shown.earliest_ms > deadline_ms or shown.earliest_ms >= watermark_ms:
            break
        left_ms = min(replica[i + 1].latest_ms, watermark_ms) if i + 1 < len(replica) else watermark_ms
        # The latest stay decides: an authority that came back to a state vouches for it again, from then on.
        for k in latest_first(shown.digest):
            stay = authority[k]
            if stay.earliest_ms <= left_ms and stay.earliest_ms <= deadline_ms and stay.earliest_ms < watermark_ms:
                until_ms = authority[k + 1].latest_ms if stay is not authority[-1] else OPEN
                so_far_ms = max(so_far_ms, min(until_ms, left_ms))
                break
    return so_far_ms


def _latest_first(authority: Sequence[Stay]) -> Callable[[bytes], Iterable[int]]:
    """Return what names the stays of the authority that may be in a state, the latest first.

    A busy row has thousands of states: where each is known and was there once, it is looked up.
    """
    newest = {stay.digest: k for k, stay in enumerate(authority)}
    if len(newest) == len(authority) and all(map(_is_known, newest)):
        every = range(len(authority) - 1, -1, -1)
        return lambda shown: [newest[shown]] if shown in newest else [] if _is_known(shown) else every
    return lambda shown: [
        k
        for k in range(len(authority) - 1, -1, -1)
        if authority[k].digest == shown or not (_is_known(authority[k].digest) and _is_known(shown))
    ]


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
    newest, before = replica[-1], authority[-1]
    if newest.digest != before.digest or replica[0].digest != authority[0].digest or len(newest.digest) == 1:
        return False
    first_ms = EVER
    if len(replica) > 1:
        first_ms = replica[1].earliest_ms
    if len(authority) > 1:
        first_ms = min(first_ms, authority[1].earliest_ms) if len(replica) > 1 else authority[1].earliest_ms
    return max(newest.earliest_ms, before.earliest_ms) <= max(first_ms, so_far_ms) + window_ms


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
