"""A contract that comes to mean something else: what was read is outdated until it is read again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.contract import EntityContract, Field, FieldKind, FieldType, Replica, StoreTable
from app.core.digest import meaning_of
from app.core.finding import DriftKind, Stage
from app.core.fold import row_key
from app.core.observation import Barrier, Beacon
from tests.unit.core.story import INT, WINDOW_MS, Story, contract

CONTRACT = contract(pipeline=False)
MORE = Field("more", INT, {"A": "more", "R": "more"})
TEXT = FieldType(FieldKind.STRING)
OTHERS: dict[str, EntityContract] = {
    "its version": replace(CONTRACT, version=2),
    "a field more": replace(CONTRACT, fields=(*CONTRACT.fields, MORE)),
    "a field less": replace(CONTRACT, fields=()),
    "a field by another name": replace(CONTRACT, fields=(replace(CONTRACT.fields[0], name="w"),)),
    "a wider type": replace(CONTRACT, fields=(replace(CONTRACT.fields[0], type=TEXT),)),
    "a normalisation": replace(CONTRACT, fields=(replace(CONTRACT.fields[0], type=TEXT, normalise=("trim",)),)),
    "an encoding": replace(CONTRACT, fields=(replace(CONTRACT.fields[0], encodings={"R": "bits"}),)),
    "a key of another type": replace(CONTRACT, key=(replace(CONTRACT.key[0], type=TEXT),)),
    "a replica more": replace(
        CONTRACT,
        stores=(*CONTRACT.stores, StoreTable("S", "t", "S.t", 1)),
        replicas=(*CONTRACT.replicas, Replica("S", WINDOW_MS, 10 * WINDOW_MS)),
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_contract_means_something_else_by(what: str) -> None:
    """Whatever goes into a digest or a key, and which stores there are; the version need not be changed for it."""
    assert meaning_of(OTHERS[what]) != meaning_of(CONTRACT)


def test_a_renamed_column_and_another_window_mean_the_same() -> None:
    """The digests of rows that were read before are as good as those of rows that come."""
    renamed = replace(CONTRACT.fields[0], columns={"A": "v", "R": "w"})
    same = replace(CONTRACT, fields=(renamed,), replicas=(Replica("R", 5 * WINDOW_MS, 10),))
    assert meaning_of(same) == meaning_of(CONTRACT)


class ChangedStory(Story):
    """A story whose contract changes; two rows agree under the first one, and one is missing in the replica."""

    def __init__(self) -> None:
        super().__init__()
        for store in "AR":
            self.row(store, "one", snapshot=True)
            self.row(store, "old", key="gone", snapshot=True)
        self.until(500, 2_000)

    def change(self, to: EntityContract) -> None:
        """Let the worker start again under another contract."""
        self.contract = to
        self.restart()

    def snapshot(self, store: str, rows: dict[str, str]) -> None:
        """Let a store's connector take a snapshot again: its beacon and these rows, all at one place in the log."""
        place = self.place(store)
        for key, value in rows.items():
            self.row(store, value, key=key, snapshot=True, place=place)
        beacon = Beacon(store, 1, self.sequence, 0, 0, place, False, "server")
        self.observe(Barrier(beacon, self._next(f"{store}.beacon"), []))

    def proven(self) -> int | None:
        """Return up to when the replica is verified."""
        return self.shard.verified_through_ms(7, 0)


def test_nothing_is_said_under_another_meaning_before_all_was_read_again() -> None:
    """New changes have other digests than what is held: no drift is told of them, and no agreement."""
    story = ChangedStory()
    assert story.proven() == 2_000
    story.change(OTHERS["a field more"])
    story.row("A", "two, seen under the new contract")
    story.until(2_500, 6_000)
    assert (story.proven(), story.findings) == (None, [])


def test_it_stays_so_through_every_restart_and_without_a_change() -> None:
    """Also where no row moved, and where the worker is started again and again."""
    story = ChangedStory()
    story.change(OTHERS["its version"])
    for start_ms in (2_500, 4_500, 6_500):
        story.until(start_ms, start_ms + 1_500)
        story.restart()
    assert (story.proven(), story.findings) == (None, [])


def test_half_of_the_stores_read_again_proves_nothing() -> None:
    """The replica's old digests are not compared with the authority's new ones."""
    story = ChangedStory()
    story.change(OTHERS["its version"])
    story.snapshot("A", {"k": "ONE"})
    story.until(2_500, 6_000)
    assert (story.proven(), story.findings) == (None, [])


def test_it_comes_back_when_snapshots_have_read_all_rows_again() -> None:
    """With new digests for all rows; a row that the snapshots did not show is gone, and a difference is found."""
    story = ChangedStory()
    story.change(OTHERS["its version"])
    story.snapshot("A", {"k": "ONE", "missing": "x"})
    story.until(2_500, 3_000)
    story.snapshot("R", {"k": "ONE"})
    story.until(3_500, 3_500)
    story.restart()
    story.until(4_000, 8_000)
    assert story.proven() == 8_000
    told = {(f.canonical_key, f.kind) for f in story.findings if f.stage is Stage.CONFIRMED}
    assert told == {(b"missing", DriftKind.MISSING)}
    story.until(8_500, 14_000)
    assert row_key(7, b"gone") not in story.table


def test_a_snapshot_of_before_does_not_count() -> None:
    """One that the worker read under the contract of before has the digests of before."""
    story = ChangedStory()
    for store in "AR":
        story.snapshot(store, {"k": "one"})
    story.change(OTHERS["its version"])
    story.until(2_500, 6_000)
    assert (story.proven(), story.findings) == (None, [])


def test_a_state_that_was_never_covered_is_outdated_too() -> None:
    """Its worker was stopped while the first snapshot was read; the rest of it has other digests."""
    story = Story()
    story.restart()
    story.row("A", "one", snapshot=True)
    story.contract = OTHERS["its version"]
    story.restart()
    story.row("R", "ONE", snapshot=True)
    story.until(500, 4_000)
    assert (story.shard.verified_through_ms(7, 0), story.findings) == (None, [])


def test_a_replica_more_begins_without_what_was_known() -> None:
    """Rows that are held know nothing of it; all stores are read again, and all of them are compared."""
    story = ChangedStory()
    story.stores, story.contract = "ARS", OTHERS["a replica more"]
    story.places["S"], story.acknowledged_ms["S"] = 100, 0
    story.restart()
    story.start("S")
    story.row("S", "one", snapshot=True)
    story.row("A", "two")
    story.until(2_500, 4_000)
    assert story.findings == []
    for store in "ARS":
        story.snapshot(store, {"k": "ONE" if store != "S" else "other"})
    story.until(4_500, 9_000)
    assert [(f.replica, f.kind) for f in story.findings if f.stage is Stage.CONFIRMED] == [("S", DriftKind.DIFFERENT)]
