"""Medians, rates and shares, the tables and the pictures made of them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from app.bench.bars import bars
from app.bench.burst import Stands
from app.bench.pictures import draw, same_hop_lines
from app.bench.plan import FULL, QUICK, Part
from app.bench.report import tables
from app.core.errors import ContractViolation
from tests.unit.bench.told import document


def test_rates_are_medians_of_the_runs() -> None:
    """The middle run stands for all, the others tell the spread; CPU for a million is of the same run."""
    path = document()["whole_path"]["loads"]["json-10"]
    assert path["changes_per_s_per_core"] == 500
    assert (path["changes_per_s_per_core_min"], path["changes_per_s_per_core_max"]) == (250, 1_000)
    assert path["changes_per_s"] == 250
    assert path["cpu_s_per_million"] == 2_000
    assert path["runs"] == 3


def test_bytes_are_told_per_change_and_per_key() -> None:
    """Bytes on the wire by what grew, state by the keys that it holds."""
    path = document()["whole_path"]["loads"]["json-10"]
    wire = ("input_bytes_per_change", "observations_bytes_per_change", "changelog_bytes_per_change")
    assert [path[name] for name in wire] == [300, 40, 60]
    assert path["state_bytes_per_key"] == 100
    assert path["snapshot_changes_per_s_per_core"] == 500


def test_the_engine_is_compared_with_the_peer_of_the_same_turn() -> None:
    """Turns of 0.8, 1 and 0.75 have the median 0.8, which the ratio of the medians (1) is not."""
    times = document()["times_as_fast_as"]
    assert times["bare_librdkafka"]["per_core"] == 0.8
    assert times["plain_faust"] == {"per_core": 25, "wall": 25}


def test_delays_are_percentiles() -> None:
    """Of the delays 1 to 1,000 ms."""
    at_half = document()["latency"]["at_50_percent"]
    assert (at_half["p50_ms"], at_half["p99_ms"], at_half["max_ms"]) == (500, 990, 1_000)
    assert at_half["drifts"] == 1_000


def test_recovery_is_told_in_keys_and_in_records() -> None:
    """A changelog holds more records than keys; the time after a kill is a median."""
    recovery = document()["recovery"]
    assert (recovery["keys_per_s"], recovery["records_per_s"], recovery["records_per_s_per_core"]) == (
        2_000,
        3_000,
        6_000,
    )
    assert (recovery["kill_to_first_verdict_s"], recovery["kill_to_first_verdict_max_s"]) == (3, 4)
    assert (recovery["notice_to_standby_s"], recovery["notice_to_standby_max_s"]) == (1.5, 6)


def test_every_part_has_a_table() -> None:
    """With a row for each load, contender and share; rows of one table have the same columns."""
    found = dict(tables(document()))
    assert [len(rows) for rows in found.values()] == [2, 3, 1, 1, 1]
    for rows in found.values():
        assert len({tuple(row) for row in rows}) == 1
    (hop,) = (rows for title, rows in found.items() if title.startswith("Same hop"))
    assert [row["contender"] for row in hop] == ["this engine", "bare librdkafka", "plain faust"]
    assert hop[1]["this engine is, per core"] == "0.8 times"


def test_what_was_not_measured_has_no_table_and_no_picture(tmp_path: Path) -> None:
    """A part that was left out is left out everywhere."""
    told = {"machine": {}, "recovery": document()["recovery"]}
    assert [title.split(":")[0] for title, _ in tables(told)] == ["Recovery"]
    assert draw(told, tmp_path) == []


def _texts(file: Path) -> str:
    """Return all text of a picture; a file that is no XML fails."""
    parts = ET.fromstring(file.read_text()).itertext()  # noqa: S314 - drawn a moment ago
    return "".join(parts).replace("\xa0", " ")


def test_pictures_tell_the_figures_and_fetch_nothing(tmp_path: Path) -> None:
    """Well-formed SVG with the names and numbers, on a ground of its own, without a font from anywhere."""
    files = draw(document(), tmp_path / "new")
    assert [file.name for file in files] == ["bench-whole-path.svg", "bench-same-hop.svg", "bench-latency.svg"]
    for file in files:
        text = _texts(file)
        assert "url(http" not in file.read_text()
        assert "@font-face" not in text
    drawn = _texts(files[1])
    for word in ("Driftline's engine", "plain faust", "500", "20"):
        assert word in drawn


def test_bars_are_held_against_the_figures_that_there_are() -> None:
    """On the right side of the bound each; a load that was not measured has no bar."""
    found = {bar.name: bar for bar in bars(document())}
    assert found["recovery, records/s"].figure == 3_000
    assert not found["recovery, records/s"].is_met
    assert found["kill -9 to first verdict, s"].is_met
    assert found["notice to a standby's commit, s"].is_met
    assert found["detection p99 at 50 % load, s after the window"].is_met
    assert found["same hop, times as fast as plain Faust"].is_met
    assert not found["same hop, times as fast as bare librdkafka"].is_met
    assert [name for name in found if name.startswith("whole path")] == [
        "whole path, JSON, 10 columns, uniform keys: changes/s per core",
        "whole path, Avro, 10 columns: changes/s per core",
    ]
    assert bars({"machine": {}}) == []


def test_growth_is_told_from_one_million_keys_to_ten() -> None:
    """By the CPU seconds of a million changes, as percent more, and the memory of the larger."""
    told = document()
    small = {**told["whole_path"]["loads"]["json-10"], "keys": 1_000_000}
    large = {**small, "keys": 10_000_000, "cpu_s_per_million": 1.2 * small["cpu_s_per_million"]}
    found = {bar.name: bar for bar in bars({"whole_path": {"loads": {"a": small, "b": large}}})}
    assert found["cost from 1 M to 10 M keys, uniform: % more"].figure == 20
    assert found["peak memory at 10 M keys, uniform: GiB"].figure == 0.2


def test_the_fastest_contender_stands_first() -> None:
    """Only ours is marked as ours."""
    lines = same_hop_lines(document())
    assert [line.value for line in lines] == sorted((line.value for line in lines), reverse=True)
    assert [line.name for line in lines if line.is_ours] == ["Driftline's engine"]


def test_the_full_plan_covers_what_is_promised() -> None:
    """JSON and Avro, both widths, three numbers of keys, both spreads, with and without drifts, three times each."""
    assert {load.converter.value for load in FULL.loads} == {"json", "avro"}
    assert {load.columns for load in FULL.loads} == {10, 40}
    assert {load.keys for load in FULL.loads} == {200_000, 1_000_000, 10_000_000}
    assert {load.spread.value for load in FULL.loads} == {"uniform", "zipf"}
    assert {load.drifting for load in FULL.loads} == {0.0, 0.01}
    assert FULL.repeat == 3
    assert len({load.name for load in FULL.loads}) == len(FULL.loads)
    assert sum(load.keys for load in QUICK.loads) < 400_000
    assert {part.value for part in Part} == {"whole-path", "same-hop", "latency", "recovery"}


def test_a_plan_is_cut_down_by_names_and_by_keys() -> None:
    """A load that does not exist is told with those that do."""
    assert [load.name for load in FULL.of(["json-40-200k-uniform"]).loads] == ["json-40-200k-uniform"]
    assert {load.keys for load in FULL.over(500).loads} == {500}
    assert len(FULL.over(500).loads) < len(FULL.loads)
    with pytest.raises(ContractViolation, match="no load is named"):
        FULL.of(["json-41"])


def test_an_offset_stands_only_while_there_is_more_to_read() -> None:
    """From the look that first saw it to the one that saw it move; what ended or never moved was not seen to stand."""
    stands = Stands()
    for now_s, offset, end in (
        (0, 5, 9),
        (0.5, 5, 9),
        (0.75, 7, 9),
        (1.0, 9, 9),
        (6.0, 9, 9),
        (7.0, 9, 12),
        (7.5, 12, 12),
    ):
        stands.see(("a", 0), offset, end, now_s)
        stands.see(("a", 1), 5, 9, now_s)
    assert stands.ms == {("a", 0): [750.0, 250.0, 1_500.0]}
    assert stands.of({"a"}) == [750.0, 250.0, 1_500.0]
    assert stands.of({"b"}) == []
