"""Reports of partitions joined into one status: the slowest partition decides, counts add up."""

from __future__ import annotations

from dataclasses import replace

from app.core.finding import DriftKind, UnknownReason
from app.core.status import Coverage, StatusReport, WorkerStatus, joined, owners, record_key

REPORT = StatusReport(
    entity="orders",
    store="my",
    is_authority=False,
    partition=0,
    coverage=Coverage.COVERED,
    watermark_ms=1_000,
    verified_through_ms=900,
    newest_beacon_ms=1_100,
    reported_at_wall_ms=50,
    waiting_keys=2,
    open_drifts={DriftKind.STALE: 1},
    unknown_keys={UnknownReason.SCHEMA: 3},
)


def test_the_slowest_partition_holds_up_what_is_promised() -> None:
    """Times are the earliest, the newest beacon the latest, the report's age the oldest."""
    slow = replace(
        REPORT, partition=1, watermark_ms=400, verified_through_ms=300, newest_beacon_ms=500, reported_at_wall_ms=20
    )
    (status,) = joined([REPORT, slow])
    assert (status.watermark_ms, status.verified_through_ms) == (400, 300)
    assert (status.newest_beacon_ms, status.oldest_report_wall_ms, status.partitions) == (1_100, 20, 2)


def test_a_partition_that_proves_nothing_leaves_nothing_proven() -> None:
    """None is not a time that could be skipped."""
    (status,) = joined([REPORT, replace(REPORT, partition=1, verified_through_ms=None)])
    assert status.verified_through_ms is None


def test_the_least_covered_partition_names_the_coverage() -> None:
    """One uncovered partition is enough."""
    parts = [REPORT, replace(REPORT, partition=1, coverage=Coverage.SNAPSHOT)]
    assert joined(parts)[0].coverage is Coverage.SNAPSHOT
    parts.append(replace(REPORT, partition=2, coverage=Coverage.UNCOVERED))
    assert joined(parts)[0].coverage is Coverage.UNCOVERED


def test_counts_add_up_by_kind_and_by_reason() -> None:
    """And a zero is no count."""
    other = replace(
        REPORT, partition=1, open_drifts={DriftKind.STALE: 2, DriftKind.EXTRA: 0}, unknown_keys={}, waiting_keys=5
    )
    (status,) = joined([REPORT, other])
    assert status.open_drifts == {DriftKind.STALE: 3}
    assert status.unknown_keys == {UnknownReason.SCHEMA: 3}
    assert status.waiting_keys == 7


def test_a_partitions_newer_report_replaces_its_older_one() -> None:
    """Reports come in the order of the topic."""
    (status,) = joined([REPORT, replace(REPORT, open_drifts={})])
    assert status.open_drifts == {}
    assert status.partitions == 1


def test_the_authority_comes_first() -> None:
    """For a reader."""
    authority = replace(REPORT, store="pg", is_authority=True)
    assert [s.store for s in joined([REPORT, authority])] == ["pg", "my"]


def test_a_record_is_keyed_by_entity_store_and_partition() -> None:
    """So that compaction keeps one of each."""
    assert record_key(REPORT) == b"orders/my/0"


def test_a_partition_belongs_to_whoever_has_reported_on_it_last() -> None:
    """A worker that is gone has left reports behind, of another entity perhaps; they name no owner any more."""
    left = replace(REPORT, entity="items", instance="gone", reported_at_wall_ms=40)
    now = [replace(REPORT, partition=p, instance=f"w{p % 2}", reported_at_wall_ms=50 + p) for p in range(4)]
    assert owners([left, *now]) == [WorkerStatus("w0", (0, 2), 50), WorkerStatus("w1", (1, 3), 51)]
    assert owners([*reversed(now), left]) == owners([left, *now])
