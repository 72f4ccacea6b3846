"""A row on its way from one state that both of its stores show to the next: what nearly every row under a load is.

Such a row is the bytes in which the table has it, and at most one change of each store behind them. It is held so, and
not as a `KeyState` with all that one can hold, from its first change until both stores show one state again and that is
concluded. Whatever does not fit (a second change of one store, another state in the copy, a deadline that has come)
makes a `KeyState` of it (`opened`), which says the same and is judged like any other: a passage decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.core.keystate import KeyState, ReplicaState, Side
from app.core.limits import PAST_STATES
from app.core.observation import RAW_KEY_BYTES
from app.core.position import POSITION_BYTES
from app.core.state_forms import (
    AT_REST,
    DIGEST_BYTES,
    FORMAT,
    FULL,
    HEAD,
    NO_KEY,
    PAIR,
    REST,
    STAY,
    waiting_form_of,
)
from app.core.timeline import Timeline
from app.core.verdict import EVER, OPEN, Stay, stay_of

_PAST_BYTES: Final = PAST_STATES * DIGEST_BYTES
_FORM: Final = REST[PAIR - 1]
_HEAD: Final = bytes([FORMAT, AT_REST, PAIR, 0, 0])
_KAFKA: Final = struct.Struct(">hqQ")
_MOMENT: Final = struct.Struct(">q")


def _of_both(offset: int, size: int) -> tuple[slice, slice]:
    """Return where a part of each store's side is in a row at rest."""
    side_bytes = DIGEST_BYTES + POSITION_BYTES + RAW_KEY_BYTES + _KAFKA.size
    begin = len(_HEAD) + offset
    return slice(begin, begin + size), slice(begin + side_bytes, begin + side_bytes + size)


_DIGEST_OF: Final = _of_both(0, DIGEST_BYTES)
_PLACE_OF: Final = _of_both(DIGEST_BYTES, POSITION_BYTES)
_RAW_KEY_OF: Final = _of_both(DIGEST_BYTES + POSITION_BYTES, RAW_KEY_BYTES)
_KAFKA_OF: Final = _of_both(DIGEST_BYTES + POSITION_BYTES + RAW_KEY_BYTES, _KAFKA.size)
_VOUCHED: Final = slice(_FORM.size - _MOMENT.size, _FORM.size)

# What stands between these in a row that waits: see `state_forms`.
_LENGTH: Final = bytes([DIGEST_BYTES])
_KEY_LENGTHS: Final = bytes([RAW_KEY_BYTES, 0])
_SINCE_EVER: Final = _MOMENT.pack(EVER) * 2
_ONE_STAY, _TWO_STAYS = b"\x00\x01", b"\x00\x02"


