"""When a worker ends for its disk, when it goes on, and what it says last."""

from __future__ import annotations

from app.agents.disk_watch import DiskWatch, with_disk_full
from app.core.finding import UnknownReason
from app.core.status import Coverage, StatusReport


def _report(*, is_authority: bool, waiting_keys: int) -> StatusReport:
    return StatusReport("items", "my", is_authority, 0, Coverage.COVERED, 1, 1, 1, 0, waiting_keys=waiting_keys)


def test_the_work_ends_below_the_mark_and_goes_on_a_quarter_above_it() -> None:
    """Between the two nothing changes, so that a worker does not end and begin in turns."""
    free = 0
    watch = DiskWatch("/state", 1_000, lambda: free)
    seen = []
    for now_free in (1_000, 999, 1_249, 1_250):
        free = now_free
        seen.append((watch.is_low, watch.is_freed))
    assert seen == [(False, False), (True, False), (False, False), (False, True)]


def test_the_fault_says_where_and_what_to_do() -> None:
    """A person reads where space is missing, and which setting is the mark."""
    fault = DiskWatch("/state", 1_000, lambda: 0).fault()
    assert fault.where == "/state"
    assert "disk_free_bytes_min" in fault.hint


def test_of_no_replica_anything_is_known_and_the_authority_needs_no_verdict() -> None:
    """At least one key is unknown, and as many as wait."""
    told = with_disk_full(
        [
            _report(is_authority=True, waiting_keys=0),
            _report(is_authority=False, waiting_keys=0),
            _report(is_authority=False, waiting_keys=7),
        ]
    )
    assert [report.unknown_keys for report in told] == [{}, {UnknownReason.DISK: 1}, {UnknownReason.DISK: 7}]
