"""`driftline init`: what it shows before it runs anything, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.exit_codes import ExitCode
from app.cli.main import run
from tests.unit.cli.test_check_command import SETTINGS, deployment

FENCED = SETTINGS.replace(
    "database: shop}\n  my", "database: shop, fence_token: 3, shard_fence_tokens: {orders/pg/2: 5}}\n  my"
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
    """In the store that the shard is of; the store's own fence stays."""
    assert run(["--config", str(config), "init", "--print", "--raise-fence", "orders/pg/2"]) == ExitCode.AGREE
    shown = capsys.readouterr().out
    assert (
        """INTO "driftline".driftline_fence (scope, token) VALUES ('orders/pg/2', 5)"""
        """ ON CONFLICT (scope) DO UPDATE SET token = greatest("driftline".driftline_fence.token, 5);"""
    ) in shown
    assert "driftline_fence SET token" not in shown
    for shard, told in (
        ("orders/pg/3", "no token is set for orders/pg/3"),
        ("orders/mine/2", "no store is named mine"),
    ):
        assert run(["--config", str(config), "init", "--print", "--raise-fence", shard]) == ExitCode.COULD_NOT_RUN
        assert told in capsys.readouterr().err


def test_a_fence_without_a_token_is_not_raised(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every repair carries 0: to raise it to that would void nothing, and look as if it had."""
    assert run(["--config", str(config), "init", "--print", "--raise-fence", "my"]) == ExitCode.COULD_NOT_RUN
    assert "fence_token" in capsys.readouterr().err
    assert run(["--config", str(config), "init", "--print", "--raise-fence", "mine"]) == ExitCode.COULD_NOT_RUN
    assert "no store is named mine" in capsys.readouterr().err
