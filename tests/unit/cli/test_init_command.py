"""`driftline init`: what it shows before it runs anything, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.exit_codes import ExitCode
from app.cli.main import run
from tests.unit.cli.test_check_command import SETTINGS, deployment

FENCED = SETTINGS.replace("database: shop}\n  my", "database: shop, fence_token: 3}\n  my")


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


def test_a_fence_without_a_token_is_not_raised(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every repair carries 0: to raise it to that would void nothing, and look as if it had."""
    assert run(["--config", str(config), "init", "--print", "--raise-fence", "my"]) == ExitCode.COULD_NOT_RUN
    assert "fence_token" in capsys.readouterr().err
    assert run(["--config", str(config), "init", "--print", "--raise-fence", "mine"]) == ExitCode.COULD_NOT_RUN
    assert "no store is named mine" in capsys.readouterr().err
