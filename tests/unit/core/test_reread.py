"""What a read of the table says against what its log said, and which rows of a slice were not there."""

import pytest

from app.core import timeline
from app.core.finding import DriftKind, Finding, Stage
from app.core.fold import META, Shard
from app.core.observation import INCREMENTAL_READ, QUARANTINED
from app.core.position import binlog_place
from tests.unit.core.story import Story, digest

READ_MS = 20_000


def settled(*, keys: str = "k") -> Story:
    """Return a story in which both stores show value `1` under every key, for long enough that reads may count."""
    story = Story()
    for store in "AR":
        for key in keys:
            story.row(store, "1", key=key, raw=key, snapshot=True)
    story.until(500, READ_MS)
    return story


def gaps(story: Story) -> list[tuple[str, str, bytes, bytes]]:
    """Return store, key, told and read digest of every capture gap so far."""
    return [
        (f.replica, f.canonical_key.decode(), f.intended_digest, f.expected_digest)
        for f in story.findings
        if f.kind is DriftKind.CAPTURE_GAP
    ]


def test_a_read_that_the_log_did_not_tell_of_is_a_capture_gap_and_then_a_drift_like_any_other() -> None:
    """The gap is told once with both states; what was read is the row's state from then on, and is judged as such."""
    story = settled()
    story.reread("R", "2", raw="k")
    assert gaps(story) == [("R", "k", digest("1"), digest("2"))]
    assert story.stages() == [Stage.NOTED]
    story.until(READ_MS + 500, READ_MS + 15_000)
    assert story.stages() == [Stage.NOTED, Stage.CONFIRMED, Stage.OVERTAKEN]
    assert story.state().sides[1].stays[-1].digest == digest("2")


def test_a_change_hidden_from_the_authoritys_log_leaves_its_replica_stale() -> None:
    """The authority's log can lie too: once its row was read, the replica shows what the authority no longer does."""
    story = settled()
    story.reread("A", "2", raw="k")
    story.until(READ_MS + 500, READ_MS + 15_000)
    assert gaps(story) == [("A", "k", digest("1"), digest("2"))]
    drift = next(f for f in story.findings if f.stage is Stage.CONFIRMED)
    assert (drift.replica, drift.kind) == ("R", DriftKind.STALE)


def test_a_row_that_only_a_read_shows_is_a_gap() -> None:
    """A row that was inserted past the log is one of which no state is kept at all."""
    story = settled()
    story.reread("R", "1", key="hidden", raw="hidden")
    assert gaps(story) == [("R", "hidden", b"", digest("1"))]
    story.until(READ_MS + 500, READ_MS + 5_000)
    assert next(f for f in story.findings if f.stage is Stage.CONFIRMED).kind is DriftKind.EXTRA


def test_a_read_that_agrees_says_nothing_and_leaves_the_row_small() -> None:
    """A sweep over everything must not make every row's state larger."""
    story = settled()
    before = len(story.table[b"\x01\x00\x00\x00\x07k"])
    place = story.reread("R", "1", raw="k")
    state = story.state()
    assert story.findings == []
    assert (state.sides[1].position[3:], state.sides[1].stays[0].position[3:]) == (place, place)
    assert len(story.table[b"\x01\x00\x00\x00\x07k"]) == before


def test_a_read_just_behind_a_change_says_nothing() -> None:
    """A commit may stand in the log before the database shows it: an older value read then is no gap."""
    story = settled()
    story.row("A", "2", raw="k")
    story.row("R", "2", raw="k")
    story.until(READ_MS + 500, READ_MS + 1_000)
    story.reread("R", "1", raw="k")
    story.until(READ_MS + 1_500, READ_MS + 15_000)
    assert story.findings == []
    assert story.state().sides[1].stays[-1].digest == digest("2")


def test_a_read_before_coverage_is_taken_as_it_is() -> None:
    """Before a complete snapshot nothing is known that a read could contradict."""
    story = Story(late="R")
    story.row("A", "1", snapshot=True)
    story.until(500, READ_MS)
    story.row("R", "0")
    story.reread("R", "1")
    assert story.findings == []
    assert story.state().sides[1].stays[-1].digest == digest("1")


def test_a_read_that_is_sent_again_brings_no_row_back() -> None:
    """A connector that was killed may send a chunk twice; the row was deleted in between, and is forgotten."""
    story = settled(keys="kl")
    place = story.reread("R", "1", raw="k")
    for store in "AR":
        story.row(store, "", raw="k")
    story.until(READ_MS + 500, READ_MS + 10_000)
    assert b"\x01\x00\x00\x00\x07k" not in story.table
    story.reread("R", "1", raw="k", place=place)
    story.until(READ_MS + 10_500, READ_MS + 20_000)
    assert story.findings == []


