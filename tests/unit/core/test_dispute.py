"""A repair refused with `row_moved` though the log knows of no change: a fault of ours, told as `digest_mismatch`."""

from __future__ import annotations

from app.codec.records import FixedSchemas, RecordCodec
from app.core.finding import Finding, Stage, UnknownReason, Verdict
from app.core.published import PublishedFinding
from app.core.replay import Again, Lives, recompute
from tests.unit.core.story import Story

CONFIRMED, OVERTAKEN, DISPUTED, RESOLVED = Stage.CONFIRMED, Stage.OVERTAKEN, Stage.DISPUTED, Stage.RESOLVED
ROW = b"\x01\x00\x00\x00\x07k"


def drifted() -> tuple[Story, bytes]:
    """Return a story with an overtaken drift, and the id of its repair."""
    story = Story()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN]
    drift = story.state().replicas[0].drift
    assert drift is not None
    return story, drift.command_id


def refused(story: Story, command_id: bytes, reason: str = "row_moved") -> None:
    """Let the ledger show the refusal."""
    story.ledger(command_id, 9, "refused", reason)


def last(story: Story) -> Finding:
    """Return the newest finding."""
    return story.findings[-1]


def test_a_refusal_is_disputed_once_the_log_is_known_beyond_it() -> None:
    """Only then is it certain that no change of the row explains what the applier found."""
    story, command_id = drifted()
    refused(story, command_id)
    story.until(5_500, 5_500)
    assert story.stages() == [CONFIRMED, OVERTAKEN], "when the beacon behind it was acknowledged is not known yet"
    story.until(6_000, 9_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN, DISPUTED]
    assert (last(story).verdict, last(story).reason) == (Verdict.UNKNOWN, UnknownReason.DIGEST_MISMATCH)
    assert last(story).command_id == command_id


def test_a_refusal_of_a_row_that_was_cut_is_disputed_by_nobody() -> None:
    """The applier found no row where a truncate stands before its refusal in the log; no sweep came to it yet."""
    story, command_id = drifted()
    story.sweeps = False
    story.cut("R")
    refused(story, command_id)
    story.until(5_500, 9_000)
    assert DISPUTED not in story.stages()


def test_what_is_unknown_ends_with_coverage() -> None:
    """Why a row was unknown says nothing of the time after: it is judged again, as all rows are."""
    story, command_id = drifted()
    refused(story, command_id)
    story.until(5_500, 9_000)
    assert story.shard.live[7].unknown_keys(0)
    again = story.row("R", "other", key="other")
    story.read_beacon_again("R", again)
    assert not story.shard.live[7].unknown_keys(0)


def test_what_is_disputed_is_unknown_and_neither_drift_nor_proven() -> None:
    """Until the row moves or agrees, nobody knows what the replica holds."""
    story, command_id = drifted()
    proven_ms = story.shard.verified_through_ms(7, 0)
    assert proven_ms == 5_000
    refused(story, command_id)
    story.until(5_500, 9_000)
    assert story.shard.live[7].unknown_keys(0) == {UnknownReason.DIGEST_MISMATCH: 1}
    assert not +story.shard.live[7].open_drifts
    through_ms = story.shard.verified_through_ms(7, 0)
    assert through_ms is not None
    assert through_ms < proven_ms


def test_a_row_that_moved_explains_the_refusal() -> None:
    """Also one that moved away and back, and one whose change is read after its ledger row."""
    story, command_id = drifted()
    story.row("R", "more rogue")
    story.row("R", "rogue")
    refused(story, command_id)
    story.until(5_500, 9_000)
    assert DISPUTED not in story.stages()


def test_a_change_that_is_read_after_the_refusal_explains_it() -> None:
    """The ledger's partition may be read ahead of the row's."""
    story, command_id = drifted()
    story.places["R"] += 10
    refused(story, command_id)
    story.places["R"] -= 10
    story.row("R", "more rogue")
    story.places["R"] += 10
    story.until(5_500, 9_000)
    assert DISPUTED not in story.stages()


def test_other_refusals_dispute_nothing() -> None:
    """The authority moved, or a column does not hold the value: what the log tells of the replica is not in doubt."""
    story, command_id = drifted()
    refused(story, command_id, "authority_moved")
    refused(story, b"x" * 16)
    story.until(5_500, 9_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN]


def test_a_disputed_row_that_moves_may_be_repaired_again() -> None:
    """Its next image is read anew by both; and one that agrees is resolved."""
    story, command_id = drifted()
    refused(story, command_id)
    story.until(5_500, 9_000)
    story.row("R", "more rogue")
    story.until(9_500, 12_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN, DISPUTED, OVERTAKEN]
    assert not story.shard.live[7].unknown_keys(0)
    story.row("R", "one")
    story.until(12_500, 15_000)
    assert story.stages()[-1] is RESOLVED


def test_a_restart_forgets_no_refusal() -> None:
    """What waits for the log is in the row's state."""
    story, command_id = drifted()
    refused(story, command_id)
    story.restart()
    story.until(5_500, 9_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN, DISPUTED]


def test_subscribers_read_the_dispute_and_replay_follows_it() -> None:
    """It goes out with its reason; it rests on the ledger, so it is not judged again."""
    story, command_id = drifted()
    refused(story, command_id)
    story.until(5_500, 9_000)
    codec = RecordCodec("shop", FixedSchemas())
    read = codec.read_finding(codec.finding(PublishedFinding(last(story), b"sealed", b"h" * 16))).finding
    assert (read.stage, read.reason, read.command_id) == (DISPUTED, UnknownReason.DIGEST_MISMATCH, command_id)
    assert recompute(last(story)).again is Again.NOT_JUDGED
    lives = Lives()
    assert [lives.follow(finding) for finding in story.findings] == ["", "", ""]
