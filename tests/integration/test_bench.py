"""`driftline bench` on a real broker: a tiny run of all of it, and the JSON that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running_stack import running_stack
from tests.integration.worker_world import PROJECT

pytestmark = pytest.mark.stack


def test_a_tiny_bench_measures_every_part(tmp_path: Path) -> None:
    """Every figure is there and above zero, and as many drifts are found as were planted."""
    bootstrap = os.environ.get("DRIFTLINE_TEST_BOOTSTRAP") or str(running_stack("kafka")["kafka"]["bootstrap"])
    told_file = tmp_path / "bench.json"
    command = [sys.executable, "-m", "app", "bench", "--bootstrap", bootstrap, "--quick", "--json", str(told_file)]
    sizes = [
        "--keys",
        "1000",
        "--changes",
        "4000",
        "--repeat",
        "1",
        "--seconds",
        "5",
        "--pictures",
        str(tmp_path / "pictures"),
    ]
    ran = subprocess.run([*command, *sizes], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-6000:]
    told = json.loads(told_file.read_text())
    _whole_path(told["whole_path"], ran.stdout)
    hop = told["same_hop"]
    assert hop["changes"] == 4_000
    assert all(value > 0 for value in hop.values()), hop
    for share in ("at_50_percent", "at_80_percent"):
        delays = told["latency"][share]
        assert 0 < delays["p50_ms"] <= delays["p99_ms"] <= delays["max_ms"]
        assert delays["drifts"] > 0
    burst = told["burst"]
    assert burst["changes_per_s"] == pytest.approx(10 * burst["calm_changes_per_s"], rel=0.01)
    assert 0 < burst["p50_ms"] <= burst["max_ms"]
    assert 0 < burst["offset_stood_p50_ms"] <= burst["offset_stood_max_ms"]
    assert 0 < burst["observations_stood_max_ms"] <= burst["offset_stood_max_ms"]
    assert told["recovery"]["keys"] == 1_000
    assert told["recovery"]["records"] >= 1_000
    assert told["recovery"]["kill_to_first_verdict_s"] > 0
    assert len(list((tmp_path / "pictures").glob("*.svg"))) == 3
    assert {bar["name"].split(",")[0] for bar in told["bars"]} >= {"whole path", "recovery"}


def _whole_path(path: dict[str, Any], printed: str) -> None:
    assert path["changes_per_s_per_core"] > 0
    assert len(path["loads"]) == 4
    for name, figures in path["loads"].items():
        assert name in printed
        assert (figures["findings"] > 0) == name.endswith("pct")
        counted = {figure: value for figure, value in figures.items() if isinstance(value, int | float)}
        assert all(value > 0 for figure, value in counted.items() if figure not in {"findings", "drifting"}), figures
