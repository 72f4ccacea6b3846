"""The bench kills a worker only when another has all of its state, and knows that from what the other one tells."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from app.adapters.health import Health, HealthServer
from app.adapters.metrics import Metrics
from app.agents.run import COPIES_TOLD_EVERY_S
from app.bench import recovery
from app.bench.deployment import WorkerProcess
from app.bench.recovery import has_copied
from app.observe import STATE_COPIES_LEFT

NO_PROCESS = cast("subprocess.Popen[bytes]", None)


@pytest.fixture
def told() -> Iterator[tuple[Metrics, WorkerProcess]]:
    """Give the metrics of a worker that is ready, and the worker as the bench sees it."""
    metrics = Metrics()
    server = HealthServer("127.0.0.1", 0, Health(dict, lambda: {"ready": True}, metrics.page))
    try:
        yield metrics, WorkerProcess(NO_PROCESS, server.port, Path("log"))
    finally:
        server.close()


def test_a_copy_is_whole_when_nothing_was_left_for_longer_than_until_the_next_look(
    told: tuple[Metrics, WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first look the worker shows that nothing is left, and that is no word of it."""
    metrics, worker = told
    now_s = 100.0
    monkeypatch.setattr(recovery, "time", type("_Clock", (), {"monotonic": staticmethod(lambda: now_s)}))
    is_copied: Any = has_copied(worker)
    assert not is_copied()
    metrics.set(STATE_COPIES_LEFT, 12_000_000)
    assert worker.gauge(STATE_COPIES_LEFT) == 12_000_000
    now_s += 3 * COPIES_TOLD_EVERY_S
    assert not is_copied()
    metrics.set(STATE_COPIES_LEFT, 0)
    assert not is_copied()
    now_s += 3 * COPIES_TOLD_EVERY_S
    assert is_copied()
