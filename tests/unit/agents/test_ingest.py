from __future__ import annotations

from itertools import pairwise

import pytest

from app.agents.block_consumer import FetchEpoch
from app.agents.ingest import QUARANTINED_IN_A_ROW_MAX
from app.codec.slice_signals import SliceWord, begin_row, whole_row
from app.core.errors import Unready
from app.core.observation import (
    CREATED,
    PRESENT,
    QUARANTINED,
    UNMAPPABLE,
    Barrier,
    LedgerEcho,
    Mark,
    RowBlock,
    SliceRead,
    Truncated,
)
from tests.unit.agents.ingest_bench import TARGETS, Bench, text


def _rows(bench: Bench) -> list[RowBlock]:
    return [o for target in range(TARGETS) for o in bench.sent(target) if isinstance(o, RowBlock)]


def _is_chain(links: list[tuple[int, int]]) -> bool:
    return all(before[1] == after[0] for before, after in pairwise(links))


def test_every_receiver_gets_an_unbroken_chain_whatever_rows_it_owns() -> None:
    """The links of one receiver begin where its last one ended, through rows, truncates and marks."""
    bench = Bench()
    for begin in range(0, 60, 6):
        texts = [
            text("u", begin + n + 1, key=begin * 7 + n, after={"id": begin * 7 + n, "name": "x"}) for n in range(5)
        ]
        bench.take(bench.block(begin, *texts, text("t", begin + 6, key=None)))
        if begin % 12:
            bench.ingest.mark()
    bench.ingest.mark()
    for target in range(TARGETS):
        links = bench.links(target)
        assert links[0][0] == 0
        assert links[-1][1] == 60
        assert _is_chain(links)


def test_a_block_is_finished_only_by_a_mark_that_covers_it() -> None:
    """Until every receiver was told of a stretch, its offset must not be committed."""
    bench = Bench()
    first, second = bench.block(0, text("u", 1, after={"id": 1, "name": "x"})), bench.block(1, end=4)
    bench.take(first)
    assert not first.finished
    bench.ingest.mark()
    assert first.finished
    bench.take(second)
    assert not second.finished
    bench.ingest.mark()
    assert second.finished
    assert all(bench.links(target)[-1][1] == 4 for target in range(TARGETS))


def test_after_a_seek_chains_begin_at_the_committed_offset_again() -> None:
    """Rows that come again are sent again under links that begin below what was told."""
    bench = Bench()
    bench.take(bench.block(0, *(text("u", n + 1, after={"id": 1, "name": "x"}) for n in range(6))))
    bench.ingest.mark()
    bench.epoch.current = False
    bench.epoch = FetchEpoch(2)
    bench.ingest.follow(2, {("pg.items", 0): 3})
    bench.take(bench.block(3, text("u", 4, after={"id": 1, "name": "x"})))
    bench.ingest.mark()
    assert all((3, 4) in bench.links(target) for target in range(TARGETS))


def test_deleted_records_are_told_as_a_gap() -> None:
    """A block that begins above the last one's end is not joined to it: something is missing, and must be seen so."""
    bench = Bench()
    bench.take(bench.block(0, text("u", 1, after={"id": 1, "name": "x"})))
    bench.ingest.mark()
    bench.take(bench.block(50, text("u", 51, after={"id": 1, "name": "x"})))
    bench.ingest.mark()
    for target in range(TARGETS):
        assert not any(begin < 50 < end for begin, end in bench.links(target))


def test_a_stale_block_is_left_alone() -> None:
    """What was fetched before a seek comes again, perhaps to another worker."""
    bench = Bench()
    block = bench.block(0, text("u", 1, after={"id": 1, "name": "x"}))
    bench.epoch.current = False
    bench.take(block)
    bench.ingest.mark()
    assert not bench.sink.sent
    assert not block.finished


