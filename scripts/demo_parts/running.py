"""The whole thing running: stack, shop, connectors and Driftline, brought up in order, each step awaited."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from judge_parts.commit_times import CommitTimes
from judge_parts.health import EntityHealth, healths, newest_beacon_ms
from judge_parts.lateness import really_late
from judge_parts.registry import Registry
from judge_parts.stories import Stories, Story
from judge_parts.topics import ChangeTopics, Topics

from demo_parts import shop
from demo_parts.connect import Connect
from demo_parts.damages import Shop
from demo_parts.deployment import Deployment
from demo_parts.load import Load
from demo_parts.pipeline import Pipeline, await_condition, wall_clock
from demo_parts.places import STACK, Places
from demo_parts.processes import Processes
from demo_parts.sides import SERVER_GONE, Kind

Say = Callable[[str], None]
BEACONS = ("beacon-1", "beacon-2")
FEED = ("postgres-source", "mariadb-source")


class CommandFailed(RuntimeError):
    """A command of ours ended with an error; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be brought up."""

    stack: str = "demo"
    base_port: int | None = None
    reversed: bool = False
    window_s: float | None = None
    load_per_second: float = 50.0
    seed: int = 1


@dataclass
class Running:
    """Driftline and its demo shop, up and streaming."""

    plan: Plan
    places: Places
    deployment: Deployment
    shop: Shop
    load: Load
    processes: Processes
    topics: Topics
    changes: ChangeTopics
    commits: dict[Kind, CommitTimes]
    stories_of: Stories
    setup_s: float = 0.0
    _late: set[bytes] = field(default_factory=set)
    _clock: Path | None = None
    _is_copy_cut_off: bool = False
    _read_on_at: dict[str, float] = field(default_factory=dict)

    # What the judge sees

    def stories(self) -> list[Story]:
        """Return every drift that was published so far."""
        name = self.deployment.topic
        return self.stories_of.tell(self.topics.records(name("drifts")), self.topics.records(name("outcomes")))

    def was_late(self, story: Story) -> bool:
        """Whether the copy was really late with the row of a drift, by the judge's own reading."""
        if story.key is None or story.confirmed_at is None:
            return False
        if story.finding_id in self._late:
            return True
        sides = (self.shop.origin, self.shop.copy)
        # Read on at most once a second: a copy that was late is late with many rows at once.
        if time.monotonic() - self._read_on_at.get(story.entity, float("-inf")) > 1:
            for side in sides:
                self.changes.read_on(self.topic_of(side.kind, story.entity))
            self._read_on_at[story.entity] = time.monotonic()
        origin, copy = (
            [
                (self.commits[side.kind].of(change.transaction, change.at), change.row)
                for change in self.changes.history(self.topic_of(side.kind, story.entity), story.key)
            ]
            for side in sides
        )
        is_late = really_late(origin, copy, story.window_s, story.confirmed_at)
        if is_late:
            # Only this is final: what is not late yet may be so once its changes have been read.
            self._late.add(story.finding_id)
        return is_late

    @staticmethod
    def topic_of(kind: Kind, table: str) -> str:
        """Return the change topic of a table as Driftline's own connectors write it."""
        return f"pg.public.{table}" if kind is Kind.POSTGRES else f"my.shop.{table}"

    def health(self) -> dict[str, EntityHealth]:
        """Return what the product says of each entity."""
        return healths(self.topics.records(self.deployment.topic("status")))

    def beacon_ms(self) -> int:
        """Return the newest beacon in the databases."""
        return newest_beacon_ms(self.places.admin(kind) for kind in Kind)

    def window_of(self, entity: str) -> float:
        """Return the window of an entity in seconds, as its contract says."""
        text = (self.places.folder / "contracts" / f"{entity}.yaml").read_text(encoding="utf-8")
        line = next(line for line in text.splitlines() if line.strip().startswith("window_ms:"))
        return float(line.split(":")[1]) / 1000

    # What a person does

    def run(self, *arguments: str, patience_s: float = 60) -> str:
        """Run one of the product's commands; raise with what it said if it fails."""
        done = subprocess.run(
            self.deployment.command(*arguments), capture_output=True, text=True, timeout=patience_s, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-1500:]
            raise CommandFailed(f"driftline {' '.join(arguments)}: exit code {done.returncode}: {said}")
        return done.stdout

    def approve(self, commands: Sequence[bytes]) -> None:
        """Say yes to commands that wait for a person's word."""
        for start in range(0, len(commands), 50):
            words = [word for command in commands[start : start + 50] for word in ("--command", command.hex())]
            self.run("approve", *words, "--yes", "--why", "the demo planted this damage itself")

    # Processes

    def start_process(self, name: str) -> None:
        """Start one of the product's processes."""
        self.processes.start(name, self.deployment.command(*_COMMANDS[name]))

    def restart_after_kill(self, name: str) -> None:
        """End a process as a crash does, and start it again."""
        self.processes.kill(name)
        self.start_process(name)

    def kill_part(self, part: str, *, politely: bool = False) -> None:
        """End one server of the stack: with SIGKILL, or as its administrator would."""
        told = subprocess.run(
            [str(STACK), "status", "--name", self.plan.stack, "-o", "json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        pid = int(json.loads(told.stdout)["parts"][part]["pid"])
        self._is_copy_cut_off |= part == self.shop.copy.kind.value
        os.kill(
            pid, signal.SIGINT if politely and part == "postgres" else signal.SIGTERM if politely else signal.SIGKILL
        )
        await_condition(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), 30, f"{part} to end")

    def shift_clock(self, shift: str) -> None:
        """Let MariaDB's clock be wrong by so much; the first time, the server is restarted under libfaketime."""
        file = Path(self.places.told["mariadb"]["data_folder"]).parent / "clock"
        file.write_text(f"{shift}\n", encoding="ascii")
        file.chmod(0o644)
        if self._clock is None:
            self._clock = file
            self._is_copy_cut_off |= self.shop.copy.kind is Kind.MARIADB
            self.start_parts()

    def start_parts(self) -> None:
        """Start what does not run of the stack, with MariaDB's clock as it was, and the pipeline that fell with it."""
        stack(self.plan, "up", *([] if self._clock is None else ["--mariadb-faketime-file", str(self._clock)]))
        self.shop.pipeline.mend(copy_was_gone=self._is_copy_cut_off)
        self._is_copy_cut_off = False

    def check(self) -> None:
        """Raise if a process ended that should run, or the judge cannot read."""
        self.processes.check()
        if self.topics.broken:
            raise RuntimeError(f"the judge cannot read what is published: {self.topics.broken[0]}")

    def await_proven(self, seconds: float, entities: Sequence[str] | None = None) -> None:
        """Wait until every entity is covered, has nothing unknown, and is proven up to its window and 5 s ago."""
        names = list(entities or shop.tables_of(self.shop.origin))
        missing: list[str] = []
        # What was reported before a disturbance says nothing of what came of it.
        asked_at = wall_clock()

        def proven() -> bool:
            self.check()
            missing[:] = self.unproven(names, asked_at)
            return not missing

        try:
            await_condition(proven, seconds, "everything to be proven", every=0.5)
        except TimeoutError:
            raise TimeoutError(f"after {seconds:.0f} s: {'; '.join(missing)}") from None

    def unproven(self, names: Sequence[str] | None = None, reported_since: float = 0.0) -> list[str]:
        """Say what is not proven now, entity by entity; an empty list is what a quiet end looks like."""
        now_ms, known, missing = self.beacon_ms(), self.health(), []
        for name in names or shop.tables_of(self.shop.origin):
            health = known.get(name)
            if health is None:
                missing.append(f"{name}: no status was published")
                continue
            behind = health.behind_s(now_ms)
            if health.oldest_report_at < reported_since:
                missing.append(f"{name}: no status since")
            elif not health.covered:
                missing.append(f"{name}: not covered")
            elif health.unknown:
                missing.append(f"{name}: unknown {health.unknown}")
            elif behind is None or behind > self.window_of(name) + 5:
                missing.append(f"{name}: proven up to {'nothing' if behind is None else f'{behind:.1f} s ago'}")
        return missing

    def close(self) -> None:
        """End the load, the judge's reading, and every process of the product. The stack stays up."""
        self.load.stop()
        self.processes.end_all()
        self.topics.stop()
        self.changes.close()
        for watched in self.commits.values():
            watched.stop()


_COMMANDS: dict[str, tuple[str, ...]] = {
    "beacon-1": ("beacon",),
    "beacon-2": ("beacon",),
    "worker": ("worker",),
    "applier": ("applier",),
}


def bring_up(plan: Plan, say: Say) -> Running:
    """Bring everything up, until changes stream through it and every table is covered."""
    begun = time.monotonic()
    say("stack: starting afresh Kafka, Connect, registry, PostgreSQL, MariaDB")
    # Damages left by an earlier run would be found too, and their rows are those of this run's damages.
    _end_earlier_run(plan, say)
    stack(plan, "wipe")
    stack(plan, "up", *([] if plan.base_port is None else ["--base-port", str(plan.base_port)]))
    places = Places.of(plan.stack)
    origin_kind = Kind.MARIADB if plan.reversed else Kind.POSTGRES
    copy_kind = Kind.POSTGRES if plan.reversed else Kind.MARIADB
    pipeline = Pipeline(Connect(places.pipeline), places.bootstrap)
    shop_now = Shop(places.side(origin_kind), places.side(copy_kind), pipeline)
    deployment = Deployment(places, plan.reversed, plan.window_s)
    processes = Processes(places.folder)
    deployment.write()
    say("shop: tables and first rows")
    shop.make_origin(shop_now.origin)
    shop.make_copy(shop_now.copy)
    shop.seed(shop_now.origin)
    changes = ChangeTopics(places.bootstrap)
    running = Running(
        plan,
        places,
        deployment,
        shop_now,
        Load(shop_now.origin, per_second=plan.load_per_second, seed=plan.seed),
        processes,
        Topics(
            places.bootstrap,
            Registry(places.registry),
            tuple(deployment.topic(dataset) for dataset in ("drifts", "repairs", "outcomes", "status")),
        ),
        changes,
        {kind: CommitTimes(places.admin(kind)) for kind in Kind},
        Stories(changes),
    )
    for watched in running.commits.values():
        watched.start()
    try:
        _bring_up_driftline(running, say)
    except BaseException:
        running.close()
        raise
    running.setup_s = time.monotonic() - begun
    say(f"streaming after {running.setup_s:.1f} s")
    return running


def _end_earlier_run(plan: Plan, say: Say) -> None:
    try:
        processes = Processes(Places.of(plan.stack).folder)
    except FileNotFoundError:
        return
    for leftover in processes.end_leftovers():
        say(f"ended {leftover}, left running by an earlier run")


def _bring_up_driftline(running: Running, say: Say) -> None:
    say("pipeline: a source and two sinks that know nothing of Driftline; first copy")
    stack(running.plan, "connectors", "apply", *_pipeline_of(running.plan))
    await_condition(lambda: copy_is_complete(running.shop), 120, "the pipeline to fill the copy", every=0.5)
    # The sink has made its own table by now: `init` gives rights on it, and its change topic can be made first.
    say("driftline init: keys, topics, own tables; driftline keys: the key of the person who approves")
    running.run("init", "--yes", patience_s=120)
    if not running.deployment.approver_key.exists():
        running.run("keys", "make", "approver", "demo")
    say("driftline: beacon writers, worker and applier")
    for name in (*BEACONS, "worker", "applier"):
        running.start_process(name)
    running.topics.start()
    say("connectors: Driftline's own; waiting until every table is covered and proven")
    # Their marker rows are not waited for: nothing is proven before their changes stream.
    stack(running.plan, "connectors", "apply", "--no-wait", *FEED)
    running.await_proven(120)
    running.load.start()
    running.run("resume")


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and only its parent has not noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def copy_is_complete(shop_now: Shop) -> bool:
    """Whether the copy has every table with as many rows as the origin."""
    for table in shop.tables_of(shop_now.origin):
        try:
            counts = {side.query(f"SELECT COUNT(*) FROM {table}")[0] for side in (shop_now.origin, shop_now.copy)}  # noqa: S608
        except SERVER_GONE:  # a table that the sink has not made yet
            return False
        if len(counts) > 1:
            return False
    return True


def stack(plan: Plan, *arguments: str) -> None:
    """Call `scripts/stack` on the plan's stack; raise with what it said if it fails."""
    done = subprocess.run(
        [str(STACK), *arguments, "--name", plan.stack],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise CommandFailed(f"scripts/stack {' '.join(arguments)} failed:\n{said}")


def _pipeline_of(plan: Plan) -> tuple[str, ...]:
    source, sink = ("mariadb", "postgres") if plan.reversed else ("postgres", "mariadb")
    return (f"pipeline-{source}-source", f"pipeline-{sink}-sink", f"pipeline-{sink}-sink-large")
