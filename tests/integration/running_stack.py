"""Find the local stack that integration tests run on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_PROJECT = Path(__file__).resolve().parents[2]
_STACKS = _PROJECT / ".stack"
_STACK = _PROJECT / "scripts" / "stack"
_VARIABLE = "DRIFTLINE_TEST_STACK"
_ADDRESS = re.compile(r"(?:^|//)([^/:]+):(\d+)")


def running_stack(*parts: str) -> dict[str, Any]:
    """Return what `scripts/stack` tells of the test stack; skip without it, fail in CI.

    The variable DRIFTLINE_TEST_STACK names the stack (default: test).
    """
    name = os.environ.get(_VARIABLE, "test")
    told_file = _STACKS / name / "stack.json"
    missing = f"no stack {name!r} runs: scripts/stack up --name {name}"
    if told_file.is_file():
        told: dict[str, Any] = json.loads(told_file.read_text(encoding="utf-8"))
        silent = [part for part in parts if part not in told or not _answers(told[part])]
        if not silent:
            return told
        missing = f"of the stack {name!r} these do not answer: {', '.join(silent)}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@contextlib.contextmanager
def part_killed(part: str) -> Iterator[None]:
    """End one server of the test stack with SIGKILL, and start it again behind the block whatever happened in it."""
    name = os.environ.get(_VARIABLE, "test")
    status = subprocess.run(
        [str(_STACK), "status", "--name", name, "-o", "json"], capture_output=True, text=True, check=False
    )
    told = json.loads(status.stdout)
    os.kill(int(told["parts"][part]["pid"]), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while _answers(told[part]):
        assert time.monotonic() < deadline, f"{part} answers still"
        time.sleep(0.05)
    try:
        yield
    finally:
        subprocess.run([str(_STACK), "up", "--name", name, "--quiet"], check=True, timeout=300)


def _answers(part: dict[str, Any]) -> bool:
    """Tell whether every address of a part takes connections: its description outlives the part."""
    for host, port in _addresses(part):
        try:
            socket.create_connection((host, port), timeout=2).close()
        except OSError:
            return False
    return True


def _addresses(part: dict[str, Any]) -> Iterator[tuple[str, int]]:
    if "port" in part:
        yield part["host"], part["port"]
    for value in part.values():
        if isinstance(value, str) and (found := _ADDRESS.search(value)):
            yield found[1], int(found[2])
