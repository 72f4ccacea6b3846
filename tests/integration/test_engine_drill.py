"""The engine drill in small: kills, a broker's restart and a refused block, judged by the linear rebuild."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.running_stack import running_stack

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]
PROJECT = Path(__file__).resolve().parents[2]


def test_killed_workers_and_a_killed_broker_leave_state_and_verdicts_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Twenty thousand changes, two workers, three times kill -9: every row and every verdict is that of a rebuild."""
    # It starts a broker of its own, since it kills it; whoever has the stack has what that needs.
    running_stack("kafka")
    told = tmp_path / "drill.json"
    small = ["--changes", "20000", "--kills", "3", "--workers", "2", "--seed", "4711", "--name", "drill-engine-test"]
    drill = subprocess.run(
        [sys.executable, str(PROJECT / "scripts" / "drill"), "engine", *small, "--json", str(told)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert drill.returncode == 0, drill.stdout + drill.stderr
    result = json.loads(told.read_text())
    assert result["faults"] == []
    assert result["kills"] >= 3
    assert (result["broker_restarts"], result["deliveries_refused"] > 0) == (1, True)
    assert result["offset_samples"] > result["offset_samples_of_dead_workers"] > 0
    assert result["drifts"] > result["open_drifts"] > 0
    assert set(result["kinds"]) == {"missing", "extra", "stale", "different"}
