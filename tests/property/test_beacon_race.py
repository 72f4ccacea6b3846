"""Writers race, crash, hang and lose answers over stores that come and go; time stays one and never goes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.beacon_writer import NONCE_BITS, BeaconRow, BeaconWriter, Beat, Role

INTERVAL_MS = 500
STORES = ("pg", "my")


@dataclass(frozen=True)
class Committed:
    """A beacon that a store took, and where its issuing and its commit stand in the order of all that happened."""

    issued_order: int
    committed_order: int
    row: BeaconRow


@dataclass
class Store:
    """A row with compare-and-set, and its log: what was committed when."""

    row: BeaconRow = field(default_factory=lambda: BeaconRow(0, 0, 0, 0))
    log: list[Committed] = field(default_factory=list)

    def commit(self, beat: Beat, issued_order: int, committed_order: int) -> bool:
        """Write the beat if the row is as expected."""
        if (self.row.epoch, self.row.sequence) != (beat.expected_epoch, beat.expected_sequence):
            return False
        self.row = beat.row
        self.log.append(Committed(issued_order, committed_order, beat.row))
        return True


@dataclass(frozen=True)
class Move:
    """One writer does its next step in one store, so long after the move before, and so it ends."""

    writer: int
    store: str
    after_ms: int
    fate: str  # answered, unanswered (the answer lost), lost (never committed), late (committed at the next move)


MOVES = st.lists(
    st.builds(
        Move,
        st.integers(0, 2),
        st.sampled_from(STORES),
        st.sampled_from([1, 20, 250, 500, 2_500]),
        st.sampled_from(["answered"] * 6 + ["unanswered", "lost", "late"]),
    ),
    min_size=20,
    max_size=200,
)


def played(moves: list[Move]) -> Iterator[tuple[dict[str, Store], list[BeaconWriter], int]]:
    """Play the moves and yield the world after each."""
    stores = {name: Store() for name in STORES}
    writers = [BeaconWriter(STORES, nonce, INTERVAL_MS, 0) for nonce in (5, 900, 31)]
    late: list[tuple[str, Beat, int]] = []
    order = count()
    now_ms = 0
    for move in moves:
        now_ms += move.after_ms
        for store_name, beat, issued_order in late:
            stores[store_name].commit(beat, issued_order, next(order))
        late.clear()
        step(writers[move.writer], move, stores[move.store], now_ms, late, order)
        yield stores, writers, now_ms


def step(
    writer: BeaconWriter, move: Move, store: Store, now_ms: int, late: list[tuple[str, Beat, int]], order: Iterator[int]
) -> None:
    """Do what the shell does: read if asked to, write if told to."""
    beat = writer.next_beat(move.store, now_ms)
    if beat is None:
        if move.fate == "lost":
            writer.unsettled(move.store)
            return
        writer.read_back(move.store, store.row, now_ms)
        beat = writer.next_beat(move.store, now_ms)
    if beat is None:
        return
    issued_order = next(order)
    if move.fate == "late":
        late.append((move.store, beat, issued_order))
    elif move.fate != "lost" and store.commit(beat, issued_order, next(order)) and move.fate == "answered":
        writer.acknowledged(move.store, beat, now_ms)
        return
    writer.unsettled(move.store)


@settings(max_examples=120, deadline=None)
@given(MOVES)
def test_no_row_ever_goes_back(moves: list[Move]) -> None:
    """In each store, issued_at rises with every beacon, and so does (epoch, sequence)."""
    stores = {name: Store() for name in STORES}
    for stores, _, _ in played(moves):  # noqa: B007 - the world after the last move is looked at
        pass
    for store in stores.values():
        issued = [one.row.issued_at_ms for one in store.log]
        assert issued == sorted(set(issued))
        sequences = [one.row.sequence for one in store.log]
        assert sequences == sorted(set(sequences))


@settings(max_examples=120, deadline=None)
@given(MOVES)
def test_brackets_hold_the_true_moment_of_every_beacon(moves: list[Move]) -> None:
    """The acknowledgement that travels with the next beacon is not before the beacon that it acknowledges."""
    stores = {name: Store() for name in STORES}
    for stores, _, _ in played(moves):  # noqa: B007 - likewise
        pass
    for store in stores.values():
        for earlier, later in pairwise(one.row for one in store.log):
            assert earlier.issued_at_ms <= later.previous_acknowledged_ms <= later.issued_at_ms


@settings(max_examples=120, deadline=None)
@given(MOVES)
def test_an_epoch_belongs_to_one_writer_and_has_one_clock(moves: list[Move]) -> None:
    """Within one epoch, a beacon that was issued after another was committed never shows an earlier time."""
    stores = {name: Store() for name in STORES}
    for stores, _, _ in played(moves):  # noqa: B007 - likewise
        pass
    by_epoch: dict[int, list[Committed]] = {}
    for one in (one for store in stores.values() for one in store.log):
        by_epoch.setdefault(one.row.epoch, []).append(one)
    for epoch, beacons in by_epoch.items():
        assert epoch & ((1 << NONCE_BITS) - 1) in {5, 900, 31}
        for earlier in beacons:
            for later in beacons:
                if later.issued_order > earlier.committed_order:
                    assert later.row.issued_at_ms >= earlier.row.issued_at_ms


@settings(max_examples=80, deadline=None)
@given(MOVES)
def test_left_alone_one_writer_writes_everywhere_and_the_others_watch(moves: list[Move]) -> None:
    """Whatever has happened, once all answers arrive again one writer is left, in every store."""
    calm = [
        Move(w, store, 1, "answered") if (w, store) != (0, "pg") else Move(w, store, 495, "answered")
        for _ in range(30)
        for w in range(3)
        for store in STORES
    ]
    for stores, writers, _ in played([*moves, *calm]):  # noqa: B007 - likewise
        pass
    writing = [w for w in writers if w.role is Role.WRITING]
    assert len(writing) == 1
    assert {store.row.epoch for store in stores.values()} == {writing[0].epoch}
