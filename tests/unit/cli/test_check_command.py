"""`driftline check --offline`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.adapters.preflight import secret_file_problems
from app.cli.exit_codes import ExitCode
from app.cli.main import run
from app.core.preflight.problems import Problem
from app.settings import load_settings

SETTINGS = """\
deployment: demo
bootstrap: 127.0.0.1:1
keys_dir: keys
state_dir: state
contracts_dir: contracts
placeholder_file: placeholder
stores:
  pg: {kind: postgres, topic_prefix: pg, converter: json, host: 127.0.0.1, port: 1, database: shop}
  my: {kind: mariadb, topic_prefix: my, converter: json, host: 127.0.0.1, port: 1, database: shop}
"""
CONTRACT = """\
entity: orders
version: 1
authority: {store: pg, table: public.orders}
replicas:
  - {store: my, table: shop.orders, window_ms: 1000}
key:
  id: {type: int64}
fields:
  note: {type: string}
"""


def deployment(folder: Path, settings: str = SETTINGS) -> Path:
    """Write a deployment with one contract, and return its settings' file."""
    (folder / "contracts").mkdir()
    (folder / "contracts" / "orders.yaml").write_text(CONTRACT)
    path = folder / "driftline.yaml"
    path.write_text(settings)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a deployment with one contract."""
    return deployment(tmp_path)


def test_right_files_pass_without_any_server(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Offline, nothing is asked, and the summary says so."""
    assert run(["--config", str(config), "-o", "json", "check", "--offline"]) == ExitCode.AGREE
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    assert "checked settings and contracts: 0 error(s), 0 warning(s)" in err


def test_each_fault_is_one_record_with_its_place(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two mistakes in a contract: two records, exit code 2."""
    broken = CONTRACT.replace("window_ms", "windw_ms").replace("int64", "int46")
    (config.parent / "contracts" / "orders.yaml").write_text(broken)
    assert run(["--config", str(config), "-o", "json", "check", "--offline"]) == ExitCode.COULD_NOT_RUN
    found = json.loads(capsys.readouterr().out)
    assert {one["where"].rpartition("/")[2] for one in found} == {
        "orders.yaml:5:5",
        "orders.yaml:5:37",
        "orders.yaml:7:14",
    }
    assert {one["problem"] for one in found} == {"contract"}
    assert any(one["hint"] == 'did you mean "window_ms"?' for one in found)


def test_broken_settings_are_told_in_the_same_form(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault of driftline.yaml is a record too."""
    config.write_text(SETTINGS.replace("keys_dir", "key_dir"))
    assert run(["--config", str(config), "-o", "jsonl", "check", "--offline"]) == ExitCode.COULD_NOT_RUN
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["where"].rpartition("/")[2] for one in found} == {"driftline.yaml:1:1", "driftline.yaml:3:1"}


def test_servers_that_are_not_there_are_errors_each_on_its_own(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles that are missing and brokers that are dead end in exit code 2, without a traceback."""
    monkeypatch.setattr("app.adapters.preflight_kafka._TIMEOUT_S", 0.5)
    assert run(["--config", str(config), "-o", "json", "check"]) == ExitCode.COULD_NOT_RUN
    found = json.loads(capsys.readouterr().out)
    unreachable = {one["where"] for one in found if one["problem"] == "unreachable"}
    assert unreachable == {"store pg", "store my", "127.0.0.1:1"}


def test_secrets_that_are_missing_or_open_are_told(config: Path) -> None:
    """A key that others may read, a password file that is not there; one that is closed raises nothing."""
    text = SETTINGS.replace("database: shop}", "database: shop, roles: {read: {user: r, password_file: pw}}}", 1)
    config.write_text(text)
    keys = config.parent / "keys"
    keys.mkdir()
    for name, mode in (("digest", 0o600), ("seal", 0o640)):
        (keys / f"{name}.key").write_bytes(b"k")
        (keys / f"{name}.key").chmod(mode)
    (config.parent / "placeholder").write_text("x")
    found = {(one.problem, Path(one.where).name) for one in secret_file_problems(load_settings(config, {}))}
    assert found == {
        (Problem.SECRET_READABLE, "seal.key"),
        (Problem.SECRET_MISSING, "ledger.key"),
        (Problem.SECRET_MISSING, "pw"),
    }


def test_other_commands_tell_every_fault_of_a_file_too(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `check` would say is said wherever settings are read, one line a fault."""
    config.write_text(SETTINGS.replace("keys_dir", "key_dir").replace("mariadb", "maria"))
    assert run(["--config", str(config), "beacon"]) == ExitCode.COULD_NOT_RUN
    told = [line for line in capsys.readouterr().err.splitlines() if "driftline.yaml:" in line]
    assert len(told) == 3
