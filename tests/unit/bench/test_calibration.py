"""Constants of the cost model from a bench's figures: exact in small, and within a quarter of a real run."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from app.bench.calibration import FOLD_SHARE, read_constants
from app.core.cost import EntityLoad, WorkerLimits, costs_of, cpu_us_per_record
from app.core.cost_constants import SHIPPED, Constants
from app.core.errors import ContractViolation
from app.core.store import Converter

RUN = Path(__file__).parents[2] / "data" / "bench_cost.json"
"""A real run: loads to calibrate with, and others to predict."""

UNSEEN = "json-20-100k-uniform"
LARGE = "json-10-1m-uniform"
LARGEST = ("json-10-10m-uniform", "json-10-10m-zipf", "json-10-1m-zipf")
"""Of another run of the same machine; what more rows cost was taken from its ten million keys."""


def _load(**other: object) -> dict[str, Any]:
    return {
        "converter": "json",
        "columns": 10,
        "keys": 1_000,
        "spread": "uniform",
        "drifting": 0.0,
        "cpu_s_per_million": 100.0,
        "input_bytes_per_change": 250.0,
        "observations_bytes_per_change": 40.0,
        "changelog_bytes_per_change": 100.0,
        "state_bytes_per_key": 200.0,
        "peak_rss_bytes": SHIPPED.base_bytes + 5_000_000,
        **other,
    }


def _constants(folder: Path, *loads: dict[str, Any], **parts: object) -> Constants:
    path = folder / "figures.json"
    told = {"whole_path": {"loads": {str(n): load for n, load in enumerate(loads)}}, **parts}
    path.write_text(json.dumps(told))
    return read_constants(path, SHIPPED)


def test_wider_rows_give_the_cost_of_a_field(tmp_path: Path) -> None:
    """15 fields more cost 30 us and 600 bytes more; the fold's share is the same in both."""
    wide = _load(columns=40, cpu_s_per_million=130.0, input_bytes_per_change=850.0)
    found = _constants(tmp_path, _load(), wide)
    assert found.fold_us == pytest.approx(100 * FOLD_SHARE)
    ingest, record = found.ingest_us[Converter.JSON], found.record_bytes[Converter.JSON]
    assert (ingest.fixed, ingest.field) == pytest.approx((100 * (1 - FOLD_SHARE) - 10, 2.0))
    assert (record.fixed, record.field) == pytest.approx((50.0, 40.0))


def test_more_rows_give_the_cost_of_a_decade(tmp_path: Path) -> None:
    """Ten times the rows for 7 us more; 9,000 rows more take 1.3 MB more, and none takes 56 KB."""
    found = _constants(tmp_path, _load(), _load(keys=10_000, cpu_s_per_million=107.0, state_bytes_per_key=149.6))
    assert found.decade_us == pytest.approx(7.0)
    assert found.state_bytes == pytest.approx(144.0)
    assert found.uncompacted_bytes == pytest.approx(56_000)
    assert found.live_row_bytes == 5_000


def test_zipf_and_drifts_are_told_by_their_own_loads(tmp_path: Path) -> None:
    """Zipf keys save 20 us; one drifting change in a hundred of the authority's makes a record 5 us dearer."""
    zipf = _load(spread="zipf", cpu_s_per_million=80.0, changelog_bytes_per_change=50.0)
    found = _constants(tmp_path, _load(), zipf, _load(drifting=0.01, cpu_s_per_million=105.0))
    assert found.fold_zipf_us == pytest.approx(found.fold_us - 20)
    assert found.changelog_zipf_bytes == 50
    assert found.drift_us == pytest.approx(1_000.0)


def test_other_parts_tell_idling_and_recovery(tmp_path: Path) -> None:
    """The line through 0.3 cores at 500/s and 0.45 at 800/s meets no load at 0.05."""
    latency = {
        "at_50_percent": {"changes_per_s": 500, "worker_cores": 0.3},
        "at_80_percent": {"changes_per_s": 800, "worker_cores": 0.45},
    }
    recovery = {"records_per_s_per_core": 300_000, "kill_to_first_verdict_s": 6.5}
    found = _constants(tmp_path, _load(), latency=latency, recovery=recovery)
    assert found.idle_cores == pytest.approx(0.05)
    assert (found.recovered_per_s, found.restart_s) == (300_000, 6.5)


