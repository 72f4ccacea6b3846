"""The repairs drill in small: an applier killed at every step, its target once, and an application that goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.running_stack import running_stack

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]
PROJECT = Path(__file__).resolve().parents[2]


def test_killed_at_every_step_it_loses_no_write_and_makes_none_twice_and_all_can_be_undone(tmp_path: Path) -> None:
    """A hundred repairs of MariaDB, a death at each step in turn: the judge finds nothing, before and after undo."""
    # It starts servers of its own, since it kills one; whoever has the stack has what that needs.
    running_stack("kafka", "postgres", "mariadb")
    told = tmp_path / "drill.json"
    small = ["--repairs", "126", "--writes", "40", "--random-deaths", "0", "--server-deaths", "1", "--seed", "4711"]
    where = ["--store", "mariadb", "--name", "drill-repairs-test", "--json", str(told)]
    drill = subprocess.run(
        [sys.executable, str(PROJECT / "scripts" / "drill"), "repairs", *small, *where],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert drill.returncode == 0, drill.stdout + drill.stderr
    result = json.loads(told.read_text())
    assert result["faults"] == []
    store = result["stores"]["mariadb"]
    assert sum(store["outcomes"].values()) == 126
    assert store["outcomes"]["applied"] > store["outcomes"]["refused row_moved"] > 0
    assert store["application_writes"] >= 40
    # Each of the 21 steps, and five more while all is undone.
    assert (store["deaths"], store["server_deaths"]) == (26, 1)
    assert store["undone"]["applied"] > 0
