"""What a deployment costs, from rates and measured constants: cores, memory, disk, traffic, time to recover.

All of it is sums and products, so that every figure can be checked by hand: docs/cost.md does one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from math import log10
from typing import Final

from app.core.cost_constants import Constants
from app.core.store import Converter

_US_PER_S: Final = 1_000_000
_MS_PER_S: Final = 1_000
_STORES_MEASURED: Final = 2
"""Stores of a row in the bench; its state has a part for each."""


@dataclass(frozen=True, slots=True)
class EntityLoad:
    """One entity and what happens to it. `converters` has one for each store, the authority's first.

    `changes_per_s` are those of the authority's table, and every other store follows with as many. `drifting` is the
    share of them after which stores differ. `row_bytes` is a record's size in Kafka, None to have it estimated.
    """

    entity: str
    rows: int
    changes_per_s: float
    fields: int
    converters: tuple[Converter, ...]
    window_ms: int
    zipf: bool = False
    drifting: float = 0.0
    row_bytes: int | None = None

    @property
    def records_per_s(self) -> float:
        """Records a second that a worker reads: each store's connector writes one for each change."""
        return self.changes_per_s * len(self.converters)


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What the settings say: bytes that RocksDB's caches may take in a worker, and copies kept by other workers."""

    cache_bytes_max: int
    standbys: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What something costs. `memory_bytes` is resident in the worker, `disk_bytes` includes the standbys' copies.

    Traffic is bytes a second: `cdc` is read by us and written by connectors, `observations` are written and read,
    the `changelog` is written and read by each standby. `recovery_s` is how long one worker takes that lost its disk.
    """

    ingest_cores: float = 0.0
    fold_cores: float = 0.0
    memory_bytes: float = 0.0
    disk_bytes: float = 0.0
    cdc_bytes_per_s: float = 0.0
    observations_bytes_per_s: float = 0.0
    changelog_bytes_per_s: float = 0.0
    recovery_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Costs:
    """What each entity costs, and what a worker costs before any row: both are parts of the whole."""

    entities: tuple[tuple[EntityLoad, Cost], ...]
    worker: Cost

    @property
    def whole(self) -> Cost:
        """The sum of all parts."""
        return sum((cost for _, cost in self.entities), self.worker)


def costs_of(loads: Iterable[EntityLoad], constants: Constants, limits: WorkerLimits) -> Costs:
    """Return what entities cost whose state one worker holds. Each pays for the size of the whole state."""
    loads = tuple(loads)
    state_rows = sum(load.rows for load in loads)
    state_bytes = sum(load.rows * _state_bytes(load, constants) for load in loads) + constants.uncompacted_bytes
    return Costs(
        entities=tuple((load, _entity_cost(load, state_rows, constants, limits)) for load in loads),
        worker=Cost(
            ingest_cores=constants.idle_cores,
            disk_bytes=constants.uncompacted_bytes * (1 + limits.standbys),
            memory_bytes=constants.base_bytes + min(state_bytes, limits.cache_bytes_max),
            recovery_s=constants.restart_s,
        ),
    )


def cpu_us_per_record(load: EntityLoad, state_rows: int, constants: Constants) -> tuple[float, float]:
    """Return the CPU of ingest and of the fold for a record, the mean over the entity's stores."""
    ingest_us = sum(constants.ingest_us[of].of(load.fields) for of in load.converters) / len(load.converters)
    at_measured_us = constants.fold_zipf_us if load.zipf else constants.fold_us
    decade_us = constants.decade_zipf_us if load.zipf else constants.decade_us
    decades = log10(max(state_rows / constants.measured_rows, 1.0))
    drifts_us = constants.drift_us * load.drifting / len(load.converters)
    return ingest_us, at_measured_us + decade_us * decades + drifts_us


def _entity_cost(load: EntityLoad, state_rows: int, constants: Constants, limits: WorkerLimits) -> Cost:
    ingest_us, fold_us = cpu_us_per_record(load, state_rows, constants)
    records_per_s = load.records_per_s
    live_rows = min(load.rows, load.changes_per_s * load.window_ms / _MS_PER_S)
    changelog_bytes = constants.changelog_zipf_bytes if load.zipf else constants.changelog_bytes
    copies = 1 + limits.standbys
    return Cost(
        ingest_cores=records_per_s * ingest_us / _US_PER_S,
        fold_cores=records_per_s * fold_us / _US_PER_S,
        memory_bytes=live_rows * constants.live_row_bytes,
        disk_bytes=load.rows * _state_bytes(load, constants) * copies,
        cdc_bytes_per_s=load.changes_per_s * sum(_record_bytes(load, of, constants) for of in load.converters),
        observations_bytes_per_s=2 * records_per_s * constants.observation_bytes,
        changelog_bytes_per_s=copies * records_per_s * changelog_bytes * len(load.converters) / _STORES_MEASURED,
        recovery_s=load.rows * constants.recovered_records_per_row / constants.recovered_per_s,
    )


def _record_bytes(load: EntityLoad, converter: Converter, constants: Constants) -> float:
    return constants.record_bytes[converter].of(load.fields) if load.row_bytes is None else load.row_bytes


def _state_bytes(load: EntityLoad, constants: Constants) -> float:
    return constants.state_bytes * len(load.converters) / _STORES_MEASURED
