"""Find the local stack that integration tests run on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

_STACKS = Path(__file__).resolve().parents[2] / ".stack"
_VARIABLE = "DRIFTLINE_TEST_STACK"


def running_stack(*parts: str) -> dict[str, Any]:
    """Return what `scripts/stack` tells of the test stack; skip without it, fail in CI.

    The variable DRIFTLINE_TEST_STACK names the stack (default: test).
    """
    name = os.environ.get(_VARIABLE, "test")
    told_file = _STACKS / name / "stack.json"
    missing = f"no stack {name!r} runs: scripts/stack up --name {name}"
    if told_file.is_file():
        told: dict[str, Any] = json.loads(told_file.read_text(encoding="utf-8"))
        stopped = [part for part in parts if part not in told]
        if not stopped:
            return told
        missing = f"the stack {name!r} has no {', '.join(stopped)}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
