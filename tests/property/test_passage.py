"""Property: a row that is on its way is what it would be if it were held as any other row is."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import fold
from app.core.finding import Finding
from app.core.fold import Effects, Shard
from app.core.judging import collapse
from app.core.keystate import KeyState, ReplicaState, Side
from app.core.observation import RAW_KEY_BYTES
from app.core.passage import Passage, begin_passage
from app.core.position import POSITION_BYTES
from app.core.rows import agrees
from app.core.state_forms import decode, encode
from app.core.verdict import EVER, OPEN, Stay, shared_until, surely_followed
from app.simulation.run import run_seed
from tests.unit.core.story import Story, digest

WINDOW_MS = 2_000
DIGESTS = st.sampled_from([bytes([n]) * 16 for n in range(4)])
MOMENTS = st.sampled_from([1_000, 1_500, 3_000, 3_400, 6_000])
KAFKA = (st.integers(-1, 2**15 - 1), st.integers(-1, 2**62), st.integers(0, 2**64 - 1))
PAST = st.lists(st.binary(min_size=16, max_size=16), max_size=4)
RAW_KEYS = st.sampled_from([b"k" * RAW_KEY_BYTES, b"j" * RAW_KEY_BYTES])


def at(number: int) -> bytes:
    """Return a position in a log."""
    return bytes(2) + b"\x01" + number.to_bytes(POSITION_BYTES - 3, "big")


@st.composite
def stays(draw: st.DrawFn, digest: bytes, place: int) -> Stay:
    """Draw a state that a change brought, whose beacons may not be known yet."""
    earliest_ms = draw(MOMENTS)
    latest_ms = draw(st.sampled_from([earliest_ms, earliest_ms + 500, OPEN]))
    return Stay(digest, at(place), earliest_ms, latest_ms, *(draw(value) for value in KAFKA))


@st.composite
def rows(draw: st.DrawFn) -> KeyState:
    """Draw a row that two stores showed alike, and that has changed since in one of them, in both or in none."""
    digest, sides = draw(DIGESTS), []
    for _ in range(2):
        side = Side([Stay(digest, at(1), EVER, EVER, *(draw(value) for value in KAFKA))], at(1), draw(RAW_KEYS))
        for place in range(2, 2 + draw(st.integers(0, 1))):
            side.stays.append(draw(stays(draw(DIGESTS), place)))
            side.position = side.stays[-1].position
        sides.append(side)
    return KeyState(sides, [ReplicaState(draw(MOMENTS))], draw(PAST))


def passage_of(state: KeyState) -> Passage | None:
    """Return a row as it is held on its way, told of its changes one by one; None where one is more than that."""
    rest = KeyState([Side(s.stays[:1], at(1), s.raw_keys) for s in state.sides], state.replicas, state.past)
    passage = begin_passage(encode(rest), EVER)
    assert passage is not None
    for number, side in enumerate(state.sides):
        for stay in side.stays[1:]:
            if not passage.takes(number, stay.position, side.raw_keys, stay.digest):
                return None
            passage.take(number, stay)
    return passage


@given(rows())
def test_a_row_on_its_way_opens_to_what_it_is(state: KeyState) -> None:
    """Nothing of it is lost, and it is written as any other row."""
    passage = passage_of(state)
    if passage is None:
        return
    assert passage.opened() == state
    if passage.truth is not None or passage.shown is not None:
        assert passage.packed() == encode(state)
    truth, shown = state.sides[0].stays, state.sides[1].stays
    assert passage.shared_until_ms() == shared_until(shown, truth, state.replicas[0].vouched_until_ms)


@given(rows(), MOMENTS)
def test_a_row_that_has_followed_ends_as_it_collapses(state: KeyState, known_ms: int) -> None:
    """It is at rest as a concluded row is, or it is none that can be concluded so."""
    passage = passage_of(state)
    if passage is None or passage.truth is None or passage.shown is None:
        return
    truth, shown = state.sides[0].stays, state.sides[1].stays
    followed = surely_followed(shown, truth, WINDOW_MS, state.replicas[0].vouched_until_ms)
    assert (passage.look_after_ms(WINDOW_MS) == OPEN) is followed
    ended = passage.ended(WINDOW_MS, known_ms)
    collapse(state, [0])
    state.replicas[0].vouched_until_ms = max(state.replicas[0].vouched_until_ms, known_ms)
    rests = followed and state.sides[0].stays[0].latest_ms == EVER
    assert ended == (encode(state) if rests else None)


@given(rows(), MOMENTS)
def test_a_row_that_is_not_live_begins_from_what_was_written(state: KeyState, known_ms: int) -> None:
    """However it was written, it begins where it collapses to, vouched for up to the common time; or not at all."""
    value = encode(state)
    passage = begin_passage(value, known_ms)
    state = decode(value)
    if not agrees(state, [0]):
        assert passage is None
        return
    collapse(state, [0])
    if state.sides[0].stays[0].latest_ms != EVER:
        assert passage is None
        return
    state.replicas[0].vouched_until_ms = max(state.replicas[0].vouched_until_ms, known_ms)
    assert passage is not None
    assert passage.opened() == state


class Seen:
    """All that a worker's shards wrote and told, as one hash, and how many of it there was."""

    def __init__(self) -> None:
        self._taste = hashlib.sha256()
        self.writes = self.findings = 0

    def wrote(self, writes: list[tuple[bytes, bytes | None]]) -> None:
        """Take in what a commit writes."""
        self.writes += len(writes)
        for key, value in writes:
            self._taste.update(key + b"=" + (b"-" if value is None else value))

    def told(self, findings: list[Finding]) -> None:
        """Take in what is told."""
        self.findings += len(findings)
        self._taste.update(repr(findings).encode())

    def as_it_stands(self, shard: Shard) -> None:
        """Take in what is said of the rows together."""
        for number, live in shard.live.items():
            for i in range(len(live.contract.replicas)):
                said = (
                    live.waiting_keys(i),
                    shard.verified_through_ms(number, i),
                    sorted(live.unknown_keys(i).items(), key=repr),
                )
                self._taste.update(repr(said).encode())

    @property
    def taste(self) -> tuple[int, int, str]:
        """The counts and the hash."""
        return self.writes, self.findings, self._taste.hexdigest()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """Return where all is noted that shards write and tell: in the last of the list."""
    noted: list[Seen] = []
    flush, fold_one = Shard.flush, Shard.fold

    def flushed(shard: Shard) -> list[tuple[bytes, bytes | None]]:
        writes = flush(shard)
        noted[-1].wrote(writes)
        return writes

    def folded(shard: Shard, *given: object) -> Effects:
        effects = fold_one(shard, *given)  # type: ignore[arg-type]  # as it was called
        noted[-1].told(effects.findings)
        noted[-1].as_it_stands(shard)
        return effects

    monkeypatch.setattr(Shard, "flush", flushed)
    monkeypatch.setattr(Shard, "fold", folded)
    return noted


