"""Run a worker's app until it is told to stop or a part of it fails: what recurs, the graceful end, the exit."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka.errors import KafkaError

from app.agents.block_consumer import WorkerApp
from app.agents.ingest import Ingest
from app.agents.recovery_watch import RecoveryWatch
from app.core.errors import DriftlineError, Unready

MARK_EVERY_S: Final = 0.5
COPIES_TOLD_EVERY_S: Final = 1.0
_DRAIN_S: Final = 5.0
_WATCH_S: Final = 0.1
_RECOVERY_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that recurs while the worker holds partitions, or always. What it raises ends the worker."""

    name: str
    every_s: float
    do: Callable[[], Awaitable[None]]
    always: bool = False


@dataclass(slots=True)
class WorkerRun:
    """One run of a worker."""

    app: WorkerApp
    ingest: Ingest
    duties: Sequence[Duty]
    check_sinks: Callable[[], None]
    recovery: RecoveryWatch
    stopping: asyncio.Event

    @property
    def is_ready(self) -> bool:
        """Whether partitions are assigned and their state is recovered."""
        return bool(self.app.tables.actives_ready) and not self.app.rebalancing and not self.app.should_stop

    async def run(self) -> None:
        """Start, work, and end; raise what made it end, if it was not told to."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        self.app.before_offsets.append(self._cover)
        tasks = [asyncio.create_task(self._recur(duty), name=duty.name) for duty in self._all_duties()]
        try:
            await self._start()
            await self._watch(tasks)
        except KafkaError as fault:
            raise Unready(f"Kafka: {fault}", where="worker", hint="is the broker up? start the worker again") from fault
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()

    async def _start(self) -> None:
        starting = asyncio.create_task(self.app.start())
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            starting.result()
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting

    def _all_duties(self) -> list[Duty]:
        watching = Duty("recovery", _RECOVERY_LOOK_S, self._look_at_recovery, always=True)
        return [Duty("marks", MARK_EVERY_S, self._mark), watching, *self.duties]

    async def _look_at_recovery(self) -> None:
        self.recovery.look(records_to_recover(self.app), time.monotonic())

    async def _mark(self) -> None:
        self.check_sinks()
        self._cover()

    def _cover(self) -> None:
        """Finish what ingest has in hand. Each commit begins with it, or it would commit what was there at a mark."""
        if not self.is_ready:
            return
        consumer = self.app.consumer
        self.ingest.follow(consumer.epoch, {(tp.topic, tp.partition): at for tp, at in consumer.starts.items()})
        self.ingest.mark()

    async def _recur(self, duty: Duty) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if duty.always or self.is_ready:
                await duty.do()
            due = max(due + duty.every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _watch(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        while not self.stopping.is_set():
            if self.app.crashed:
                raise _reason(self.app)
            for task in tasks:
                if task.done():
                    task.result()
                    raise RuntimeError(f"the duty {task.get_name()} ended")
            await asyncio.sleep(_WATCH_S)

    async def _end(self) -> None:
        """Stop reading, let blocks in hand be finished, commit, and leave the group."""
        try:
            if not self.app.crashed and self.app.started and self.is_ready:
                await self._finish_blocks()
        finally:
            await self._stop()

    async def _stop(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            (fault,) = await asyncio.wait_for(
                asyncio.gather(self.app.stop(), return_exceptions=True), timeout=_DRAIN_S * 2
            )
            # What goes wrong while a crashed app stops must not hide what it crashed of.
            if isinstance(fault, BaseException) and not self.app.crashed:
                raise fault

    async def _finish_blocks(self) -> None:
        self.app.consumer.stop_flow()
        deadline = time.monotonic() + _DRAIN_S
        while self.app.consumer.unfinished_blocks() and time.monotonic() < deadline and not self.app.crashed:
            self.ingest.mark()
            await asyncio.sleep(0.02)
        while self.app.consumer.has_uncommitted and time.monotonic() < deadline and not self.app.crashed:
            await self.app.consumer.commit()
            await asyncio.sleep(0.02)


def _reason(app: WorkerApp) -> BaseException:
    reason: BaseException | None = app.crash_reason
    if isinstance(reason, DriftlineError):
        return reason
    if reason is None:
        return Unready("the worker's app has crashed", where="worker")
    return reason


def records_to_recover(app: WorkerApp) -> int | None:
    """Return how many offsets of the changelog are left to be read before the work can begin; None: no recovery."""
    return sum(app.tables.recovery.active_remaining().values()) if app.in_recovery else None


def records_to_copy(app: WorkerApp) -> int:
    """Return how many records the copies that this worker keeps lack of what there was when it began to read them."""
    recovery = app.tables.recovery
    # Of what this worker once kept Faust still knows the end. A copy that has just begun was read up to -1.
    ends, read = recovery.standby_highwaters, recovery.standby_offsets
    return sum(max(ends[tp] - read[tp], 0) for tp in recovery.standby_tps if tp in ends)