def test_a_row_that_a_whole_slice_does_not_show_is_a_missed_delete() -> None:
    """Within the slice, and only there: one row was read, one has changed since, one lies outside."""
    story = settled(keys="abcdk")
    begun = binlog_place(1, story.places["R"], 1, is_delete=False)
    story.reread("R", "1", key="a", raw="a")
    story.row("R", "1", key="b", raw="b")
    story.slice_read("R", begun, low="a", high="d")
    assert story.findings == []
    story.until(READ_MS + 500, READ_MS + 1_000)
    assert gaps(story) == [("R", "c", digest("1"), b"")]
    story.until(READ_MS + 1_500, READ_MS + 10_000)
    confirmed = [(f.canonical_key, f.kind) for f in story.findings if f.stage is Stage.CONFIRMED]
    assert confirmed == [(b"c", DriftKind.MISSING)]


def test_rows_that_are_read_behind_the_word_of_their_slice_are_not_missed() -> None:
    """The word travels in another partition than the rows: the log has to be known beyond it first."""
    story = settled(keys="ab")
    begun = binlog_place(1, story.places["R"], 1, is_delete=False)
    story.places["R"] += 1
    read_at = binlog_place(1, story.places["R"], 0, is_delete=False)
    story.slice_read("R", begun)
    story.reread("R", "1", key="a", raw="a", place=read_at)
    story.reread("R", "1", key="b", raw="b", place=read_at)
    story.until(READ_MS + 500, READ_MS + 10_000)
    assert story.findings == []


def test_a_slice_goes_on_after_a_restart() -> None:
    """The word of the conductor is kept with the rows until it was held against them."""
    story = settled(keys="ab")
    begun = binlog_place(1, story.places["R"], 1, is_delete=False)
    story.reread("R", "1", key="a", raw="a")
    story.slice_read("R", begun)
    story.restart()
    story.until(READ_MS + 500, READ_MS + 1_000)
    assert gaps(story) == [("R", "b", digest("1"), b"")]
    assert not [key for key in story.table if key[:2] == META + b"r"]


def test_a_slice_that_was_begun_before_the_snapshot_of_this_epoch_proves_nothing() -> None:
    """What a new snapshot shows stands before the slice in no log: its rows are not missing."""
    story = settled(keys="ab")
    begun = binlog_place(1, story.places["R"], 1, is_delete=False)
    again = story.place("R")
    for key in "ab":
        story.row("R", "1", key=key, raw=key, place=again, snapshot=True)
    story.until(READ_MS + 500, READ_MS + 3_000)
    story.slice_read("R", begun)
    story.until(READ_MS + 3_500, READ_MS + 15_000)
    assert gaps(story) == []


def test_a_word_of_an_epoch_that_is_over_proves_nothing() -> None:
    """A snapshot was taken again before the word could be held against the rows; it is forgotten."""
    story = settled(keys="ab")
    begun = binlog_place(1, story.places["R"], 1, is_delete=False)
    story.slice_read("R", begun)
    again = story.place("R")
    for key in "ab":
        story.row("R", "1", key=key, raw=key, place=again, snapshot=True)
    story.read_beacon_again("R", again)
    story.until(READ_MS + 500, READ_MS + 15_000)
    assert gaps(story) == []
    assert story.shard.rereads.slices == {}


def test_a_slice_older_than_the_beacons_that_are_kept_is_held_against_positions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pass over a large table takes hours: what changed since is not missed, what did not is."""
    story = settled(keys="abc")
    begun = binlog_place(1, story.places["R"], 1, is_delete=False)
    story.row("R", "1", key="a", raw="a")
    monkeypatch.setattr(timeline, "BEACONS_KEPT", 4)
    story.until(READ_MS + 500, READ_MS + 60_000)
    story.reread("R", "1", key="b", raw="b")
    story.slice_read("R", begun)
    story.until(READ_MS + 60_500, READ_MS + 61_000)
    assert gaps(story) == [("R", "c", digest("1"), b"")]


def test_an_old_slice_proves_nothing_of_a_snapshot_taken_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning lies before what the state now stands on."""
    story = settled(keys="ab")
    begun = binlog_place(1, story.places["R"], 1, is_delete=False)
    again = story.place("R")
    for key in "ab":
        story.row("R", "1", key=key, raw=key, place=again, snapshot=True)
    story.read_beacon_again("R", again)
    monkeypatch.setattr(timeline, "BEACONS_KEPT", 4)
    story.until(READ_MS + 500, READ_MS + 60_000)
    assert story.shard.progress.entities[7].covered_at_ms[1] is not None
    story.slice_read("R", begun)
    story.until(READ_MS + 60_500, READ_MS + 70_000)
    assert gaps(story) == []


