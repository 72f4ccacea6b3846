"""What the fold must withstand when several things go wrong at once: each test was once a wrong or lost verdict."""

from __future__ import annotations

from copy import deepcopy

from app.core.finding import Stage, UnknownReason
from app.core.fold import META, Shard, row_key
from app.core.keystate import KeyState
from app.core.limits import SWEEP_KEYS
from app.core.observation import QUARANTINED, Barrier, Beacon, Link, RowBlock, Truncated
from app.core.position import STREAM, binlog_place, epoch_of, position
from app.core.rows import BlockOfStore, fold_change
from app.core.state_forms import encode
from app.core.verdict import ABSENT, reason_of
from tests.unit.core.story import WINDOW_MS, Story, contract, digest
from tests.unit.core.test_epochs import Log, covered_log, place


def test_damage_after_a_verified_repair_is_told_however_far_the_watermark_jumps() -> None:
    """A row that is damaged again right after its repair drifts again, also if its stores stalled meanwhile."""
    story = Story()
    story.row("A", "good", snapshot=True)
    story.row("R", "good", snapshot=True)
    story.until(500, 1_000)
    story.row("R", "bad", transaction=1)
    story.until(1_500, 20_000)
    command_id = story.drift().command_id
    story.row("R", "good", transaction=2)
    story.ledger(command_id, 2)
    assert story.stages()[-1] is Stage.VERIFIED
    story._beacon("R", 20_300)
    story.row("R", "worse", transaction=3)
    story._beacon("R", 20_600)
    story._beacon("R", 90_000)  # the common time jumps over both
    story.until(90_500, 92_000)
    assert story.stages()[-2:] == [Stage.CONFIRMED, Stage.OVERTAKEN]
    assert story.stages().count(Stage.CONFIRMED) == 2


def test_coverage_sweeps_all_rows_though_a_truncate_was_being_swept() -> None:
    """A pass that began before coverage has judged nothing: rows that it went by are judged all the same."""
    story = Story()
    for n in range(SWEEP_KEYS + 1):
        story.row("A", "only here", key=f"k{n:05}", snapshot=True)
    shard = story.shard
    link = Link("R.t", 0, 0, 1)
    story.offsets["R.t"] = 1
    cut = Truncated(7, 1, link, binlog_place(1, 101, 0, is_delete=False), 0, 9)
    story.places["R"] = 101
    story._take(shard.fold(cut, {}))
    wanted = shard.sweep_range()
    assert wanted is not None
    start, end, limit = wanted
    story._take(shard.sweep(sorted((k, v) for k, v in story.table.items() if start <= k < end)[:limit]))
    story.sweeps = False
    story.until(500, 1_000)
    story.sweeps = True
    story.until(1_500, 4_000)
    assert len({f.canonical_key for f in story.findings if f.canonical_key}) == SWEEP_KEYS + 1


def test_a_row_that_a_new_snapshot_did_not_show_is_not_judged_before_its_sweep() -> None:
    """What was deleted in both stores while one connector had lost its place is no drift, however late the sweep is."""
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    story.row("A", "")
    again = binlog_place(1, 900, 0, is_delete=False)
    link = story._next("R.beacon")
    beacon = Beacon("R", 1, story.sequence, 2_000, 1_510, again, streamed=False, server="server")
    shard = story.shard
    story._take(shard.fold(Barrier(beacon, link, [("R.t", 0, story.offsets["R.t"])]), {}))
    story.places["R"] = 900
    story.sweeps = False
    story.until(2_500, 8_000)
    assert shard.sweep_range() is not None
    assert story.findings == []


def test_a_row_that_a_new_snapshot_did_not_show_is_late_from_its_coverage_on() -> None:
    """It is judged since the authority changed it, before the sweep has come to it, and what it was vouches no more."""
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    again = binlog_place(1, 900, 0, is_delete=False)
    story.read_beacon_again("R", again)
    story.places["R"] = 900
    story.sweeps = False
    story.until(2_500, 3_000)
    story.row("A", "w")
    story.until(3_500, 8_000)
    (confirmed,) = [finding for finding in story.findings if finding.stage is Stage.CONFIRMED]
    covered_ms = 3_000  # the beacon that tells when the first one behind that snapshot was acknowledged
    assert confirmed.evidence.judged_at_ms == covered_ms + WINDOW_MS


