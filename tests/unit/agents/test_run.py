"""How a worker's run ends, and what it says then."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import NodeNotReadyError

from app.agents.run import WorkerRun
from app.core.errors import Unready


class _App:
    """As much of a Faust app as a run looks at while it starts."""

    crashed = False
    started = False
    rebalancing = False
    should_stop = False
    in_recovery = False
    tables = SimpleNamespace(actives_ready=False)

    def __init__(self) -> None:
        self.before_offsets: list[object] = []

    async def start(self) -> None:
        """Fail as aiokafka does when the broker dies between two requests."""
        raise NodeNotReadyError("node 1")

    async def stop(self) -> None:
        """Nothing runs."""


def test_a_broker_that_dies_while_the_worker_starts_is_a_part_that_is_away() -> None:
    """Not a crash of ours: whoever supervises the worker is told to start it again (exit code 2)."""
    run = WorkerRun(
        app=cast("Any", _App()),
        ingest=cast("Any", None),
        duties=(),
        check_sinks=lambda: None,
        recovery=cast("Any", SimpleNamespace(look=lambda *_: None)),
        stopping=asyncio.Event(),
    )

    async def running() -> None:
        await run.run()

    with pytest.raises(Unready, match="NodeNotReady"):
        asyncio.run(running())
