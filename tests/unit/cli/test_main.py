"""The command's door: help without imports, errors with hints, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli.exit_codes import ExitCode
from app.cli.main import run


def test_help_lists_the_commands_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """A newcomer sees what there is."""
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for word in ("beacon", "status", "drifts", "explain", "replay", "4 refused"):
        assert word in text


def test_help_imports_no_command_and_no_client() -> None:
    """So it is quick, and one command's missing library takes no other down."""
    script = (
        "import sys; from app.cli.main import run; run(['--help']); "
        "heavy = {'confluent_kafka', 'faust', 'psycopg', 'app.cli.worker'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["status", "--no-such-option"], ["-o", "xml", "status"]])
def test_wrong_usage_could_not_run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, on stderr."""
    assert run(arguments) == ExitCode.COULD_NOT_RUN
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error" in err


@pytest.mark.parametrize(
    ("before", "behind", "reads"),
    [
        (["-o", "json"], [], json.loads),
        ([], ["-o", "json"], json.loads),
        ([], ["--output=json"], json.loads),
        (["-o", "table"], ["-o", "json"], json.loads),
    ],
)
def test_the_output_may_be_chosen_before_and_behind_a_command(
    before: list[str], behind: list[str], reads: Callable[[str], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind is where most people type it, and the nearer one counts; also where a command has commands of its own."""
    arguments = ["cost", "--tables", "3", "--rows", "10", "--changes-per-s", "1", "--fields", "5"]
    assert run([*before, *arguments, *behind]) == ExitCode.AGREE
    assert reads(capsys.readouterr().out)


@pytest.mark.parametrize(("output", "told"), [("jsonl", "none.yaml"), ("xml", "is not one of")])
def test_the_output_may_be_chosen_behind_a_command_of_a_command(
    output: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A known one is no wrong usage: what is missing then is the configuration."""
    config = str(tmp_path / "none.yaml")
    assert run(["--config", config, "keys", "list", "-o", output]) == ExitCode.COULD_NOT_RUN
    assert told in capsys.readouterr().err


def test_no_configuration_says_where_one_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option, a variable, or a file in the folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRIFTLINE_CONFIG", raising=False)
    assert run(["status"]) == 2
    assert "DRIFTLINE_CONFIG" in capsys.readouterr().err


def test_a_configuration_that_is_not_there_is_told_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is printed to stdout."""
    assert run(["--config", str(tmp_path / "none.yaml"), "drifts"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "none.yaml" in err


def test_python_dash_m_app_is_the_same_command() -> None:
    """With its exit code."""
    done = subprocess.run([sys.executable, "-m", "app", "no-such-command"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such command" in done.stderr
