from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codec.blocks import FORMAT, pack, unpack
from app.core.errors import Undecodable
from app.core.observation import (
    Barrier,
    Beacon,
    Contributions,
    LedgerEcho,
    Link,
    Mark,
    Observation,
    PipelineReached,
    RowBlock,
    SliceRead,
    Truncated,
)

numbers = st.integers(0, 2**32 - 1)
offsets = st.integers(0, 2**62)
places = st.binary(min_size=17, max_size=17)


@st.composite
def links(draw: st.DrawFn) -> Link:
    """Draw a range of consumer positions."""
    begin = draw(offsets)
    return Link(draw(st.text(max_size=20)), draw(st.integers(0, 100)), begin, begin + draw(st.integers(0, 10_000)))


@st.composite
def row_blocks(draw: st.DrawFn) -> RowBlock:
    """Draw a block whose columns fit each other."""
    rows = draw(st.integers(0, 5))
    groups = draw(st.integers(1, 3))
    return RowBlock(
        entity=draw(numbers),
        store=draw(st.integers(0, 7)),
        link=draw(links()),
        groups=groups,
        keys=draw(st.lists(st.binary(max_size=40), min_size=rows, max_size=rows)),
        raw_keys=draw(st.binary(min_size=rows * 8, max_size=rows * 8)),
        flags=draw(st.binary(min_size=rows, max_size=rows)),
        places=draw(st.binary(min_size=rows * 17, max_size=rows * 17)),
        offsets=draw(st.lists(offsets, min_size=rows, max_size=rows)),
        transactions=draw(st.lists(offsets, min_size=rows, max_size=rows)),
        digests=draw(st.binary(min_size=rows * groups * 16, max_size=rows * groups * 16)),
    )


@st.composite
def contributions(draw: st.DrawFn) -> Contributions:
    """Draw contributions whose columns fit each other."""
    rows = draw(st.integers(0, 5))
    some_bytes = st.lists(st.binary(max_size=40), min_size=rows, max_size=rows)
    return Contributions(
        entity=draw(numbers),
        store=draw(st.integers(0, 7)),
        link=draw(links()),
        rows=draw(some_bytes),
        flags=draw(st.binary(min_size=rows, max_size=rows)),
        places=draw(st.binary(min_size=rows * 17, max_size=rows * 17)),
        offsets=draw(st.lists(offsets, min_size=rows, max_size=rows)),
        values=draw(some_bytes),
    )


beacons = st.builds(
    Beacon,
    store=st.text(max_size=10),
    epoch=numbers,
    sequence=numbers,
    issued_at_ms=offsets,
    previous_acknowledged_ms=offsets,
    place=places,
    streamed=st.booleans(),
    server=st.text(max_size=30),
    replaced=st.none() | st.tuples(numbers, numbers),
)
observations: st.SearchStrategy[Observation] = st.one_of(
    row_blocks(),
    contributions(),
    st.builds(Truncated, numbers, numbers, links(), places, offsets, offsets),
    st.builds(Mark, st.lists(links(), max_size=4)),
    st.builds(Barrier, beacons, links(), st.lists(st.tuples(st.text(max_size=9), numbers, offsets), max_size=4)),
    st.builds(
        LedgerEcho,
        numbers,
        numbers,
        links(),
        st.binary(min_size=16, max_size=16),
        offsets,
        st.text(max_size=9),
        places,
        st.text(max_size=9),
    ),
    st.builds(PipelineReached, numbers, numbers, places, numbers),
    st.builds(
        SliceRead,
        numbers,
        numbers,
        links(),
        st.binary(max_size=9),
        st.binary(max_size=9),
        st.binary(max_size=9),
        places,
        places,
    ),
)


def test_a_block_with_a_key_that_no_record_holds_is_refused() -> None:
    """Whoever can reach the topic could else end every worker that reads it."""
    link = Link("t", 0, 0, 1)
    block = RowBlock(1, 0, link, 1, [b"k" * 8_193], bytes(8), b"\x01", bytes(17), [0], [0], bytes(16))
    with pytest.raises(Undecodable, match="more than 8192 bytes"):
        unpack(pack(block))


@given(observations)
def test_every_observation_comes_back_as_it_was_packed(observation: Observation) -> None:
    """Packing loses nothing and adds nothing."""
    assert unpack(pack(observation)) == observation


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_and_never_crash(noise: bytes) -> None:
    """Whatever stands on the topic is an observation or `Undecodable`."""
    for packed in (noise, bytes([FORMAT]) + noise):
        try:
            unpack(packed)
        except Undecodable:
            continue


@given(observations, st.data())
def test_a_damaged_record_is_refused_or_well_formed(observation: Observation, data: st.DataObject) -> None:
    """A flipped byte never gives a block whose columns do not fit each other."""
    packed = bytearray(pack(observation))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    try:
        read = unpack(bytes(packed))
    except Undecodable:
        return
    assert unpack(pack(read)) == read


def test_an_unknown_format_says_so() -> None:
    """A record of a newer format is refused by its first byte."""
    with pytest.raises(Undecodable, match="not with format 1"):
        unpack(b"\x02" + pack(Mark([]))[1:])


def test_a_short_column_is_refused() -> None:
    """A block that lacks one flag would shift every row after it."""
    block = RowBlock(
        1, 0, Link("t", 0, 0, 2), 1, [b"a", b"b"], bytes(16), b"\x01", bytes(34), [0, 1], [0, 0], bytes(32)
    )
    with pytest.raises(Undecodable, match="not of one length"):
        unpack(pack(block))