@dataclass(slots=True)
class Passage:
    """A row of an authority and its one replica that differ by no more than one change of each.

    `rest` is the row at rest, as it is written; `truth` and `shown` are what the authority and the replica went on to,
    None until that is read. `vouched_ms` and `look_ms` are those of `ReplicaState`.
    """

    rest: bytes
    vouched_ms: int
    truth: Stay | None = None
    shown: Stay | None = None
    look_ms: int = OPEN

    def takes(self, number: int, at: bytes, raw_key: bytes, digest: bytes) -> bool:
        """Whether a change of a store that leaves a present row with this digest is all that the row is held for here.

        It is the first one of this store since the row was at rest, stands behind it in the same epoch of its log, is
        of the same raw key, and brings a state that is new to its store, and no other than the one that the other store
        has gone on to.
        """
        rest = self.rest
        before = rest[_PLACE_OF[number]]
        if at <= before or at[:2] != before[:2]:
            return False
        if raw_key != rest[_RAW_KEY_OF[number]] or digest == rest[_DIGEST_OF[number]]:
            return False
        mine, other = (self.shown, self.truth) if number else (self.truth, self.shown)
        return mine is None and (other is None or other.digest == digest)

    def take(self, number: int, stay: Stay) -> None:
        """Put in the change of a store."""
        if number:
            self.shown = stay
        else:
            self.truth = stay

    @property
    def positions(self) -> tuple[bytes, bytes]:
        """Where both stores' states at rest stand in their logs."""
        return self.rest[_PLACE_OF[0]], self.rest[_PLACE_OF[1]]

    def newest(self, number: int) -> Stay:
        """Return the newest state of a store that has gone on."""
        stay = self.shown if number else self.truth
        if stay is None:
            raise ValueError(f"store {number} has not gone on")
        return stay

    def place(self, timelines: Sequence[Timeline]) -> bool:
        """Give both changes the brackets that are known by now; True if one changed. See `judging.place_in_time`."""
        truth, shown = self.truth, self.shown
        if truth is not None and truth.latest_ms == OPEN:
            self.truth = _placed(truth, timelines[0])
        if shown is not None and shown.latest_ms == OPEN:
            self.shown = _placed(shown, timelines[1])
        return truth is not self.truth or shown is not self.shown

    def shared_until_ms(self) -> int:
        """Return up to when at least the authority vouches for the row: see `verdict.shared_until`."""
        truth, shown, vouched_ms = self.truth, self.shown, self.vouched_ms
        first = shown if truth is None or (shown is not None and shown.earliest_ms < truth.earliest_ms) else truth
        return vouched_ms if first is None or first.earliest_ms < vouched_ms else first.earliest_ms

    def look_after_ms(self, window_ms: int) -> int:
        """Return when the row is to be judged; `OPEN` where the replica has followed: see `verdict.followed_by`."""
        deadline_ms = self.shared_until_ms() + window_ms
        truth, shown = self.truth, self.shown
        if truth is None or shown is None or truth.earliest_ms > deadline_ms or shown.earliest_ms > deadline_ms:
            return deadline_ms
        return OPEN

    def ended(self, window_ms: int, known_ms: int) -> bytes | None:
        """Return the row as it rests once both logs are known up to a common time; None if it is to be judged.

        That is what `judging.collapse` leaves of a row whose replica has surely followed. Where the replica was in the
        state before the authority came to it, what the authority went through is still to come to the replica.
        """
        truth, shown = self.truth, self.shown
        if (
            truth is None
            or shown is None
            or shown.latest_ms < truth.earliest_ms
            or self.look_after_ms(window_ms) != OPEN
        ):
            return None
        rest, vouched_ms = self.rest, max(self.vouched_ms, known_ms)
        past = rest[_FORM.size :] + rest[_DIGEST_OF[0]]
        return _at_rest(truth, rest[_RAW_KEY_OF[0]], shown, rest[_RAW_KEY_OF[1]], vouched_ms, past)

    def packed(self) -> bytes:
        """Return the bytes that `state_forms.encode` makes of the row once it is `opened`."""
        rest = self.rest
        past = rest[_FORM.size :]
        count = len(past) // DIGEST_BYTES
        parts = [HEAD.pack(FORMAT, FULL, PAIR, count)]
        for begin in range(0, len(past), DIGEST_BYTES):
            parts += (_LENGTH, past[begin : begin + DIGEST_BYTES])
        for number, stay in ((0, self.truth), (1, self.shown)):
            before, raw_key = rest[_PLACE_OF[number]], rest[_RAW_KEY_OF[number]]
            head = (_ONE_STAY, before) if stay is None else (_TWO_STAYS, stay.position)
            parts += (*head, _KEY_LENGTHS, raw_key)
            parts += (_LENGTH, before, _SINCE_EVER, rest[_KAFKA_OF[number]], rest[_DIGEST_OF[number]])
            if stay is not None:
                digest, at, earliest_ms, latest_ms, partition, offset, transaction = stay
                parts += (STAY.pack(DIGEST_BYTES, at, earliest_ms, latest_ms, partition, offset, transaction), digest)
        parts += (_MOMENT.pack(self.vouched_ms), b"\x00")
        return b"".join(parts)

    def opened(self) -> KeyState:
        """Return the row as all others are held."""
        sides, rest = [], self.rest
        for number, stay in ((0, self.truth), (1, self.shown)):
            kafka = _KAFKA.unpack(rest[_KAFKA_OF[number]])
            before = stay_of((rest[_DIGEST_OF[number]], rest[_PLACE_OF[number]], EVER, EVER, *kafka))
            stays = [before] if stay is None else [before, stay]
            sides.append(Side(stays, stays[-1].position, rest[_RAW_KEY_OF[number]]))
        past = [rest[n : n + DIGEST_BYTES] for n in range(_FORM.size, len(rest), DIGEST_BYTES)]
        return KeyState(sides, [ReplicaState(self.vouched_ms, None, self.look_ms)], past)


def begin_passage(value: bytes, known_ms: int) -> Passage | None:
    """Return a row that is not live as no change has touched it yet; None for one that is not usual.

    `known_ms` is the common time: up to it the row agreed, since it was not live. See `rows.settle`.
    """
    rest = value if value.startswith(_HEAD) else _collapsed(value)
    if rest is None or rest[_DIGEST_OF[0]] != rest[_DIGEST_OF[1]]:
        return None
    if rest[_RAW_KEY_OF[0]] == NO_KEY or rest[_RAW_KEY_OF[1]] == NO_KEY:
        return None
    (vouched_ms,) = _MOMENT.unpack(rest[_VOUCHED])
    return Passage(rest, max(vouched_ms, known_ms))


def _collapsed(value: bytes) -> bytes | None:
    """Return a row that was written while it waited as it rests now; None for one that does not agree, or is not usual.

    Most are written so: the conclusion that they agree again is not worth a write of its own.
    """
    form = waiting_form_of(value)
    if form is None:
        return None
    found = form.values.unpack(value)
    (truth_at, truth_stays), (shown_at, shown_stays) = form.sides
    truth, shown = stay_of(truth_stays[-1](found)), stay_of(shown_stays[-1](found))
    if truth.digest != shown.digest or shown.latest_ms < truth.earliest_ms:
        return None
    if truth.position != found[truth_at] or shown.position != found[shown_at]:
        return None
    past = b"".join(found[:truth_at]) + b"".join(stay(found)[0] for stay in truth_stays[:-1])
    return _at_rest(truth, found[truth_at + 1], shown, found[shown_at + 1], found[-1], past)


def _at_rest(truth: Stay, raw_key: bytes, shown: Stay, shown_raw_key: bytes, vouched_ms: int, past: bytes) -> bytes:
    sides = _rested(truth, raw_key), _rested(shown, shown_raw_key)
    return b"".join((_HEAD, *sides, _MOMENT.pack(vouched_ms), past[-_PAST_BYTES:]))


def _rested(stay: Stay, raw_key: bytes) -> bytes:
    digest, at, _, _, partition, offset, transaction = stay
    return digest + at + raw_key + _KAFKA.pack(partition, offset, transaction)


def _placed(stay: Stay, timeline: Timeline) -> Stay:
    earliest_ms, latest_ms = timeline.bracket(stay.position)
    if earliest_ms == stay.earliest_ms and latest_ms == OPEN:
        return stay
    return stay_of((stay.digest, stay.position, earliest_ms, latest_ms, *stay[4:]))