def test_a_row_that_came_just_before_a_slice_is_not_missed() -> None:
    """Its insert may stand in the log before the slice and be seen only after it."""
    story = settled(keys="ab")
    story.row("R", "1", key="c", raw="c")
    begun = binlog_place(1, story.places["R"], 1, is_delete=False)
    story.slice_read("R", begun, low="c")
    story.until(READ_MS + 500, READ_MS + 1_000)
    assert gaps(story) == []


def test_what_was_read_before_a_truncate_and_sent_behind_it_is_no_gap() -> None:
    """A truncate names no row, so that a connector leaves none of them out of its window."""
    story = settled(keys="ab")
    for store in "RA":
        story.cut(store)
    story.until(READ_MS + 500, READ_MS + 2_500)
    story.reread("R", "1", key="a", raw="a")
    story.until(READ_MS + 3_000, READ_MS + 15_000)
    assert story.findings == []


def test_what_was_read_before_a_row_was_deleted_everywhere_is_no_gap() -> None:
    """A database may write a commit to its log before it shows it: the row is known to be gone for that long."""
    story = settled(keys="ab")
    for store in "AR":
        story.row(store, "", key="a", raw="a")
    story.until(READ_MS + 500, READ_MS + 3_000)
    story.reread("A", "1", key="a", raw="a")
    story.until(READ_MS + 3_500, READ_MS + 15_000)
    assert story.findings == []


def test_a_row_that_the_newest_snapshot_did_not_show_was_absent_by_the_log() -> None:
    """Also where the sweep after that snapshot has not come to it yet."""
    story = settled(keys="ab")
    again = story.place("R")
    story.row("R", "1", key="b", raw="b", place=again, snapshot=True)
    story.read_beacon_again("R", again)
    story.sweeps = False
    story.until(READ_MS + 500, READ_MS + 10_000)
    story.reread("R", "1", key="a", raw="a")
    assert gaps(story) == [("R", "a", b"", digest("1"))]


def test_a_gap_that_the_broker_does_not_have_is_told_again() -> None:
    """The state is the read's already; without the gap's own record a kill would hide it for ever."""
    story = settled()
    block = story.block("R", "2", story.place("R"), raw="k", flags=INCREMENTAL_READ)
    states = {key: story.table.get(key) for key in story.shard.needed_keys(block)}
    [told] = story.shard.fold(block, states).findings
    story.flush()
    shard = Shard((story.contract,), 0)
    noted = shard.restore(sorted((k, v) for k, v in story.table.items() if k[:1] == META))
    again = shard.revive({row: story.table.get(row) for row in noted}).findings
    assert [_named(f) for f in again if f.stage is Stage.NOTED] == [_named(told)]
    shard.acknowledged(again)
    for key, value in shard.flush():
        assert value is None or key[:2] != META + b"g"


def _named(finding: Finding) -> tuple[bytes, bytes, bytes]:
    return finding.finding_id, finding.intended_digest, finding.expected_digest


def test_a_gap_is_written_before_the_row_that_no_longer_shows_it() -> None:
    """A commit that is cut short leaves a beginning: a gap may be told twice, never not at all."""
    story = settled()
    block = story.block("R", "2", story.place("R"), raw="k", flags=INCREMENTAL_READ)
    story.shard.fold(block, {key: story.table.get(key) for key in story.shard.needed_keys(block)})
    written = [key[:2] for key, value in story.shard.flush() if value is not None]
    assert written.index(META + b"g") < written.index(b"\x01\x00")


@pytest.mark.parametrize("store", ["A", "R"])
def test_a_truncate_is_no_missed_delete(store: str) -> None:
    """A slice shows no row of a table that was truncated since; the log has told of that."""
    story = settled(keys="ab")
    begun = binlog_place(1, story.places[store], 1, is_delete=False)
    for key in "ab":
        story.row(store, "", key=key, raw=key)
    story.slice_read(store, begun)
    story.until(READ_MS + 500, READ_MS + 1_000)
    assert gaps(story) == []


def test_a_state_that_nobody_knew_is_healed_by_a_read_without_a_gap() -> None:
    """A record that could not be read made it unknown: a read contradicts nothing."""
    story = settled()
    story.observe(story.block("R", "?", story.place("R"), raw="k", flags=QUARANTINED))
    story.until(READ_MS + 500, READ_MS + 10_000)
    assert len(story.state().sides[1].stays[-1].digest) == 1
    story.reread("R", "1", raw="k")
    assert story.findings == []
    assert story.state().sides[1].stays[-1].digest == digest("1")


def test_a_read_under_another_raw_key_is_no_gap() -> None:
    """Two rows of the store are one key of the contract: which of them is meant, nobody knows."""
    story = settled()
    story.reread("R", "3", raw="other")
    assert gaps(story) == []
    assert len(story.state().sides[1].stays[-1].digest) == 1
