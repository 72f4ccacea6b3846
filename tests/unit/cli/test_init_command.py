"""`driftline init`: what it shows before it runs anything, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.exit_codes import ExitCode
from app.cli.main import run
from tests.unit.cli.test_check_command import SETTINGS, deployment

FENCED = SETTINGS.replace(
    "database: shop}\n  my", "database: shop, fence_token: 3, shard_fence_tokens: {orders/pg/2: 5}}\n  my"
)
FENCED = FENCED.replace(
    "database: shop}\n", "database: shop, shard_fence_tokens: {orders/my/2: 5, customers/my/2: 1}}\n"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a deployment with one contract, in which one store has a fence."""
    return deployment(tmp_path, FENCED)


def test_a_fence_is_raised_only_where_that_is_asked_for(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To the token of the settings, and never below the one at which it stands."""
    for options, raised in (([], False), (["--raise-fence", "pg"], True)):
        assert run(["--config", str(config), "init", "--print", *options]) == ExitCode.AGREE
        shown = capsys.readouterr().out
        assert ("driftline_fence SET token = 3 WHERE scope = '*' AND token < 3;" in shown) is raised


def test_the_fence_of_a_shard_is_raised_for_itself(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the store that the shard is of; the store's own row is written as it is, or nothing would wait for anybody."""
    assert run(["--config", str(config), "init", "--print", "--raise-fence", "orders/my/2"]) == ExitCode.AGREE
    shown = capsys.readouterr().out
    assert (
        """INTO `driftline`.driftline_fence (scope, token) VALUES ('*', 0), ('orders/my/2', 5)"""
        """ ON DUPLICATE KEY UPDATE token = greatest(token, VALUES(token));"""
    ) in shown
    assert "driftline_fence SET token" not in shown
    for shard, told in (
        ("orders/my/3", "no token is set for orders/my/3"),
        ("orders/mine/2", "no store is named mine"),
        ("customers/my/2", "no contract repairs customers/my/2"),
        ("orders/pg/2", "no contract repairs orders/pg/2"),
    ):
        assert run(["--config", str(config), "init", "--print", "--raise-fence", shard]) == ExitCode.COULD_NOT_RUN
        assert told in capsys.readouterr().err


def test_a_fence_without_a_token_is_not_raised(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every repair carries 0: to raise it to that would void nothing, and look as if it had."""
    assert run(["--config", str(config), "init", "--print", "--raise-fence", "my"]) == ExitCode.COULD_NOT_RUN
    assert "fence_token" in capsys.readouterr().err
    assert run(["--config", str(config), "init", "--print", "--raise-fence", "mine"]) == ExitCode.COULD_NOT_RUN
    assert "no store is named mine" in capsys.readouterr().err


def test_what_is_run_on_a_standby_is_shown_and_is_the_login_that_looks_at_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody needs to write there."""
    named = "database: shop, standbys: [{host: replica-1, port: 3306}], roles: {read: {user: r}, apply: {user: a}}}\n"
    settings = SETTINGS.replace("database: shop}\n", "database: shop}\n", 1)
    head, _, last = settings.rpartition("database: shop}\n")
    config = deployment(tmp_path, head + named + last)
    assert run(["--config", str(config), "init", "--print"]) == ExitCode.AGREE
    _, _, there = capsys.readouterr().out.partition("-- store my, its standby at replica-1:3306\n")
    assert [statement.partition(" ")[0] for statement in there.split("\n\n") if statement] == [
        "CREATE",
        "ALTER",
        "GRANT",
    ]
    assert "GRANT SELECT ON `driftline`.driftline_beacon TO 'r'@'%';" in there
    assert "'a'" not in there


def test_what_is_run_in_mongodb_is_shown_as_one_command_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands as JSON, with their database; flags are changed where that is asked for, and passwords are hidden."""
    settings = SETTINGS + (
        "  docs: {kind: mongodb, topic_prefix: docs, converter: json, host: h, port: 1, database: d, fence_token: 3,"
        " roles: {beacon: {user: b, password_file: b}}}\n"
    )
    (tmp_path / "b").write_text("hunter2")
    config = deployment(tmp_path, settings)
    options = ["--accept-server", "docs", "--raise-fence", "docs"]
    assert run(["--config", str(config), "init", "--print", *options]) == ExitCode.AGREE
    shown = capsys.readouterr().out
    _, _, there = shown.partition("-- store docs: mongodb at h:1\n")
    asked = [json.loads(line) for line in there.split("\n\n") if line]
    assert {each["db"] for each in asked} == {"driftline", "admin", "d"}
    assert asked[0] == {"db": "driftline", "command": {**asked[0]["command"], "create": "driftline_beacon"}}
    accepted, raised, shared = (each["command"]["updates"] for each in asked[-3:])
    assert accepted == [{"q": {"_id": "server"}, "u": {"$set": {"token": "'server'"}}}]
    three = {"$numberLong": "3"}
    assert raised == [{"q": {"_id": "*", "token": {"$lt": three}}, "u": {"$set": {"token": three}}}]
    assert shared == [{"q": {}, "u": {"$inc": {"shared": {"$numberLong": "1"}}}, "multi": True}]
    assert "hunter2" not in shown
