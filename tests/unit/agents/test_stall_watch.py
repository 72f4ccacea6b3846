"""A watermark that stands still: stalled, or behind a log that is still being read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.agents.stall_watch import StallWatch
from app.core.finding import UnknownReason
from app.core.status import Coverage, StatusReport

AFTER_MS = 30_000
LAG, STALLED = UnknownReason.LAG, UnknownReason.STALLED
AUTHORITY = StatusReport(
    entity="orders",
    store="pg",
    is_authority=True,
    partition=0,
    coverage=Coverage.COVERED,
    watermark_ms=1_000,
    verified_through_ms=None,
    newest_beacon_ms=1_000,
    reported_at_wall_ms=0,
)
REPLICA = replace(AUTHORITY, store="my", is_authority=False)


class Watched:
    """A watch over an authority and a replica, whose numbers move on as told."""

    def __init__(self) -> None:
        self.watch = StallWatch(AFTER_MS)
        self.now_ms = 0
        self.reports = [AUTHORITY, REPLICA]

    def second(self, *, beacons: bool = True, moves: str = "", reads: str = "") -> dict[str, dict[UnknownReason, int]]:
        """Let a second pass in which the stores named move on or are read; return what is unknown of each."""
        self.now_ms += 1_000
        self.reports = [
            replace(
                report,
                newest_beacon_ms=self.now_ms if beacons else report.newest_beacon_ms,
                watermark_ms=self.now_ms if report.store in moves.split() else report.watermark_ms,
                records_read=report.records_read + (report.store in (moves + " " + reads).split()),
            )
            for report in self.reports
        ]
        return {r.store: dict(r.unknown_keys) for r in self.watch.note(self.reports, self.now_ms)}

    def seconds(
        self, count: int, *, beacons: bool = True, moves: str = "", reads: str = ""
    ) -> dict[str, dict[UnknownReason, int]]:
        """Let seconds pass, and return what is unknown after the last."""
        for _ in range(count - 1):
            self.second(beacons=beacons, moves=moves, reads=reads)
        return self.second(beacons=beacons, moves=moves, reads=reads)


def test_a_store_that_moves_on_is_not_stalled() -> None:
    """However long it takes."""
    watched = Watched()
    assert watched.seconds(100, moves="pg my") == {"pg": {}, "my": {}}
    assert not watched.watch.is_stalled("my")


def test_a_store_of_which_nothing_is_read_is_stalled_after_its_time() -> None:
    """Not before, and no longer than it stands still."""
    watched = Watched()
    watched.seconds(5, moves="pg my")
    assert watched.seconds(30, moves="pg")["my"] == {}
    assert watched.second(moves="pg")["my"] == {STALLED: 1}
    assert (watched.watch.is_stalled("my"), watched.watch.is_stalled("pg")) == (True, False)
    assert watched.second(moves="pg my")["my"] == {}


def test_a_store_whose_log_is_being_read_lags() -> None:
    """Its beacon waits behind a huge transaction; the alarm is raised all the same."""
    watched = Watched()
    watched.seconds(5, moves="pg my")
    assert watched.seconds(40, moves="pg", reads="my")["my"] == {LAG: 1}
    assert watched.watch.is_stalled("my")
    assert watched.seconds(20, moves="pg")["my"] == {STALLED: 1}, "reading has ended, and no beacon came"


def test_without_any_beacon_everything_is_stalled_though_logs_are_read() -> None:
    """The beacons' writer is dead: no transaction is to blame."""
    watched = Watched()
    watched.seconds(5, moves="pg my")
    assert watched.seconds(40, beacons=False, reads="pg my") == {"pg": {}, "my": {STALLED: 1}}


@pytest.mark.parametrize(("reads", "reason"), [("pg", LAG), ("", STALLED), ("my", STALLED)])
def test_a_replica_is_unknown_for_its_authority_s_sake_too(reads: str, reason: UnknownReason) -> None:
    """A verdict needs both stores; a stalled one outweighs one that lags."""
    watched = Watched()
    watched.seconds(5, moves="pg my")
    moves = "my" if reads != "my" else ""
    assert watched.seconds(40, moves=moves, reads=reads)["my"] == {reason: 1}


def test_a_partition_that_went_elsewhere_begins_anew_when_it_comes_back() -> None:
    """What another worker saw meanwhile is not known here."""
    watched = Watched()
    watched.seconds(20)
    gone, watched.reports = watched.reports, []
    watched.seconds(20)
    watched.reports = gone
    assert watched.seconds(20) == {"pg": {}, "my": {}}
