"""`driftline bench` on a real broker: a tiny run of all of it, and the JSON that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.running_stack import running_stack
from tests.integration.worker_world import PROJECT

pytestmark = pytest.mark.stack


def test_a_tiny_bench_measures_every_part(tmp_path: Path) -> None:
    """Every figure is there and above zero, and as many drifts are found as were planted."""
    bootstrap = os.environ.get("DRIFTLINE_TEST_BOOTSTRAP") or str(running_stack("kafka")["kafka"]["bootstrap"])
    told_file = tmp_path / "bench.json"
    command = [sys.executable, "-m", "app", "bench", "--bootstrap", bootstrap, "--quick", "--json", str(told_file)]
    sizes = ["--keys", "1000", "--changes", "4000", "--repeat", "1"]
    ran = subprocess.run([*command, *sizes], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(told_file.read_text())
    path = told["whole_path"]
    assert path["changes_per_s_per_core"] > 0
    assert len(path["loads"]) == 4
    for name, figures in path["loads"].items():
        assert name in ran.stdout
        assert (figures["findings"] > 0) == name.endswith("pct")
        assert all(value > 0 for figure, value in figures.items() if figure != "findings"), (name, figures)
