"""The verdict: does a replica's row agree with the authority's, judged by the order of both logs.

One idea carries the rule: the authority vouches for the replica's row up to the last moment at which the authority was
itself in the state that the replica shows. A moment is known only as a bracket between two beacons of its log, so each
comparison takes the end of the bracket that favours the replica. Nothing here reads a clock: `watermark_ms` is the
common time up to which both logs are known, and a state that begins later is not looked at, for what belongs before it
may still be on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from app.core.finding import DriftKind, UnknownReason, Verdict

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
    for i, shown in enumerate(replica):
        if shown.earliest_ms > deadline_ms or shown.earliest_ms >= watermark_ms:
            break
        left_ms = min(replica[i + 1].latest_ms, watermark_ms) if i + 1 < len(replica) else watermark_ms
        until_ms = OPEN
        # The latest stay decides: an authority that came back to a state vouches for it again, from then on.
        for stay in reversed(authority):
            same = stay.digest == shown.digest or len(stay.digest) == 1 or len(shown.digest) == 1
            began = stay.earliest_ms <= left_ms and stay.earliest_ms <= deadline_ms and stay.earliest_ms < watermark_ms
            if same and began:
                so_far_ms = max(so_far_ms, min(until_ms, left_ms))
                break
            until_ms = stay.latest_ms
    return so_far_ms


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


def state_at(stays: Sequence[Stay], moment_ms: int) -> Stay:
    """Return the newest state that began by a moment (the earliest end of its bracket); the first if none did."""
    for stay in reversed(stays):
        if stay.earliest_ms <= moment_ms:
            return stay
    return stays[0]


def kind_of(shown: bytes, truth: bytes, past: Iterable[bytes]) -> DriftKind:
    """Name a drift by what the replica shows; `past` are the authority's last states before `truth`."""
    if shown == ABSENT:
        return DriftKind.MISSING
    if truth == ABSENT:
        return DriftKind.EXTRA
    if shown in past:
        return DriftKind.STALE
    return DriftKind.DIFFERENT
