"""What a partition keeps until the broker or its table has it, and what it says no longer than it is so."""

from __future__ import annotations

import pytest

from app.core.finding import Stage
from app.core.fold import META, row_key
from app.core.journal import commit_rank
from app.core.limits import READ_MARGIN_MS, STAYS_WORTH_KEEPING
from app.core.observation import QUARANTINED, Observation
from app.core.position import binlog_place
from app.core.state_forms import decode
from app.core.verdict import ABSENT
from tests.unit.core.story import Story, digest

ROW = row_key(7, b"k")


def agreeing(stores: str = "AR") -> Story:
    """Return stores that agree on one row, covered."""
    story = Story(stores=stores)
    for store in stores:
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    return story


def test_a_row_that_is_gone_is_known_until_what_deleted_it_is_committed() -> None:
    """A commit that was torn before its chains brings the row's changes again: they must be known for redeliveries."""
    story = agreeing()
    story.commits = False
    for store in "AR":
        story.row(store, "two")
        story.row(store, "")
    story.until(2_500, 4_000)
    written = dict(story.shard.flush())
    state = written[ROW]
    assert state is not None
    assert [side.stays[-1].digest for side in decode(state).sides] == [ABSENT, ABSENT]
    assert ROW not in dict(story.shard.flush()), "a read may still show it"
    story.commits = True
    story.until(4_500, 4_000 + READ_MARGIN_MS)
    assert ROW in story.table
    story.until(4_500 + READ_MARGIN_MS, 6_500 + READ_MARGIN_MS)
    assert ROW not in story.table


class _Recorded(Story):
    """A story whose observations can be told again."""

    def __init__(self) -> None:
        self.observed: list[Observation] = []
        super().__init__()

    def observe(self, observation: Observation) -> None:
        """Fold one observation, and keep it."""
        self.observed.append(observation)
        super().observe(observation)


def test_a_row_that_is_gone_is_known_until_all_that_a_torn_commit_brings_again_was_read() -> None:
    """The worker that begins anew does not know when it was deleted: not before the logs are known as far once more."""
    story = _Recorded()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.commits = False
    story.observed.clear()
    for store in "AR":
        story.row(store, "two")
        story.row(store, "")
    story.until(2_500, 4_000)
    story.table[ROW] = next(value for key, value in story.shard.flush() if key == ROW and value is not None)
    story.commits = True
    story.restart()
    for observation in [*story.observed]:
        story.observe(observation)
        assert ROW in story.table
    assert story.findings == []
    story.until(4_500, 6_500 + READ_MARGIN_MS)
    assert ROW not in story.table


def test_only_so_many_rows_wait_to_be_deleted_and_the_others_stay_known_as_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a log stands still rows come and go without end; one beyond the bound goes when it comes and goes again."""
    monkeypatch.setattr("app.core.gone.GONE_ROWS_MAX", 1)
    story, beyond = agreeing(), row_key(7, b"x")
    for at_ms, key in ((2_500, "k"), (3_500, "x")):
        for value in ("two", ""):
            for store in "AR":
                story.row(store, value, key=key)
        story.until(at_ms, at_ms + 500)
    story.until(4_500, 4_500 + 2 * READ_MARGIN_MS)
    assert ROW not in story.table
    assert [side.stays[-1].digest for side in decode(story.table[beyond]).sides] == [ABSENT, ABSENT]
    for value in ("three", ""):
        for store in "AR":
            story.row(store, value, key="x")
    story.until(5_000 + 2 * READ_MARGIN_MS, 5_000 + 4 * READ_MARGIN_MS)
    assert beyond not in story.table
    assert story.findings == []


def test_a_row_that_is_gone_and_comes_back_is_not_deleted() -> None:
    """What is there again by the next commit stays."""
    story = agreeing()
    story.commits = False
    for store in "AR":
        story.row(store, "")
    story.until(2_500, 4_000)
    story.shard.flush()
    story.row("A", "again")
    assert dict(story.shard.flush())[ROW] is not None
    story.until(4_500, 10_000)
    assert dict(story.shard.flush()).get(ROW, b"") is not None


def test_a_drift_is_held_until_it_is_acknowledged_though_its_replica_is_uncovered_meanwhile() -> None:
    """Or the next drift of the row would never be told."""
    story = agreeing("ARS")
    story.row("R", "rogue")
    story.until(2_500, 4_000)
    story.acknowledges = False
    story.row("R", "one")
    story.until(4_500, 5_500)
    assert story.stages()[-1] is Stage.RESOLVED
    again = binlog_place(1, 1_000, 0, is_delete=False)
    story.read_beacon_again("R", again)
    story.row("R", "one", snapshot=True, place=again)
    story.places["R"] = 1_000
    story.started = "AS"
    story.until(6_000, 7_000)
    story.acknowledges = True
    story.shard.acknowledged(story.findings)
    story.started = "ARS"
    story.until(7_500, 9_000)
    story.row("R", "rogue again")
    story.until(9_500, 12_000)
    assert story.stages().count(Stage.CONFIRMED) == 2


def unreadable_for_a_moment(stores: str) -> Story:
    """Return stores that agreed on a row which the authority's topic then had a record of that could not be read."""
    story = agreeing(stores)
    story.observe(story.block("A", "", binlog_place(1, 1_000, 0, is_delete=False), flags=QUARANTINED))
    story.places["A"] = 1_000
    story.until(2_500, 3_000)
    assert story.shard.live[7].unknown_keys(0).total() == 1
    return story