def test_a_left_out_value_is_unknown_after_a_change_that_nobody_could_read() -> None:
    """The unreadable change may have changed it; the state before it says nothing any more."""
    shard = Shard((contract(pipeline=False),), 0)
    entity, state = shard.progress.entities[7], KeyState.new(2)
    whole, left_out = digest("a") + digest("large"), digest("b") + bytes(16)
    for n, (flags, digests) in enumerate([(1, whole), (1 | QUARANTINED, bytes(32)), (1, left_out)]):
        at = binlog_place(1, n + 1, 0, is_delete=False)
        block = RowBlock(7, 0, Link("A.t", 0, n, n + 1), 2, [b"k"], b"rawkey__", bytes([flags]), at, [n], [1], digests)
        fold_change(BlockOfStore.of(shard.progress, entity, block), state, 0, position(0, STREAM, at))
    assert reason_of(state.sides[0].stays[-1].digest) is not None


def test_a_row_that_came_back_after_a_snapshot_had_not_shown_it_was_absent_in_between() -> None:
    """Its copy, which is not there yet either, is vouched for until then."""
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    again = binlog_place(1, 900, 0, is_delete=False)
    beacon = Beacon("A", 1, story.sequence, 2_000, 1_510, again, streamed=False, server="server")
    story.observe(Barrier(beacon, story._next("A.beacon"), [("A.t", 0, story.offsets["A.t"])]))
    story.places["A"] = 900
    story.row("A", "w", created=True)
    assert [stay.digest for stay in story.state().sides[0].stays] == [digest("v"), ABSENT, digest("w")]


def test_a_drift_outlives_a_worker_whose_commit_was_torn() -> None:
    """Its row was written and the beacons were not: when they come again, time is behind what was told for a while."""
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    story.row("R", "bad")
    story.until(2_500, 3_000)
    before = dict(story.table)
    counters = deepcopy((story.offsets, story.places, story.acknowledged_ms, story.sequence))
    story.until(3_500, 5_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.OVERTAKEN]
    written = {key: value for key, value in story.table.items() if key[:1] != META or key[1:2] == b"n"}
    story.table = before | written
    story.offsets, story.places, story.acknowledged_ms, story.sequence = counters
    story.restart()
    story.until(3_500, 5_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.OVERTAKEN]


def test_a_row_that_could_not_be_read_is_known_again_with_its_next_change() -> None:
    """Both stores show one state again, so nothing is unknown any more, and a restart has nothing to find."""
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    story.observe(story.block("A", "w", story.place("A"), flags=QUARANTINED))
    story.until(2_500, 3_500)
    unknown = story.shard.live[7].unknown_keys(0)
    assert unknown == {UnknownReason.QUARANTINED: 1}
    for store in "AR":
        story.row(store, "x")
    story.until(4_000, 6_000)
    assert story.shard.live[7].unknown_keys(0).total() == 0
    assert story.shard.notes.noted == {}


def test_a_snapshot_of_a_log_that_began_again_covers() -> None:
    """The connector reads the restored store first and streams then: one snapshot is enough."""
    log = covered_log()
    log.beacon(50)
    log.row(7, snapshot=True)
    log.beacon(7, streamed=False)
    assert not log.covered
    assert not log.beacon(8), "the break was told with the snapshot"
    assert log.covered


def test_beacons_of_the_old_log_that_come_late_are_not_of_the_new_one() -> None:
    """A chain that lags behind the one that told of the restart is still in the old log."""
    log = covered_log()
    log.beacon(50)
    log.row(7, snapshot=True)
    log.beacon(51)
    log.beacon(7, streamed=False)
    assert not log.beacon(8)
    assert log.covered


def test_rows_of_the_old_log_that_come_late_are_not_of_the_new_one() -> None:
    """A lagging partition's old row must not stand behind the new snapshot's."""
    log: Log = covered_log()
    log.beacon(50)
    log.row(7, snapshot=True)
    other = log.progress.chains["A.t", 0]
    other.newest = position(0, STREAM, place(40))
    late, _ = log.progress.place_row("A", other, place(49), snapshot=False)
    assert epoch_of(late) == 0
    log.beacon(7, streamed=False)
    log.beacon(8)
    behind, _ = log.progress.place_row("A", other, place(60), snapshot=False)
    assert epoch_of(behind) == 1, "coverage waited for all of the old log"