def test_what_was_not_measured_stays_as_shipped(tmp_path: Path) -> None:
    """One load tells no slope, and nothing of Avro, recovery or idling."""
    found = _constants(tmp_path, _load())
    assert found.ingest_us[Converter.AVRO] == SHIPPED.ingest_us[Converter.AVRO]
    assert found.ingest_us[Converter.JSON].field == SHIPPED.ingest_us[Converter.JSON].field
    for name in ("decade_us", "drift_us", "idle_cores", "recovered_per_s", "restart_s", "uncompacted_bytes"):
        assert getattr(found, name) == getattr(SHIPPED, name)


def test_figures_without_the_load_that_all_refer_to_are_refused(tmp_path: Path) -> None:
    """Avro alone, or Zipf alone, is no base."""
    with pytest.raises(ContractViolation, match="no load of JSON on uniform keys"):
        _constants(tmp_path, _load(converter="avro"), _load(spread="zipf"))


def _predicted(load: dict[str, Any], constants: Constants) -> dict[str, float]:
    """Return what the model says of a load, in the bench's own terms: for a record of two stores' changes."""
    of = Converter(load["converter"])
    entity = EntityLoad("items", load["keys"], 0.5, load["columns"] // 2, (of, of), 2_000, load["spread"] == "zipf")
    costs = costs_of([entity], constants, WorkerLimits(0, 0))
    cost = costs.entities[0][1]
    return {
        "cpu_s_per_million": sum(cpu_us_per_record(entity, load["keys"], constants)),
        "input_bytes_per_change": cost.cdc_bytes_per_s,
        "observations_bytes_per_change": cost.observations_bytes_per_s / 2,  # written and read
        "changelog_bytes_per_change": cost.changelog_bytes_per_s,
        "state_bytes_per_key": costs.whole.disk_bytes / load["keys"],
    }


def _loads() -> dict[str, dict[str, Any]]:
    loads: dict[str, dict[str, Any]] = json.loads(RUN.read_text())["whole_path"]["loads"]
    return loads


def test_a_load_of_a_real_run_is_predicted_from_two_others_within_a_quarter(tmp_path: Path) -> None:
    """Calibrated with 5 and 20 fields over 200,000 keys: 10 fields over 100,000 keys were not seen."""
    loads = _loads()
    constants = _constants(tmp_path, loads["json-10-200k-uniform"], loads["json-40-200k-uniform"])
    for name, predicted in _predicted(loads[UNSEEN], constants).items():
        assert predicted == pytest.approx(loads[UNSEEN][name], rel=0.25), name


@pytest.mark.parametrize("load", [UNSEEN, LARGE, *LARGEST])
def test_the_shipped_constants_fit_loads_of_other_sizes_within_a_quarter(load: str) -> None:
    """All that they say of a record and of the state, from a hundred thousand rows to ten million."""
    measured = _loads()[load]
    for name, predicted in _predicted(measured, SHIPPED).items():
        assert predicted == pytest.approx(measured[name], rel=0.25), name


def test_the_shipped_constants_are_those_of_the_recorded_run(tmp_path: Path) -> None:
    """What a file of that run would say, rounded; more rows and drifts apart."""
    told = json.loads(RUN.read_text())
    loads = [load for name, load in told["whole_path"]["loads"].items() if name not in {UNSEEN, LARGE, *LARGEST}]
    found = _constants(tmp_path, *loads, latency=told["latency"], recovery=told["recovery"])
    apart = {"ingest_us", "record_bytes"}
    for name in {field.name for field in fields(Constants)} - apart - {"recovered_records_per_row"}:
        assert getattr(SHIPPED, name) == pytest.approx(getattr(found, name), rel=0.01), name
    for mine, theirs in ((SHIPPED.ingest_us, found.ingest_us), (SHIPPED.record_bytes, found.record_bytes)):
        for converter in Converter:
            assert mine[converter].of(5) == pytest.approx(theirs[converter].of(5), rel=0.01), converter
    assert told["recovery"]["records"] / told["recovery"]["keys"] == pytest.approx(
        SHIPPED.recovered_records_per_row, rel=0.01
    )
