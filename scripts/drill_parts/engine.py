"""`scripts/drill engine`: the engine under a live stream, while its workers and its broker are killed.

The drill writes two stores' change topics with a beacon every so many changes, as far ahead of the workers as a limit
allows, and lets happen what its seed says: workers join and leave, are killed with -9 (some all at once), one loses its
state, a block is refused by the broker, the broker is killed and comes back, connectors send again. In the end the
judge (`engine_judge`) rebuilds everything from the raw topics: every row's state and every verdict must be as if
nothing had happened. A watch samples meanwhile whether a committed offset was ever ahead of its effects.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from arguments import count, some
from confluent_kafka import TopicPartition
from engine_judge.deployment import Deployment
from engine_judge.offsets import OffsetWatch
from engine_judge.topics import bare_consumer, partitions_of

from drill_parts import troubles
from drill_parts.broker import Broker, limit_records
from drill_parts.deployment import MEMORY_BYTES_MAX, make
from drill_parts.envelopes import MariadbLog, PostgresLog
from drill_parts.traffic import Shape, Traffic
from drill_parts.troubles import Planned, Trouble
from drill_parts.workers import Unruly, Workers
from drill_parts.writer import BEAT_MS, Writer

Say = Callable[[str], None]

FULL, QUICK = 10_000_000, 1_000_000
_WINDOW_BEACONS: Final = 4
_BEACONS_AFTERWARDS: Final = 5 * _WINDOW_BEACONS
_LAST_WORDS: Final = 2
_STALLED_S: Final = 180.0
_FINISH_S: Final = 300.0
_REFUSED_ABOVE_BYTES: Final = 1_500
_REFUSED_WITHIN_S: Final = 90.0
_NOT_JUDGED: Final[dict[str, Any]] = {"rows": 0, "changes": 0, "drifts": 0, "faults": []}
_REFUSAL: Final = "Message size too large"


class Stuck(RuntimeError):
    """The workers did not get on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this drill."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--changes", type=some, default=FULL, help="changes of both stores together [%(default)s]")
    size.add_argument("--quick", dest="changes", action="store_const", const=QUICK, help=f"the same as {QUICK}")
    parser.add_argument("--kills", type=count, default=20, help="how often kill -9 happens [%(default)s]")
    parser.add_argument("--workers", type=some, default=3, help="workers that join and leave [%(default)s]")
    parser.add_argument("--name", default="drill-engine", help="the stack to use, of which only Kafka [%(default)s]")
    parser.add_argument("--base-port", type=int, help="the first of its ports")
    parser.add_argument("--keep", action="store_true", help="leave topics and folder, whatever the result")


