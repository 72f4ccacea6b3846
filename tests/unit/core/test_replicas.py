"""More than one replica: each is judged as soon as its own pair is covered, whatever becomes of the others."""

from __future__ import annotations

from app.core.finding import DriftKind, Stage
from app.core.observation import Barrier, Beacon
from app.core.position import BEFORE_ALL, binlog_place
from tests.unit.core.story import Story

CONFIRMED, RESOLVED = Stage.CONFIRMED, Stage.RESOLVED


def story_of_three() -> Story:
    """Return an authority and a replica that agree on one row, and a second replica that nobody has read."""
    story = Story(stores="ARS", late="S")
    for store in "AR":
        story.row(store, "one", key="k", snapshot=True)
    return story


def test_untouched_differences_are_told_though_another_replica_is_never_covered() -> None:
    """The sweep of a pair waits for no other pair."""
    story = story_of_three()
    story.row("A", "one", key="only there", snapshot=True)
    story.until(500, 4_000)
    assert [(f.replica, f.kind) for f in story.findings if f.stage is CONFIRMED] == [("R", DriftKind.MISSING)]


def test_rows_at_both_ends_of_all_keys_are_judged() -> None:
    """A pass over the rows has no first and no last key: one that only the replica has may stand beyond all others."""
    story = Story()
    for key in ("\x00", "\U0010ffff"):
        story.row("R", "extra", key=key, snapshot=True)
    story.row("A", "missing", key="m", snapshot=True)
    story.until(500, 4_000)
    kinds = {f.canonical_key.decode(): f.kind for f in story.findings}
    assert kinds == {"\x00": DriftKind.EXTRA, "m": DriftKind.MISSING, "\U0010ffff": DriftKind.EXTRA}


def test_only_the_replica_that_nobody_has_read_is_unproven() -> None:
    """What is verified of one replica does not rest on another."""
    story = story_of_three()
    story.until(500, 4_000)
    assert story.shard.verified_through_ms(7, 0) == 4_000
    assert story.shard.verified_through_ms(7, 1) is None
    assert (story.shard.live[7].waiting_keys(0), story.shard.live[7].waiting_keys(1)) == (0, 0)


def test_rows_that_agree_are_not_held_in_memory_for_a_replica_that_nobody_has_read() -> None:
    """Else every row that is ever written would be."""
    story = story_of_three()
    story.until(500, 2_000)
    for store in "AR":
        story.row(store, "two")
    story.row("S", "something")
    story.until(2_500, 4_000)
    assert story.shard.live[7].states == {}
    assert story.findings == []


def test_a_replica_that_is_covered_later_is_judged_from_then_on() -> None:
    """Its rows are swept when it becomes covered, those that nobody touches too; the others stay proven meanwhile."""
    story = story_of_three()
    story.until(500, 4_000)
    story.row("S", "other", snapshot=True)
    story.start("S")
    story.sweeps = False
    story.until(4_500, 5_000)
    assert story.shard.verified_through_ms(7, 0) == 5_000
    assert story.shard.verified_through_ms(7, 1) is None
    story.sweeps = True
    story.until(5_500, 8_000)
    assert story.stages(replica="S") == [CONFIRMED, Stage.OVERTAKEN]
    assert story.findings[0].evidence.vouched_until_ms >= 4_500
    assert story.stages(replica="R") == []


def test_a_replica_that_is_not_swept_yet_is_held_against_all_that_a_row_showed() -> None:
    """A row that was inserted everywhere since is forgotten in all stores or in none, though another is swept."""
    story = story_of_three()
    story.until(500, 4_000)
    story.start("S")
    story.sweeps = False
    story.until(4_500, 8_000)
    for value in ("one", "two"):
        for store in "ARS":
            story.row(store, value, key="new")
        story.until(story.acknowledged_ms["A"] + 490, story.acknowledged_ms["A"] + 4_000)
    assert story.findings == []


def test_a_replica_that_lags_when_it_is_covered_is_not_blamed_for_what_was_forgotten() -> None:
    """What the authority showed before its watermark may be forgotten, so a replica is judged from there on only."""
    story = story_of_three()
    story.row("S", "one", snapshot=True)
    story.start("S")
    story.started = "AR"
    story.until(500, 2_000)
    for store in "AR":
        story.row(store, "two")
    story.until(2_500, 20_000)
    story.started = "S"
    story.until(500, 2_000)  # its log, as it was read after a long stall
    story.row("S", "two")
    story.until(2_500, 20_000)
    story.started = "ARS"
    story.until(20_500, 24_000)
    assert story.findings == []
    assert story.shard.verified_through_ms(7, 1) == 24_000


def test_what_a_replica_showed_before_it_was_judged_is_no_word_of_its_pipeline() -> None:
    """When the authority came back to a state is forgotten, as another replica agreed: it may have been since."""
    story = Story(pipeline=True, stores="ARS", late="S")
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    for value, last_ms in (("two", 4_000), ("one", 6_000)):
        for store in "AR":
            story.row(store, value)
        story.until(last_ms - 1_500, last_ms)
    story.row("S", "one", snapshot=True)
    story.start("S")
    story.started = "S"
    story.until(500, 2_500)
    story.row("S", "two")  # and the authority's way back is still under way in its pipeline
    story.until(3_000, 6_000)
    story.started = "ARS"
    story.until(6_500, 9_000)
    assert story.stages(replica="S") == [CONFIRMED]