def test_an_idle_partition_is_named_by_marks() -> None:
    """A partition without records is reached too, or a barrier would wait for it for ever."""
    bench = Bench()
    bench.ingest.follow(1, {("pg.items", 0): 0, ("somebody.else", 0): 5})
    bench.ingest.mark()
    for target in range(TARGETS):
        (mark,) = bench.sent(target)
        assert isinstance(mark, Mark)
        assert [(link.topic, link.begin, link.end) for link in mark.links] == [("pg.items", 0, 0)]


def test_a_beacon_becomes_a_barrier_for_every_receiver() -> None:
    """The ends are asked for after the beacon was seen, and go to all."""
    bench = Bench()
    row = {
        "store_id": "pg",
        "writer_epoch": 3,
        "sequence": 4,
        "issued_at_ms": 500,
        "previous_acknowledged_ms": 90,
        "server": "s",
    }
    copied = {**row, "store_id": "my"}
    block = bench.block(
        0, text("u", 1, after=copied), text("c", 2, after=row), text("u", 3, after=row), topic="pg.beacon"
    )
    bench.take(block)
    for target in range(TARGETS):
        (barrier,) = [o for o in bench.sent(target) if isinstance(o, Barrier)]
        assert (barrier.beacon.epoch, barrier.beacon.issued_at_ms, barrier.ends) == (3, 500, bench.ends)
        assert bench.links(target, "pg.beacon") == [(0, 3), (3, 3)]
    assert block.finished


def test_a_ledger_row_goes_to_its_own_partition_only() -> None:
    """The echo of a repair meets its row's state; other receivers only hear of the stretch."""
    bench = Bench()
    row = {"entity": "items", "command_id": "ab" * 16, "partition": 1, "kind": "refusal", "outcome": "refused"}
    event = text("c", 1, after=row | {"reason": "row_moved"}, tx="0-1-5")
    bench.take(bench.block(0, event, topic="my.ledger"))
    (echo,) = bench.sent(1)
    assert isinstance(echo, LedgerEcho)
    assert (echo.entity, echo.store, echo.command_id) == (7, 1, b"\xab" * 16)
    assert (echo.outcome, echo.reason) == ("refused", "row_moved")
    assert echo.place == (1).to_bytes(16, "big") + b"\x01"
    assert bench.sent(0) == []


def test_the_word_of_a_slice_goes_to_every_receiver() -> None:
    """Which keys are its own, every one of them knows; other signals only move their chains."""
    bench = Bench()
    word = whole_row(SliceWord("driftline-slice-a1", "items", b"\x81\x05", b"", bytes(16) + b"\x07"))
    rows = [
        {"id": row.id, "type": row.type, "data": row.data}
        for row in (begin_row("driftline-slice-a1", "s.t", "d.s", ""), word)
    ]
    others = [
        {"id": "driftline-slice-a1-whole", "type": "log", "data": "{}"},
        {"id": "mine", "type": "log", "data": ""},
    ]
    events = [text("c", n + 1, after=row) for n, row in enumerate([*rows, *others])]
    bench.take(bench.block(0, *events, topic="pg.signal"))
    for target in range(TARGETS):
        [read] = bench.sent(target)
        assert isinstance(read, SliceRead)
        assert (read.entity, read.store, read.slice_id) == (7, 0, b"driftline-slice-a1")
        assert (read.low, read.high, read.begun) == (b"\x81\x05", b"", bytes(16) + b"\x07")
        assert (read.place, read.link.begin, read.link.end) == ((2).to_bytes(16, "big") + b"\x01", 0, 2)
    assert [record.reason for record in bench.quarantined] == ["shape"]


def test_an_unreadable_record_goes_to_quarantine_and_its_row_is_flagged() -> None:
    """The partition goes on, and the key is not green."""
    bench = Bench()
    bench.take(bench.block(0, text("u", 1, key=1, after={"id": 1, "name": "x"}), "not json"))
    (record,) = bench.quarantined
    assert (record.reason, record.offset, record.value) == ("json", 1, b"not json")
    flags = [flag for block in _rows(bench) for flag in block.flags]
    assert sorted(flags) == [PRESENT, PRESENT | QUARANTINED]