# Of these worlds every one has rows of one replica that are held so, some few and some most of all.
@pytest.mark.parametrize("seed", [2, 7, 11, 13, 14])
def test_a_worker_writes_and_tells_the_same_without(
    seed: int, seen: list[Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole worlds with all their faults: byte by byte the same where no row is ever held so."""
    begun = 0

    def counted(value: bytes, known_ms: int) -> Passage | None:
        nonlocal begun
        passage = begin_passage(value, known_ms)
        begun += passage is not None
        return passage

    monkeypatch.setattr(fold, "begin_passage", counted)
    seen.append(Seen())
    run_seed(seed, 600)
    monkeypatch.setattr(fold, "begin_passage", lambda *_: None)
    seen.append(Seen())
    run_seed(seed, 600)
    assert begun
    assert seen[0].findings
    assert seen[0].taste == seen[1].taste


def test_a_row_on_its_way_outlives_a_copy_that_is_judged_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy agrees, no beacon says when, and its connector begins anew; then the authority's log goes on."""

    def told() -> Story:
        story = Story(partitions=2)
        for store in "AR":
            story.row(store, "old", snapshot=True, raw="k")
        story.until(500, 3_000)
        for store in "AR":
            story.row(store, "new", raw="k")
        lags = story.block("A", "other", story.place("A"), key="j", raw="j", partition=1)
        for at_ms in (3_500, 4_000):
            story.observe(story.barrier("A", at_ms))
        story.places["R"] += 1_000
        story.row("R", "new", key="other", raw="o", snapshot=True, place=story.place("R"))
        story.observe(lags)
        story.until(4_500, 8_000)
        return story

    begun = told()
    assert begun.state().sides[1].stays[-1].digest == digest("new")
    monkeypatch.setattr(fold, "begin_passage", lambda *_: None)
    without = told()
    assert (begun.findings, begun.table) == (without.findings, without.table)
