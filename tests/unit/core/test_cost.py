"""The cost model: sums and products that can be checked by hand, and no figure that falls when an input grows."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from app.core.cost import Cost, EntityLoad, WorkerLimits, costs_of, cpu_us_per_record
from app.core.cost_constants import SHIPPED, Constants, PerFields
from app.core.store import Converter

JSON, AVRO = Converter.JSON, Converter.AVRO
ROUND = Constants(
    ingest_us={JSON: PerFields(10.0, 2.0), AVRO: PerFields(30.0, 4.0)},
    record_bytes={JSON: PerFields(50.0, 40.0), AVRO: PerFields(30.0, 30.0)},
    fold_us=20.0,
    fold_zipf_us=15.0,
    measured_rows=1_000,
    decade_us=5.0,
    decade_zipf_us=1.0,
    drift_us=1_000.0,
    observation_bytes=40.0,
    changelog_bytes=100.0,
    changelog_zipf_bytes=60.0,
    state_bytes=200.0,
    uncompacted_bytes=0.0,
    base_bytes=100e6,
    live_row_bytes=1_000.0,
    idle_cores=0.1,
    recovered_per_s=100_000.0,
    recovered_records_per_row=2.0,
    restart_s=8.0,
)
LIMITS = WorkerLimits(cache_bytes_max=1_000_000, standbys=1)
LOAD = EntityLoad("orders", 100_000, 500.0, 5, (JSON, AVRO), 10_000)


def test_figures_are_those_computed_by_hand() -> None:
    """1,000 records/s: ingest (20 + 50) / 2 us, fold 20 us and two decades of 5; each byte and row likewise."""
    costs = costs_of([LOAD], ROUND, LIMITS)
    ((_, cost),) = costs.entities
    assert astuple(cost) == pytest.approx(
        astuple(
            Cost(
                ingest_cores=1_000 * 35e-6,
                fold_cores=1_000 * 30e-6,
                memory_bytes=500 * 10 * 1_000,
                disk_bytes=100_000 * 200 * 2,
                cdc_bytes_per_s=500 * (250 + 180),
                observations_bytes_per_s=2 * 1_000 * 40,
                changelog_bytes_per_s=2 * 1_000 * 100,
                recovery_s=2.0,
            )
        )
    )
    assert costs.worker == Cost(ingest_cores=0.1, memory_bytes=100e6 + 1_000_000, recovery_s=8.0)


def test_the_whole_is_the_sum_of_entities_and_worker() -> None:
    """Nothing is counted outside of the rows that are shown."""
    costs = costs_of([LOAD, replace(LOAD, entity="items", rows=7)], ROUND, LIMITS)
    parts = [astuple(costs.worker), *(astuple(cost) for _, cost in costs.entities)]
    assert astuple(costs.whole) == pytest.approx([sum(column) for column in zip(*parts, strict=True)])


@pytest.mark.parametrize(
    "more",
    [
        {"rows": 1_000_000},
        {"changes_per_s": 5_000.0},
        {"fields": 20},
        {"window_ms": 60_000},
        {"drifting": 0.5},
        {"converters": (JSON, AVRO, JSON)},
        {"row_bytes": 5_000},
    ],
    ids=lambda more: next(iter(more)),
)
@pytest.mark.parametrize("constants", [ROUND, SHIPPED], ids=["round", "shipped"])
def test_no_figure_falls_when_an_input_grows(constants: Constants, more: dict[str, object]) -> None:
    """More of anything costs more of something, and less of nothing."""
    before = astuple(costs_of([LOAD], constants, LIMITS).whole)
    after = astuple(costs_of([replace(LOAD, **more)], constants, LIMITS).whole)  # type: ignore[arg-type]
    assert all(b >= a for a, b in zip(before, after, strict=True))
    assert after != before


def test_rows_of_one_entity_make_changes_of_another_dearer() -> None:
    """They share RocksDB, so the size of the whole state counts."""
    alone, beside = (cpu_us_per_record(LOAD, rows, ROUND)[1] for rows in (100_000, 10_000_000))
    assert (alone, beside) == (30.0, 40.0)


def test_a_state_smaller_than_the_measured_one_is_not_cheaper() -> None:
    """Below what was measured nothing is known; the measured figure stands."""
    assert cpu_us_per_record(LOAD, 10, ROUND)[1] == ROUND.fold_us


def test_zipf_keys_are_folded_and_logged_at_their_own_cost() -> None:
    """Few rows that change most of the time: 15 us and two decades of 1, 60 bytes."""
    ((_, cost),) = costs_of([replace(LOAD, zipf=True)], ROUND, LIMITS).entities
    assert cost.fold_cores == pytest.approx(1_000 * 17e-6)
    assert cost.changelog_bytes_per_s == pytest.approx(2 * 1_000 * 60)


def test_rows_that_wait_are_at_most_all_rows_and_caches_at_most_the_state() -> None:
    """Memory stops growing where there is no more to hold."""
    small = replace(LOAD, rows=10, changes_per_s=1e6)
    costs = costs_of([small], ROUND, LIMITS)
    assert costs.entities[0][1].memory_bytes == 10 * 1_000
    assert costs.worker.memory_bytes == 100e6 + 10 * 200
