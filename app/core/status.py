"""What a worker says of one entity in one store: how far it is proven, what is open, what is unknown and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar

from app.core.finding import DriftKind, UnknownReason

_Name = TypeVar("_Name")

OLD_REPORT_MS: Final = 15_000
"""Workers report every second or so; an older report tells of a worker that is gone."""


class Coverage(Enum):
    """Whether a store's rows of an entity are known as a whole, in the store's present epoch."""

    OUTDATED = "outdated"  # the rows that are held were read under another meaning of the contract
    UNCOVERED = "uncovered"  # no complete snapshot yet, or the log began again
    SNAPSHOT = "snapshot"  # a snapshot is being read
    COVERED = "covered"


@dataclass(frozen=True, slots=True)
class StatusReport:
    """One entity in one store on one partition of `observations`, as its worker sees it.

    `watermark_ms` is the store's time on the beacons' clock up to which everything has arrived, None before the first
    beacon; `verified_through_ms` the common time up to which every key has `agree` or `drift` in this replica (None on
    the authority's own report, and where nothing is proven yet). `waiting_keys` are within their window, or not known
    to be past it. `records_read` adds up the Kafka positions reached in the change topics of the store's tables: it
    grows while the store's log is being read, also while a beacon is awaited behind a huge transaction.
    `newest_beacon_ms` is the newest `issued_at` seen of any store: the nearest thing to now on that clock.
    `reported_at_wall_ms` is wall-clock time, for display only.
    """

    entity: str
    store: str
    is_authority: bool
    partition: int
    coverage: Coverage
    watermark_ms: int | None
    verified_through_ms: int | None
    newest_beacon_ms: int | None
    reported_at_wall_ms: int
    waiting_keys: int = 0
    open_drifts: Mapping[DriftKind, int] = field(default_factory=dict)
    unknown_keys: Mapping[UnknownReason, int] = field(default_factory=dict)
    records_read: int = 0
    instance: str = ""
    contract_version: int = 0


def record_key(report: StatusReport) -> bytes:
    """Return the key under which the topic of statuses keeps the newest report of its kind."""
    return f"{report.entity}/{report.store}/{report.partition}".encode()


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """Which partitions of `observations` a worker owns, by its own newest reports."""

    instance: str
    partitions: tuple[int, ...]
    oldest_report_wall_ms: int


def owners(reports: Iterable[StatusReport]) -> list[WorkerStatus]:
    """Return the workers with their partitions; a partition belongs to whoever has reported on it last."""
    newest: dict[int, StatusReport] = {}
    for report in reports:
        held = newest.get(report.partition)
        if held is None or report.reported_at_wall_ms >= held.reported_at_wall_ms:
            newest[report.partition] = report
    return [
        WorkerStatus(
            instance,
            tuple(sorted(p for p, report in newest.items() if report.instance == instance)),
            min(report.reported_at_wall_ms for report in newest.values() if report.instance == instance),
        )
        for instance in sorted({report.instance for report in newest.values()})
    ]


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """One entity in one store over all partitions of `observations`.

    Times are the earliest of the partitions', since one that stands still holds up what may be promised;
    `oldest_report_wall_ms` tells of a partition that nobody reports any more.
    """

    entity: str
    store: str
    is_authority: bool
    partitions: int
    coverage: Coverage
    watermark_ms: int | None
    verified_through_ms: int | None
    newest_beacon_ms: int | None
    oldest_report_wall_ms: int
    waiting_keys: int
    open_drifts: dict[DriftKind, int]
    unknown_keys: dict[UnknownReason, int]


_LEAST_COVERED = (Coverage.OUTDATED, Coverage.UNCOVERED, Coverage.SNAPSHOT, Coverage.COVERED)


def _earliest(times: Iterable[int | None]) -> int | None:
    """Return the smallest, or None where any is unknown."""
    known = list(times)
    if not known or None in known:
        return None
    return min(t for t in known if t is not None)


def _latest(times: Iterable[int | None]) -> int | None:
    return max((t for t in times if t is not None), default=None)


def _summed(counts: Iterable[Mapping[_Name, int]]) -> dict[_Name, int]:
    total: dict[_Name, int] = {}
    for each in counts:
        for name, count in each.items():
            if count:
                total[name] = total.get(name, 0) + count
    return total


def joined(reports: Iterable[StatusReport]) -> list[StoreStatus]:
    """Join the newest reports of all partitions into one status per entity and store, the authority first."""
    newest: dict[tuple[str, str], dict[int, StatusReport]] = {}
    for report in reports:
        newest.setdefault((report.entity, report.store), {})[report.partition] = report
    statuses = []
    for (entity, store), by_partition in newest.items():
        parts = list(by_partition.values())
        statuses.append(
            StoreStatus(
                entity=entity,
                store=store,
                is_authority=parts[0].is_authority,
                partitions=len(parts),
                coverage=min((p.coverage for p in parts), key=_LEAST_COVERED.index),
                watermark_ms=_earliest(p.watermark_ms for p in parts),
                verified_through_ms=_earliest(p.verified_through_ms for p in parts),
                newest_beacon_ms=_latest(p.newest_beacon_ms for p in parts),
                oldest_report_wall_ms=min(p.reported_at_wall_ms for p in parts),
                waiting_keys=sum(p.waiting_keys for p in parts),
                open_drifts=_summed(p.open_drifts for p in parts),
                unknown_keys=_summed(p.unknown_keys for p in parts),
            )
        )
    return sorted(statuses, key=lambda s: (s.entity, not s.is_authority, s.store))