def test_a_block_waits_for_a_registry_and_loses_nothing() -> None:
    """Each wait is told; then every record is there, in its order, and none is in quarantine."""
    bench = Bench()
    bench.decoder.silent = 2
    block = bench.block(0, *(text("u", n + 1, after={"id": 1, "name": str(n)}) for n in range(3)))
    bench.take(block)
    assert bench.waited == [("pg.items", "registry")] * 2
    assert [offset for rows in _rows(bench) for offset in rows.offsets] == [0, 1, 2]
    assert bench.quarantined == []


def test_a_block_that_was_taken_away_waits_no_longer() -> None:
    """Its partition's next owner reads it again from the last commit."""
    bench = Bench()
    bench.decoder.silent = 99
    bench.epoch.current = False
    bench.take(bench.block(0, text("u", 1, after={"id": 1, "name": "x"}), text("u", 2, after={"id": 1, "name": "y"})))
    assert _rows(bench) == []
    assert bench.decoder.silent == 98


def test_an_unmappable_value_flags_its_row() -> None:
    """A value that does not fit is no guess: the row is there, its state is unknown."""
    bench = Bench()
    bench.take(bench.block(0, text("u", 1, after={"id": 1, "name": 5})))
    (block,) = _rows(bench)
    assert block.flags[0] == PRESENT | UNMAPPABLE
    assert block.digests == bytes(16)


def test_too_many_unreadable_records_in_a_row_stop_the_worker() -> None:
    """A wrong converter must not empty a topic into quarantine."""
    bench = Bench()
    with pytest.raises(Unready, match="in a row cannot be read"):
        bench.take(bench.block(0, *(["no"] * (QUARANTINED_IN_A_ROW_MAX + 1))))
    assert len(bench.quarantined) == QUARANTINED_IN_A_ROW_MAX + 1


def test_a_truncate_stands_between_the_rows_around_it() -> None:
    """Rows before and after a truncate go out before and after it, to every receiver."""
    bench = Bench()
    before, after = (text("c", n, key=1, after={"id": 1, "name": str(n)}) for n in (1, 3))
    bench.take(bench.block(0, before, text("t", 2, key=None), after))
    for target in range(TARGETS):
        kinds = [type(o) for o in bench.sent(target)]
        assert kinds in ([Truncated], [RowBlock, Truncated, RowBlock])


def test_a_row_that_changes_its_key_leaves_the_old_one() -> None:
    """An update that moves a contract's key is a delete of the old key and a state of the new one."""
    bench = Bench()
    moved = text("u", 9, key=2, after={"id": 2, "name": "x"}, before={"id": 1, "name": "x"})
    bench.take(bench.block(0, moved))
    flags = {key: block.flags[n] for block in _rows(bench) for n, key in enumerate(block.keys)}
    assert flags == {b"\x81\x01": 0, b"\x81\x02": PRESENT}


def test_an_insert_is_told_from_an_update() -> None:
    """Where a row is shown already, it says that something has ended that one."""
    bench = Bench()
    bench.take(bench.block(0, *(text(op, n + 1, key=1, after={"id": 1, "name": "x"}) for n, op in enumerate("cu"))))
    assert [flag for block in _rows(bench) for flag in block.flags] == [PRESENT | CREATED, PRESENT]


def test_a_raw_key_is_told_by_its_values_and_not_by_its_bytes() -> None:
    """A key whose schema changed has other bytes and is the same row's; two keys' digests differ."""
    bench = Bench()
    keys = (1, 1, 2)
    bench.take(bench.block(0, *(text("u", n + 1, key=k, after={"id": k, "name": "x"}) for n, k in enumerate(keys))))
    told = [block.raw_keys[at : at + 8] for block in _rows(bench) for at in range(0, len(block.raw_keys), 8)]
    assert len(told) == 3
    assert len(set(told)) == 2