def test_a_truncated_row_is_late_from_the_truncate_on_though_the_sweep_was_late() -> None:
    """A change of the authority that comes before the sweep does not make the row's agreement longer than it was."""
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    story.sweeps = False
    link = story._next("R.t")
    story.places["R"] += 1
    cut = binlog_place(1, story.places["R"], 0, is_delete=False)
    story.observe(Truncated(7, 1, link, cut, link.begin, 9))
    story.until(2_500, 9_000)
    story.row("A", "w")
    story.until(9_500, 11_000)
    assert story.stages()[0] is Stage.CONFIRMED
    assert story.findings[0].evidence.vouched_until_ms < 3_000


def test_commands_of_drifts_that_are_over_are_forgotten() -> None:
    """Memory holds the commands of open drifts only."""
    story = Story()
    for store in "AR":
        story.row(store, "good", snapshot=True)
    story.until(500, 1_000)
    story.row("R", "bad", transaction=1)
    story.until(1_500, 20_000)
    assert len(story.shard._commands) == 1
    story.row("R", "good", transaction=2)
    story.until(20_500, 90_000)
    assert story.stages()[-1] is Stage.RESOLVED
    assert not story.shard._commands


def test_states_forgotten_before_coverage_blame_nobody() -> None:
    """An authority whose rows were read far ahead of its beacons had states before the few that are kept."""
    story = Story()
    for store in "AR":
        story.row(store, "v0", snapshot=True)
    story.places["A"] = 500
    for n in range(1, 8):
        story.row("A", f"v{n}")
    story.places["A"] = 101
    story.until(500, 3_000)
    story.places["A"] = 600
    story.row("R", "v7")
    story.until(3_500, 6_000)
    assert story.findings == []
    story.row("R", "rogue")
    story.until(6_500, 9_000)
    assert story.stages()[0] is Stage.CONFIRMED


def test_a_row_put_back_after_a_truncate_was_away_though_it_is_read_first() -> None:
    """The truncate travels in another partition: a row that comes back as it was is an insert where a row is shown."""
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    cut = story.place("R")
    for at_ms in range(2_500, 4_500, 500):
        story._beacon("R", at_ms)
    story.row("R", "v", created=True)
    story.observe(Truncated(7, 1, Link("R.t", 1, 0, 1), cut, 0, 9))
    story.until(4_500, 6_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.RESOLVED]
    assert story.findings[0].evidence.vouched_until_ms == 2_510, "the acknowledgement of the beacon behind the cut"


def test_a_row_put_back_at_once_after_a_truncate_is_no_drift() -> None:
    """It was away for less than the window, whichever is read first."""
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    cut = story.place("R")
    story.row("R", "v", created=True)
    story.observe(Truncated(7, 1, Link("R.t", 1, 0, 1), cut, 0, 9))
    story.until(2_500, 6_000)
    assert story.findings == []
    assert story.shard.live[7].states == {}


def test_a_snapshot_is_judged_from_when_the_beacon_behind_it_was_acknowledged() -> None:
    """That beacon was slow: issued before the snapshot was read, it stood behind it in the log more than a second on.

    What the replica showed in between nobody has read, and may have been what it should.
    """
    story = Story()
    story.row("A", "new", snapshot=True)
    story.row("R", "old", snapshot=True)
    story.beacons(500)
    story.acknowledged_ms["R"] = acknowledged_ms = 1_900
    story.until(1_000, 6_000)
    (confirmed,) = [finding for finding in story.findings if finding.stage is Stage.CONFIRMED]
    assert confirmed.evidence.judged_at_ms >= acknowledged_ms + WINDOW_MS


def test_no_drift_is_over_while_time_is_behind_what_was_judged() -> None:
    """After a torn commit a row may be vouched for up to a later time than the beacons that are read again tell.

    It was judged when that window had ended, and did not agree then.
    """
    story = Story()
    for store in "AR":
        story.row(store, "v", snapshot=True)
    story.until(500, 2_000)
    story.row("A", "w")  # and its pipeline is late
    story.until(2_500, 5_000)
    assert story.stages() == [Stage.CONFIRMED]
    state, vouched_ms = story.state(), 6_000
    state.replicas[0].vouched_until_ms = vouched_ms
    story.table[row_key(7, b"k")] = encode(state)
    story.restart()
    story.row("R", "w")
    story.until(5_500, vouched_ms + WINDOW_MS)
    assert story.stages() == [Stage.CONFIRMED]
    story.until(vouched_ms + WINDOW_MS + 500, vouched_ms + WINDOW_MS + 1_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.RESOLVED]
