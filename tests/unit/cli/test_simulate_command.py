"""`driftline simulate`: figures for a program, exit codes, and the smallest story of a world that failed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.exit_codes import ExitCode
from app.cli.main import run
from app.core.contract import EntityContract
from app.simulation import world
from app.simulation.faults import Fault
from app.simulation.setting import Setting


def test_the_figures_are_written_for_a_program(tmp_path: Path) -> None:
    """All published keys are there, and every kind of fault has its count."""
    file = tmp_path / "figures.json"
    assert run(["simulate", "--seed", "4", "--runs", "2", "--changes", "300", "--json", str(file)]) == ExitCode.AGREE
    told = json.loads(file.read_text(encoding="ascii"))
    assert {"runs", "changes", "planted", "missed", "false_alarms", "unjustified_unknown", "seconds"} <= told.keys()
    assert (told["runs"], told["missed"], told["false_alarms"], told["unjustified_unknown"]) == (2, 0, 0, 0)
    assert told["faults"].keys() == {fault.value for fault in Fault}
    assert told["planted"] > 0
    assert told["detection_latency_ms"]["p50"] <= told["detection_latency_ms"]["max"]


def _patient(setting: Setting) -> EntityContract:
    """Return a contract that waits longer than the world thinks."""
    contract = contract_of(setting)
    replicas = tuple(replace(r, window_ms=r.window_ms + 30_000) for r in contract.replicas)
    return replace(contract, replicas=replicas)


contract_of = world.contract_of


def test_a_world_that_fails_is_told_with_one_line_and_a_small_story(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line makes the world again; the story names the row, what happened to it, and less than there was."""
    monkeypatch.setattr(world, "contract_of", _patient)
    arguments = ["--changes", "400", "--fault", "rogue_writes", "--fault", "connector_repeats"]
    assert run(["simulate", "--seed", "2", "--runs", "1", *arguments]) == ExitCode.DRIFT
    lines = capsys.readouterr().err.splitlines()
    failed = "failed: driftline simulate --seed 2 --runs 1 --changes 400 --fault connector_repeats --fault rogue_writes"
    assert lines[1] == failed
    smaller = lines[2].removeprefix("  smaller: driftline ").split()
    assert "connector_repeats" not in smaller
    assert int(smaller[smaller.index("--changes") + 1]) < 400
    assert lines[3].startswith("  missed: R ")
    assert any("rogue_writes" in line for line in lines[4:])
    assert run(smaller) == ExitCode.DRIFT
    assert lines[3] in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("file", ["no such folder/figures.json", "."])
def test_a_file_that_cannot_be_written_is_told_before_the_worlds_run(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures of an hour are not lost over a slip in a path."""
    arguments = ["simulate", "--runs", "1", "--changes", "20", "--json", str(tmp_path / file)]
    assert run(arguments) == ExitCode.COULD_NOT_RUN
    told = capsys.readouterr().err
    assert "--json" in told
    assert "seeds" not in told


def test_a_world_that_no_memory_holds_is_refused() -> None:
    """It would run for days, and end without a figure."""
    assert run(["simulate", "--runs", "1", "--changes", "1000001"]) == ExitCode.COULD_NOT_RUN
