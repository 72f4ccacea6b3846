"""Property: a state's quick forms are the bytes of the full one, and whatever was written reads back as it was."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.core import state_forms
from app.core.finding import Stage
from app.core.keystate import KeyState, OpenDrift, ReplicaState, Side
from app.core.observation import RAW_KEY_BYTES
from app.core.position import POSITION_BYTES
from app.core.state_forms import decode, encode
from app.core.verdict import EVER, OPEN, Stay

DIGESTS = st.one_of(st.binary(min_size=16, max_size=16), st.sampled_from([b"", b"\x01", b"\x05"]))
KNOWN = st.binary(min_size=16, max_size=16)
POSITIONS = st.binary(min_size=POSITION_BYTES, max_size=POSITION_BYTES)
MOMENTS = st.sampled_from([EVER, 0, 1_000, 2**40, OPEN])
KAFKA = (st.integers(-1, 2**15 - 1), st.integers(-1, 2**62), st.integers(0, 2**64 - 1))
RAW_KEYS = st.sampled_from([b"", b"k" * RAW_KEY_BYTES, b"j" * 2 * RAW_KEY_BYTES])
GROUPS = st.sampled_from([b"", bytes(16), b"g" * 48])
DRIFT = OpenDrift(b"d" * 16, Stage.OVERTAKEN, 5_000, "stale", True, b"e" * 16, b"i" * 16, b"p" * 20, command_id=b"c")


def stays(digests: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[Stay]]:
    """Return stays, up to more than the quick form takes."""
    return st.lists(st.builds(Stay, digests, POSITIONS, MOMENTS, MOMENTS, *KAFKA), min_size=1, max_size=6)


def sides(digests: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[Side]]:
    """Return the sides of a row of one to four stores."""
    return st.lists(st.builds(Side, stays(digests), POSITIONS, RAW_KEYS, GROUPS), min_size=1, max_size=4)


@st.composite
def states(draw: st.DrawFn) -> KeyState:
    """Draw a state, often one with known digests and no drift, so that the quick forms have their turn."""
    digests = draw(st.sampled_from([DIGESTS, KNOWN]))
    of_stores = draw(sides(digests))
    if draw(st.booleans()):
        of_stores = [replace(side, raw_keys=b"k" * RAW_KEY_BYTES, groups=b"") for side in of_stores]
    drifts = draw(st.sampled_from([st.none(), st.sampled_from([None, DRIFT])]))
    replicas = [ReplicaState(draw(MOMENTS), draw(drifts)) for _ in of_stores[1:]]
    return KeyState(of_stores, replicas, draw(st.lists(digests, max_size=4)))


@given(states())
def test_every_state_reads_back_as_it_was(state: KeyState) -> None:
    """Whichever form a state was written in, reading it gives the same state."""
    assert decode(encode(state)) == state


@given(states())
def test_a_row_that_waits_is_written_as_the_full_form_has_it(state: KeyState) -> None:
    """The form that is written by one call has the very bytes of the one that is written part by part."""
    quick = state_forms._encode_waiting(state)

    assert quick in {None, state_forms._encode_full(state)}


@given(states())
def test_a_full_state_is_read_alike_by_both_readers(state: KeyState) -> None:
    """What the quick reader takes is what the one that goes part by part reads."""
    written = state_forms._encode_full(state)
    quick = state_forms._decode_waiting(written)

    assert quick in [None, state_forms._decode_full(written)]


def test_a_healthy_row_that_waits_takes_the_quick_forms() -> None:
    """A row of two stores, one of which has changed, is written and read by one call each."""
    first = [Stay(b"a" * 16, b"p" * 20), Stay(b"b" * 16, b"q" * 20, 1_000, OPEN, 0, 7, 9)]
    state = KeyState(
        [Side(first, b"q" * 20, b"k" * 8), Side([Stay(b"a" * 16, b"r" * 20)], b"r" * 20, b"k" * 8)],
        [ReplicaState(500)],
        [b"c" * 16],
    )
    written = state_forms._encode_waiting(state)

    assert written is not None
    assert state_forms._decode_waiting(written) == state


def test_a_state_that_is_as_long_as_one_that_waits_and_is_none_is_read_part_by_part() -> None:
    """The length alone does not tell a form: a side without a raw key may have as many bytes of something else."""
    known = [Stay(b"a" * 16, b"p" * 20, 1_000, 2_000, 0, 7, 9)]
    told = [Side(known, b"p" * 20, b"k" * RAW_KEY_BYTES), Side(known, b"p" * 20, b"", b"g" * RAW_KEY_BYTES)]
    state = KeyState(told, [ReplicaState(500)])
    waiting = replace(told[1], raw_keys=b"k" * RAW_KEY_BYTES, groups=b"")

    written = encode(state)

    assert len(written) == len(encode(KeyState([told[0], waiting], [ReplicaState(500)])))
    assert decode(written) == state