def test_what_a_replica_showed_before_it_was_covered_is_kept_in_its_order() -> None:
    """A row of a replica may be read long before the beacons around it: it has not shown that since ever."""
    story = story_of_three()
    story.row("S", "one", snapshot=True)
    story.start("S")
    story.places["S"] = 500
    story.row("S", "two")  # its partition is read ahead of the others
    story.places["S"] = 101
    story.started = "AR"
    story.until(500, 2_000)
    story.started = "S"
    story.until(500, 5_500)
    story.started = "AR"
    story.until(2_500, 5_500)
    for store in "AR":
        story.row(store, "two")
    story.started, story.places["S"] = "ARS", 501
    story.until(6_000, 9_000)
    assert story.findings == []
    assert story.shard.verified_through_ms(7, 1) == 9_000


def test_a_broken_epoch_of_one_replica_leaves_the_others_proven() -> None:
    """Also what the others still had to sweep is swept."""
    story = story_of_three()
    story.row("S", "one", snapshot=True)
    story.start("S")
    story.sweeps = False
    story.row("A", "one", key="only there", snapshot=True)
    story.until(500, 1_500)
    again = binlog_place(1, 900, 0, is_delete=False)
    beacon = Beacon("S", 1, story.sequence, 2_000, 1_510, again, streamed=False, server="server")
    story.observe(Barrier(beacon, story._next("S.beacon"), [("S.t", 0, story.offsets["S.t"])]))
    story.started = "AR"
    story.sweeps = True
    story.until(2_500, 6_000)
    assert [f.replica for f in story.findings if f.stage is CONFIRMED] == ["R"]
    assert story.shard.verified_through_ms(7, 0) == 6_000
    assert story.shard.verified_through_ms(7, 1) is None


def test_rows_that_a_truncate_cut_are_judged_though_another_replica_s_epoch_breaks() -> None:
    """A truncate's pass over the rows goes on."""
    story = story_of_three()
    story.row("S", "one", snapshot=True)
    story.start("S")
    story.until(500, 1_500)
    assert story.shard.live[7].states == {}
    story.sweeps = False
    story.cut("R")
    again = binlog_place(1, 900, 0, is_delete=False)
    beacon = Beacon("S", 1, story.sequence, 2_000, 1_510, again, streamed=False, server="server")
    story.observe(Barrier(beacon, story._next("S.beacon"), [("S.t", 0, story.offsets["S.t"])]))
    story.started, story.sweeps = "AR", True
    story.until(2_500, 6_000)
    assert story.stages(replica="R")[0] is CONFIRMED


def test_what_is_swept_of_each_replica_survives_a_restart() -> None:
    """A worker that starts again does not sweep what was swept, and goes on with what was not."""
    story = story_of_three()
    story.until(500, 2_000)
    story.row("S", "other", snapshot=True)
    story.start("S")
    story.sweeps = False
    story.until(2_500, 3_000)
    story.restart()
    story.started = "AR"
    story.until(3_500, 4_000)
    assert story.shard.verified_through_ms(7, 0) == 4_000
    story.started, story.sweeps = "ARS", True
    story.until(4_500, 6_000)
    assert story.stages(replica="S")[0] is CONFIRMED


def test_what_is_read_of_a_log_is_counted_per_store_while_its_beacon_waits() -> None:
    """A huge transaction moves the positions of its own store's tables, and no watermark."""
    story = story_of_three()
    story.until(500, 1_000)
    before = [story.shard.progress.records_read(store) for store in "ARS"]
    for n in range(5):
        story.row("R", f"{n}")
    assert [story.shard.progress.records_read(store) for store in "ARS"] == [before[0], before[1] + 5, before[2]]
    assert story.shard.progress.entities[7].watermark_ms == [1_000, 1_000, None]


def test_a_row_that_was_cut_is_known_to_be_after_a_restart() -> None:
    """It is held for another replica's drift, and judged before the sweep behind the truncate comes to it."""
    story = Story(stores="ARS")
    for store in "ARS":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.row("S", "rogue")
    story.until(2_500, 5_000)
    assert story.stages(replica="S") == [CONFIRMED, Stage.OVERTAKEN]
    story.sweeps = False
    story.cut("R")
    story.restart()
    story.until(5_500, 9_000)
    assert story.stages(replica="R") == [CONFIRMED, Stage.OVERTAKEN]


def test_a_pair_is_judged_from_where_nothing_is_forgotten() -> None:
    """While the authority was not read, only a row's newest states were kept: of what was before, nobody can tell."""
    story = _read_without_its_authority()
    story.until(3_000, 4_500, "A")
    assert story.shard.verified_through_ms(7, 0) is None, "of this time, states of the replica are forgotten"
    story.beacons(5_000, "A")
    assert story.shard.progress.entities[7].base_ms == [5_000]
    assert story.stages() == []
    story.until(7_000, 9_000)
    assert story.stages() == [CONFIRMED, Stage.OVERTAKEN]


def test_what_is_forgotten_is_so_after_a_restart() -> None:
    """Or the pair would be judged on a time of which its rows know nothing."""
    story = _read_without_its_authority()
    forgotten_to = [*story.shard.progress.entities[7].forgotten_to]
    story.restart()
    assert story.shard.progress.entities[7].forgotten_to == forgotten_to
    assert forgotten_to[1] > forgotten_to[0] == BEFORE_ALL


def _read_without_its_authority() -> Story:
    """Return a replica whose row changed every second, and an authority that was read only for a moment since."""
    story = Story(late="A")
    story.row("R", "one", snapshot=True)
    for n in range(7):
        story.until(1_000 * n + 500, 1_000 * n + 500, "R")
        story.row("R", f"rogue {n}")
    story.start("A")
    story.row("A", "one", snapshot=True)
    story.beacons(1_000, "A")
    return story
