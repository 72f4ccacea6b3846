"""Each import rule, proved by a violation that is planted in a copy of the package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

VIOLATIONS = {
    "the core reads a clock": ("core/plan.py", "import time", "core is pure"),
    "the core knows a framework": ("core/plan.py", "import msgspec", "core is pure"),
    "the core imports a shell": ("core/plan.py", "import app.codec.wire", "one way only"),
    "agents reach into the applier": ("agents/rows.py", "import app.applier.apply", "one way only"),
    "agents reach into adapters": ("agents/rows.py", "import app.adapters.seal", "shells speak to ports"),
    "an adapter knows Faust": ("adapters/seal.py", "import faust", "Faust lives in agents"),
    "an agent opens a database": ("agents/rows.py", "import psycopg", "drivers live in adapters"),
    "the applier needs the agents": (
        "applier/apply.py",
        "import app.agents.rows",
        "the applier runs without the agents",
    ),
    "the history opens a database": ("history/projection.py", "import psycopg", "drivers live in adapters"),
    "the history reaches into adapters": ("history/questions.py", "import app.adapters.seal", "shells speak to ports"),
    "a module without a place": ("helpers.py", "x = 1", "one way only"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_planted_violation_is_reported(violation: str, tmp_path: Path) -> None:
    """A forbidden import breaks exactly the rule that forbids it."""
    file, line, rule = VIOLATIONS[violation]
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    target = tmp_path / "app" / file
    before = target.read_text() if target.exists() else ""
    # The future import must stay first; a module docstring may stand before it.
    head, mark, tail = before.partition("from __future__ import annotations\n")
    target.write_text(f"{head}{mark}{line}\n{tail}" if mark else f"{line}\n{before}")
    ran = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"{rule} BROKEN" in ran.stdout