def shape_of(changes: int) -> Shape:
    """Return how the changes are spread.

    A beacon comes every five thousand changes, which is about twice a second at the pace of the workers; a small drill
    still has two hundred.
    """
    rows = max(1_000, min(200_000, changes // 50))
    return Shape(
        changes=changes - 2 * rows,
        rows=rows,
        changes_per_beacon=max(100, min(5_000, changes // 200)),
        window_beacons=_WINDOW_BEACONS,
        damages=max(40, changes // 2_000),
    )


def engine(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Run the drill and return its result; `faults` is empty if all went well."""
    folder = Path(tempfile.mkdtemp(prefix="driftline-drill-"))
    broker = Broker(arguments.name, arguments.base_port)
    result: dict[str, Any] = {"faults": ["it was interrupted"]}
    try:
        say(f"folder {folder}")
        bootstrap = broker.start()
        drill = EngineDrill(arguments, folder, bootstrap, broker, say)
        result = drill.run()
    finally:
        if result["faults"] or arguments.keep:
            say(f"kept: {folder} (logs in {folder / 'logs'}), and the topics: scripts/stack up --name {broker.stack}")
            say(f"judge it again: PYTHONPATH=scripts .venv/bin/python -m engine_judge {folder}")
            broker.stop()
        else:
            broker.wipe()
            shutil.rmtree(folder)
    return result


class EngineDrill:
    """One run."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, bootstrap: str, broker: Broker, say: Say) -> None:
        self._arguments = arguments
        self._folder = folder
        self._broker = broker
        self._say = say
        self._chance = random.Random(arguments.seed + 1)  # noqa: S311 - a drill's dice
        self._shape = shape_of(arguments.changes)
        # So far ahead of the workers that none waits for work, and not farther: it is a stream and no backlog.
        self._ahead_most = max(4_000, min(60_000, arguments.changes // 25))
        name = f"d{arguments.seed}x{int(time.monotonic() * 1000) % 10**6}"
        self._deployment: Deployment = make(folder, bootstrap, name, _WINDOW_BEACONS * BEAT_MS, arguments.seed)
        self._traffic = Traffic(self._shape, arguments.seed)
        self._writer = Writer(
            bootstrap,
            PostgresLog(self._deployment.authority_topic, self._deployment.authority_beacons),
            MariadbLog(self._deployment.replica_topic, self._deployment.replica_beacons),
        )
        self._workers = Workers(folder, self._deployment, self._chance, say)
        self._watch = OffsetWatch(self._deployment)
        self._steps = self._traffic.steps()
        self._done = 0
        self._refused = 0

    def run(self) -> dict[str, Any]:
        """Run it to its judgement."""
        begun = time.monotonic()
        faults: list[str] = []
        try:
            self._begin()
            streamed = time.monotonic()
            self._stream()
            self._finish()
            seconds = time.monotonic() - streamed
            self._workers.end_all()
            self._watch.exact()
        except (Stuck, Unruly) as fault:
            faults.append(str(fault))
            seconds = time.monotonic() - begun
        finally:
            self._watch.stop()
            self._workers.abandon()
        self._say(f"{self._shape.changes / seconds:.0f} changes/s under all this; the judge reads the topics")
        judged: dict[str, Any] = _NOT_JUDGED if faults else self._judge()
        faults += self._watch.faults
        if self._workers.peak_bytes > MEMORY_BYTES_MAX:
            faults.append(f"a worker had {self._workers.peak_bytes} resident bytes of {MEMORY_BYTES_MAX}")
        if not self._watch.exact_samples:
            faults.append("no sample was taken while no worker ran")
        return {
            "seed": self._arguments.seed,
            **judged,
            "planted": dict(self._traffic.planted),
            "kills": self._workers.kills,
            "joins": self._workers.joins,
            "leaves": self._workers.leaves,
            "ended_by_themselves": self._workers.ended_by_themselves,
            "broker_restarts": self._broker.restarts,
            "deliveries_refused": self._refused,
            "offset_samples": self._watch.samples,
            "offset_samples_of_dead_workers": self._watch.exact_samples,
            "worker_peak_bytes": self._workers.peak_bytes,
            "stream_seconds": round(seconds, 1),
            "changes_per_second": round(self._shape.changes / seconds),
            "seconds": round(time.monotonic() - begun, 1),
            "folder": str(self._folder),
            "faults": faults + judged["faults"],
        }

    # -- the stages ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Write both snapshots and some beacons, start two workers at once, and wait until everything is covered."""
        self._writer.write(self._traffic.snapshot())
        self._writer.beat(snapshot=True)
        for _ in range(_WINDOW_BEACONS):
            self._writer.beat()
        self._writer.flush()
        # Neither has a committed offset when the second one's coming moves partitions.
        for number in range(1, troubles.AT_FIRST + 1):
            self._workers.join(f"worker-{number}")
        self._watch.start()
        self._until(self._is_covered, "coverage of the snapshots")
        self._say(f"{self._shape.rows} rows are covered; {self._shape.changes} changes follow")

    def _is_covered(self) -> bool:
        """Write a beacon and tell whether one has come through: what a rebalance forgets, the next one brings."""
        self._writer.beat()
        self._writer.flush()
        self._pause(BEAT_MS / 1_000)
        return self._watch.is_swept()

    def _stream(self) -> None:
        """Write the traffic, as far ahead of the workers as is allowed, and make the planned troubles."""
        coming = troubles.plan(self._chance, self._shape.changes, self._arguments.kills, self._arguments.workers)
        told = 0
        while self._write_interval():
            self._until(lambda: self._ahead() <= self._ahead_most, "workers that take changes")
            # One at a time, so that each meets workers at work.
            if coming and coming[0].at <= self._done:
                self._make(coming.pop(0))
            if self._done * 10 // self._shape.changes > told:
                told = self._done * 10 // self._shape.changes
                self._say(f"{self._done} changes are written, {self._ahead()} records are ahead")
        for planned in coming:
            self._make(planned)

    def _write_interval(self) -> bool:
        """Write the changes up to the next beacon, and that; False after the last."""
        steps = list(itertools.islice(self._steps, self._shape.changes_per_beacon))
        self._writer.write(steps)
        self._writer.beat()
        self._done += len(steps)
        self._workers.turn()
        return bool(steps)

    def _ahead(self) -> int:
        return self._writer.written - self._watch.committed_changes()

    def _finish(self) -> None:
        """Let the last windows run out, and wait until every receiver has taken everything in.

        The last beacons come when nothing else is on its way: a barrier that waits is forgotten by a worker that ends,
        since the next one says more.
        """
        for _ in range(_BEACONS_AFTERWARDS):
            self._writer.beat()
        for _ in range(_LAST_WORDS):
            self._writer.flush()
            ends = self._ends()
            self._until(lambda ends=ends: self._watch.has_taken_in(ends), "the end", _FINISH_S)  # type: ignore[misc]
            self._writer.beat()
        self._writer.flush()
        ends = self._ends()
        self._until(lambda: self._watch.has_taken_in(ends) and self._watch.is_swept(), "the last beacon", _FINISH_S)

    def _ends(self) -> dict[tuple[str, int], int]:
        consumer = bare_consumer(self._deployment.bootstrap)
        try:
            return {
                (topic, partition): consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
                for topic in self._deployment.change_topics
                for partition in partitions_of(consumer, topic)
            }
        finally:
            consumer.close()

    def _judge(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "engine_judge", str(self._folder)], capture_output=True, text=True, check=False
        )
        if not done.stdout:
            return {**_NOT_JUDGED, "faults": [f"the judge could not judge: {done.stderr[-2000:]}"]}
        told: dict[str, Any] = json.loads(done.stdout)
        (self._folder / "judgement.json").write_text(done.stdout, encoding="utf-8")
        return told

    def _until(self, claim: Callable[[], bool], why: str, within_s: float = _STALLED_S) -> None:
        """Wait until something holds, and be the workers' supervisor meanwhile."""
        deadline = time.monotonic() + within_s
        while not claim():
            self._workers.turn()
            if not self._watch.is_awake:
                raise Stuck("nobody watches the offsets any more")
            if time.monotonic() > deadline:
                raise Stuck(f"waited {within_s:.0f} s for {why}; running: {', '.join(self._workers.names())}")
            time.sleep(0.05)

    # -- troubles ------------------------------------------------------------------------------------------------

    def _make(self, planned: Planned) -> None:
        # Not when a block has just been committed, which is what was waited for, but at any moment.
        self._pause(self._chance.uniform(0, 0.6))
        subject = planned.subject or self._chance.choice(self._workers.names() or ["worker-1"])
        self._say(f"{planned.trouble.value}{f' ({subject})' if planned.subject else ''}")
        match planned.trouble:
            case Trouble.JOIN:
                self._workers.join(subject)
            case Trouble.LEAVE:
                self._workers.leave(subject)
            case Trouble.KILL | Trouble.WIPE:
                self._until(lambda: bool(self._workers.names()), "a worker to kill")
                victim = self._chance.choice(self._workers.names())
                self._workers.kill(victim, wipe=planned.trouble is Trouble.WIPE)
            case Trouble.KILL_ALL:
                self._until(lambda: bool(self._workers.names()), "a worker to kill")
                for name in self._workers.names():
                    self._workers.kill(name)
                self._watch.exact()
            case Trouble.BROKER:
                self._broker.kill_and_start()
            case Trouble.REFUSE:
                self._refuse_a_block()
            case Trouble.SEND_AGAIN:
                self._writer.send_again(subject)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._workers.turn()
            time.sleep(0.02)

    def _refuse_a_block(self) -> None:
        """Let the broker refuse large batches of `observations` until a worker has ended of it; small marks pass."""
        before = self._workers.ended_by_themselves
        limit_records(self._deployment.bootstrap, self._deployment.observations, _REFUSED_ABOVE_BYTES)
        try:
            deadline = time.monotonic() + _REFUSED_WITHIN_S
            while self._workers.ended_by_themselves == before and time.monotonic() < deadline:
                # Something must be there to be refused.
                if self._ahead() <= self._ahead_most:
                    self._write_interval()
                self._pause(0.05)
        finally:
            limit_records(self._deployment.bootstrap, self._deployment.observations, None)
        self._refused = sum(self._workers.log(name).count(_REFUSAL) > 0 for name in self._workers.every_name())
        if not self._refused:
            raise Stuck("no worker ended of a block that the broker refused")


def last_line(result: dict[str, Any]) -> str:
    """Return what the drill says last."""
    return (
        f"{result['changes']} changes of {result['rows']} rows, {result['drifts']} drifts,"
        f" {result['kills']} kills, {result['broker_restarts']} broker restarts,"
        f" {result['deliveries_refused']} blocks refused, {result['offset_samples']} samples of offsets;"
        f" seed {result['seed']}"
    )
