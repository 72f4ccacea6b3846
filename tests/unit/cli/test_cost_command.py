"""`driftline cost`: contracts and rates in, a table out; what is wrong with rates is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.exit_codes import ExitCode
from app.cli.main import run
from tests.unit.cli.test_check_command import deployment

RATES = """\
entities:
  orders: {rows: 1000000, changes_per_s: 200, zipf: true, drifting: 0.001}
"""
ALIKE = ["cost", "--tables", "3", "--rows", "1000", "--changes-per-s", "10", "--fields", "5"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a deployment with one contract, and its rates."""
    (tmp_path / "rates.yaml").write_text(RATES)
    return deployment(tmp_path)


def _costs(config: Path, capsys: pytest.CaptureFixture[str], rates: str) -> list[dict[str, Any]]:
    (config.parent / "rates.yaml").write_text(rates)
    code = run(["--config", str(config), "-o", "json", "cost", "--rates", str(config.parent / "rates.yaml")])
    assert code == ExitCode.AGREE
    told: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return told


def test_contracts_and_rates_give_a_row_for_each_entity_and_the_sum(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The entity, a worker before any row, and all; what rates say moves the figures."""
    told = _costs(config, capsys, RATES)
    assert [row["entity"] for row in told] == ["orders", "(worker)", "(all)"]
    assert told[2]["fold_cores"] == pytest.approx(told[0]["fold_cores"] + told[1]["fold_cores"])
    named = _costs(config, capsys, RATES.replace("zipf: true", "row_bytes: 1000"))
    assert named[0]["cdc_bytes_per_s"] == 2 * 200 * 1_000


def test_tables_without_contracts_need_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before there is a deployment one may ask what it would cost, for a person and for a program."""
    monkeypatch.chdir(tmp_path)
    assert run(["-o", "jsonl", *ALIKE]) == ExitCode.AGREE
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["entity"] for row in told] == ["table_1", "table_2", "table_3", "(worker)", "(all)"]
    assert run(ALIKE) == ExitCode.AGREE
    assert "ingest cores" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rates", "line", "what"),
    [
        (RATES.replace("orders", "oders"), "rates.yaml:2:3", 'did you mean "orders"?'),
        (RATES.replace("orders", "oders"), "rates.yaml:1:1", 'the entity "orders" has no rates'),
        (RATES.replace("1000000", "-1"), "rates.yaml:2:18", "rows of the authority's table"),
        (RATES.replace("200", ".inf"), "rates.yaml:2:42", "changes a second"),
        (RATES.replace("0.001", "2"), "rates.yaml:2:69", "0 to 1"),
        (RATES.replace("zipf", "zpif"), "rates.yaml:2:47", 'did you mean "zipf"?'),
        (RATES.replace("changes_per_s: 200, ", ""), "rates.yaml:2:11", '"changes_per_s" is missing'),
        ("", "rates.yaml:1:1", "is empty"),
        ("- 1", "rates.yaml:1:1", "expected a mapping"),
    ],
)
def test_bad_rates_are_told_with_place_and_hint(
    config: Path, capsys: pytest.CaptureFixture[str], rates: str, line: str, what: str
) -> None:
    """Where, what is wrong and what to do; nothing is computed."""
    path = config.parent / "rates.yaml"
    path.write_text(rates)
    assert run(["--config", str(config), "cost", "--rates", str(path)]) == ExitCode.COULD_NOT_RUN
    out, err = capsys.readouterr()
    assert not out
    assert any(line in told and what in told for told in err.splitlines()), err


@pytest.mark.parametrize("arguments", [["cost"], [*ALIKE[:-2]], [*ALIKE, "--rates", "rates.yaml"]])
def test_half_a_question_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Rates, or all that describes tables that are alike, and not both."""
    assert run(arguments) == ExitCode.COULD_NOT_RUN
    assert "--rates" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--changes-per-s", "--window-s"])
@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
def test_numbers_that_are_no_rates_are_refused(option: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bound alone would let `nan` pass, and every figure would be it."""
    assert run([*ALIKE, option, number]) == ExitCode.COULD_NOT_RUN
    assert option in capsys.readouterr().err


def test_a_worker_that_would_not_hold_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A hint on stderr; the table is the same."""
    huge = [argument if argument not in {"10", "1000"} else "10000000" for argument in ALIKE]
    assert run(huge) == ExitCode.AGREE
    assert "worker.memory_bytes_max" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "{}", '{"whole_path": {"loads": {}}}', '{"whole_path": {"loads": {"a": {}}}}', "\0"]
)
def test_a_file_that_no_bench_wrote_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Its path, what it lacks, and where such a file comes from."""
    path = tmp_path / "figures.json"
    path.write_text(text)
    assert run([*ALIKE, "--measured", str(path)]) == ExitCode.COULD_NOT_RUN
    err = capsys.readouterr().err
    assert str(path) in err
    assert "driftline bench --json" in err