def test_a_row_that_is_never_at_rest_is_known_again_once_both_stores_have_shown_one_state() -> None:
    """It differs whenever it is looked at, and follows within its window; what was unreadable is long ago."""
    story = unreadable_for_a_moment("AR")
    story.row("A", "0")
    for n in range(1, 3 * STAYS_WORTH_KEEPING):
        story.row("A", f"{n}")
        story.row("R", f"{n - 1}")
        story.beacons(3_000 + 100 * n)
    assert story.shard.live[7].unknown_keys(0).total() == 0
    assert story.findings == []


def test_a_row_of_several_replicas_that_is_never_at_rest_is_known_again_once_all_have_shown_one_state() -> None:
    """All follow at once, and it changes before each beacon: it is known with the next one, not when it rests."""
    story = unreadable_for_a_moment("ARS")
    for n in range(2):
        for store in "ARS":
            story.row(store, f"{n}")
        story.beacons(3_000 + 100 * n)
    assert story.shard.live[7].unknown_keys(0).total() == 0
    assert story.findings == []


def test_a_store_is_written_behind_the_beacons_that_it_stands_at() -> None:
    """A commit that is torn between them would let beacons that come again look like those of a log that began anew."""
    story = Story()
    story.commits = False
    story.until(500, 2_000)
    keys = [key for key, _ in story.shard.flush()]
    for store in (b"A", b"R"):
        beacons = [n for n, key in enumerate(keys) if key.startswith(META + b"b" + store)]
        assert len(beacons) > 1
        assert max(beacons) < keys.index(META + b"s" + store)


def test_a_drift_is_told_again_wherever_its_commit_was_torn() -> None:
    """Its row may be written and nothing behind it: a restart finds it all the same."""
    story = agreeing()
    story.row("R", "rogue")
    story.commits = story.acknowledges = False
    story.until(2_500, 5_000)
    told = story.stages()
    assert told == [Stage.CONFIRMED, Stage.OVERTAKEN]
    writes = story.shard.flush()
    until = next(n for n, (key, _) in enumerate(writes) if key == ROW) + 1
    story.table |= {key: value for key, value in writes[:until] if value is not None}
    story.restart()
    assert story.stages() == [*told, Stage.OVERTAKEN]


def test_what_is_written_together_is_in_the_order_of_ranks() -> None:
    """A table may merge several of these before it sends them: the ranks alone must tell the order."""
    story = agreeing()
    story.row("R", "rogue")
    story.commits = False
    story.until(2_500, 5_000)
    story.row("R", "one")
    story.until(5_500, 9_000)
    writes = story.shard.flush()
    assert len({commit_rank(write) for write in writes}) > 3
    assert writes == sorted(writes, key=commit_rank)


def test_where_a_first_snapshot_stands_outlives_a_restart() -> None:
    """Its store's beacons were not read yet; a second snapshot would be taken for it, and its rows for old ones."""
    story = Story(late="R")
    story.row("R", "one", snapshot=True)
    story.row("R", "two")
    story.restart()
    story.row("R", "three", snapshot=True, place=binlog_place(1, 500, 0, is_delete=False))
    assert story.state().sides[1].stays[-1].digest == digest("three")
