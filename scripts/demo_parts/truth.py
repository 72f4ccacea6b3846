"""The truth drill: drifts of every kind are planted under load while the pipeline's sink pauses, lags and restarts.

The judge counts at the end, once every change that bears on it has been read: each planted row found under its right
name; each other drift either really late by both logs, and then resolved and never repaired, or a false alarm.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from arguments import positive, seconds, some
from judge_parts.opinion import Opinion, judge

from demo_parts.campaign import Campaign
from demo_parts.damages import Damage
from demo_parts.performance import judge_rows, late_problem
from demo_parts.pipeline import await_condition
from demo_parts.running import Plan, Running, Say, bring_up, stack
from demo_parts.shop import FIRST_LOADED_ID
from demo_parts.sides import SERVER_GONE, Side, is_deadlock
from demo_parts.truth_plan import Round, Trouble, TruthPlan, plan_of

FULL_DRIFTS, FULL_SECONDS, FULL_RATE = 200, 1_200.0, 500.0
QUICK_DRIFTS, QUICK_SECONDS, QUICK_WINDOW_S = 40, 110.0, 5.0
_RATE_PER_CORE: Final = 60.0
_LOOKS_EVERY_S: Final = 1.0
_CAUGHT_UP_S: Final = 120.0
_AFTERWARDS_S: Final = 180.0
_PROVEN_S: Final = 90.0
_LOCKED_S: Final = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this drill."""
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"4 minutes: {QUICK_DRIFTS} drifts within {QUICK_SECONDS:.0f} s, windows of {QUICK_WINDOW_S:g} s,"
        f" {_RATE_PER_CORE:.0f} changes/s for each core",
    )
    parser.add_argument("--seconds", type=positive, help=f"how long load and troubles last [{FULL_SECONDS:.0f}]")
    parser.add_argument("--rate", type=positive, help=f"changes per second [{FULL_RATE:.0f}]")
    parser.add_argument("--drifts", type=some, help=f"rows to damage [{FULL_DRIFTS}]")
    parser.add_argument("--window", type=seconds, help="another window than the contracts' 10 s")
    parser.add_argument("--name", default="drill-truth", help="the stack to use [%(default)s]")
    parser.add_argument("--base-port", type=int, help="the first of its ports")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `window_s` None: what the contracts say."""

    drifts: int
    seconds: float
    rate: float
    window_s: float | None

    @classmethod
    def of(cls, arguments: argparse.Namespace, cores: int) -> Size:
        """Return what was asked for; quick is made for the machine, and any option outweighs it."""
        usual = (
            cls(QUICK_DRIFTS, QUICK_SECONDS, min(FULL_RATE, _RATE_PER_CORE * cores), QUICK_WINDOW_S)
            if arguments.quick
            else cls(FULL_DRIFTS, FULL_SECONDS, FULL_RATE, None)
        )
        asked = {
            "drifts": arguments.drifts,
            "seconds": arguments.seconds,
            "rate": arguments.rate,
            "window_s": arguments.window,
        }
        return replace(usual, **{name: value for name, value in asked.items() if value is not None})


def truth(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Run the drill and return its result; `faults` is empty if all went well."""
    size = Size.of(arguments, len(os.sched_getaffinity(0)))
    plan = Plan(
        stack=arguments.name,
        base_port=arguments.base_port,
        window_s=size.window_s,
        load_per_second=size.rate,
        seed=arguments.seed,
    )
    plan_of(arguments.seed, size.drifts, size.seconds, size.window_s or 0)  # what it has no rows for is told at once
    running = None
    try:
        running = bring_up(plan, say)
        window_s = running.window_of("orders")
        course = plan_of(arguments.seed, size.drifts, size.seconds, window_s)
        say(f"{course.drifts} drifts within {size.seconds:.0f} s, {size.rate:.0f} changes/s, window {window_s:g} s")
        return TruthDrill(running, course, window_s, say).run(size.seconds) | {"seed": arguments.seed}
    finally:
        if running is not None:
            running.close()
        if not arguments.keep:
            stack(plan, "down")


class TruthDrill:
    """One run on a system that is up."""

    def __init__(self, running: Running, course: TruthPlan, window_s: float, say: Say) -> None:
        self._running = running
        self._course = course
        self._window_s = window_s
        self._say = say
        self._alone = list(course.alone)
        # What is late is judged at the end: by then every change that bears on it has been read.
        self._campaign = Campaign(running.shop, running.stories, running.approve, lambda _: True, running.check)
        self._troubles: Counter[Trouble] = Counter()
        self._begun = time.monotonic()

    def run(self, seconds: float) -> dict[str, Any]:
        """Run it to its judgement."""
        self._begun = time.monotonic()
        written_before = self._running.load.written
        for part in self._course.rounds:
            self._plant_calmly(part)
            self._go_on_until(part.troubled_at_s)
            self._say(f"{part.trouble.value}, for {part.lasts_s:.1f} s")
            with troubled(self._running, part.trouble):
                self._troubles[part.trouble] += 1
                self._go_on_until(time.monotonic() - self._begun + part.lasts_s)
            self._running.shop.pipeline.mend()
        self._go_on_until(seconds)
        per_second = (self._running.load.written - written_before) / (time.monotonic() - self._begun)
        self._running.load.stop()
        self._say(f"the troubles are over; {per_second:.0f} changes/s; waiting for what is still to come")
        faults = self._settled()
        return self._judged(faults) | {"changes_per_second": round(per_second, 1)}

    def _plant_calmly(self, part: Round) -> None:
        """Plant what goes through the pipeline, once it has caught up with the origin."""
        if not part.calm:
            return
        last = self._last_order()
        await_condition(lambda: self._copied(last), _CAUGHT_UP_S, "the pipeline to catch up")
        cases = self._campaign.prepare([_approvable(damage) for damage in part.calm])
        # What the damages rest on must be agreed before they are planted, or one window would cover both.
        self._go_on_until(time.monotonic() - self._begun + 1)
        for case in cases:
            self._campaign.plant(case)

    def _last_order(self) -> int:
        row = self._running.shop.origin.one("SELECT MAX(id) FROM orders WHERE id >= %s", (FIRST_LOADED_ID,))
        return int(row[0]) if row and row[0] is not None else 0

    def _copied(self, last: int) -> bool:
        """Whether the copy was brought an order as new as this one, which may be deleted again."""
        row = self._running.shop.copy.one("SELECT MAX(id) FROM orders")
        return bool(row and row[0] is not None and int(row[0]) >= last)

    def _go_on_until(self, second: float) -> None:
        """Plant what is due behind the pipeline's back, and say yes where a person must, up to a second."""
        while (passed := time.monotonic() - self._begun) < second:
            while self._alone and self._alone[0][0] <= passed:
                self._campaign.plant(*self._campaign.prepare([_approvable(self._alone.pop(0)[1])]))
            self._running.check()
            self._campaign.look()
            time.sleep(max(0.0, min(_LOOKS_EVERY_S, second - (time.monotonic() - self._begun))))

    def _settled(self) -> list[str]:
        """Wait until every damage came to its end, everything is proven, and what was late has resolved."""
        self._campaign.follow(_AFTERWARDS_S, lambda: None)
        try:
            self._running.await_proven(_PROVEN_S)
        except TimeoutError as error:
            return [f"at the end: {error}"]
        with contextlib.suppress(TimeoutError):
            await_condition(self._all_closed, _PROVEN_S, "every drift to be over", every=_LOOKS_EVERY_S)
        return []

    def _all_closed(self) -> bool:
        return all(s.closed_at or s.refusal or s.is_incident for s in self._running.stories() if s.confirmed_at)

    def _judged(self, faults: list[str]) -> dict[str, Any]:
        self._campaign.look()
        cases = self._campaign.cases
        opinion = judge([p for c in cases for p in c.planted], self._running.stories(), self._running.was_late)
        faults += [fault for case in cases for fault in case.faults()]
        faults += [f"never happened: {trouble.value}" for trouble in Trouble if not self._troubles[trouble]]
        if self._alone:
            faults.append(f"{len(self._alone)} damages were not planted in time")
        faults += opinion_faults(opinion, must_be_late=any(p.is_late_for(self._window_s) for p in self._course.rounds))
        if problem := late_problem(self._running, opinion.really_late):
            faults.append(problem)
        faults += [f"{name} has failed: {why}" for name, why in self._running.shop.pipeline.failures().items()]
        faults += judge_rows(self._running, self._campaign)
        return counted(opinion) | {
            "window_s": self._window_s,
            "healed_by_a_redelivery": sum(case.healed for case in cases),
            "troubles": {trouble.name.lower(): self._troubles[trouble] for trouble in Trouble},
            "faults": faults,
        }


def _approvable(damage: Damage) -> Damage:
    """Let a person say yes to its repair: while a thousand rows are late, every command waits for one."""
    return replace(damage, needs_approval=True)


def opinion_faults(opinion: Opinion, *, must_be_late: bool) -> list[str]:
    """Say what was raised for nothing; and if a copy that was certainly late was never told of."""
    faults = [f"false alarm: {s.entity} {s.key} {s.kind}" for s in (*opinion.false_alarms, *opinion.refuted)]
    if must_be_late and not opinion.really_late:
        faults.append("the copy was late for longer than its window, and nothing was said")
    return faults


def counted(opinion: Opinion) -> dict[str, Any]:
    """Return the opinion in numbers; a row under a wrong name is not found."""
    found = [f for f in opinion.found if f.story and f.story.kind == f.planted.kind]
    after = sorted(f.detected_after for f in found if f.detected_after is not None)
    return {
        "planted": len(opinion.found),
        "planted_by_kind": dict(Counter(f.planted.kind for f in opinion.found)),
        "planted_by_damage": dict(Counter(f.planted.damage for f in opinion.found)),
        "found": len(found),
        "misnamed": sum(f.story.kind != f.planted.kind for f in opinion.found if f.story),
        "missed": sum(f.story is None for f in opinion.found),
        "false_alarms": len(opinion.false_alarms) + len(opinion.refuted),
        "really_late": len(opinion.really_late),
        "detected_after_median_s": round(median(after), 2) if after else None,
        "detected_after_most_s": round(after[-1], 2) if after else None,
    }


@contextlib.contextmanager
def troubled(running: Running, trouble: Trouble) -> Iterator[None]:
    """Trouble the sink that writes most tables within the block."""
    connect, sink = running.shop.pipeline.connect, running.shop.pipeline.sink_of("orders")
    match trouble:
        case Trouble.PAUSE:
            connect.pause(sink)
            try:
                yield
            finally:
                connect.resume(sink)
        case Trouble.LAG:
            with _orders_locked(running.shop.copy):
                yield
        case Trouble.RESTART:
            connect.restart(sink)
            yield


@contextlib.contextmanager
def _orders_locked(copy: Side) -> Iterator[None]:
    """Hold the locks of all orders under load within the block."""
    deadline_s = time.monotonic() + _LOCKED_S
    with copy.connection(autocommit=False) as connection:
        while True:
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT id FROM orders WHERE id >= %s FOR UPDATE", (FIRST_LOADED_ID,))
                break
            except SERVER_GONE as error:
                # The sink takes its locks in an order of its own: of two that wait for each other, it is the heavier.
                if not is_deadlock(error) or time.monotonic() > deadline_s:
                    raise
                connection.rollback()
        yield


def truth_told(result: dict[str, Any]) -> str:
    """Return what the drill says last."""
    return (
        f"{result['planted']} planted, {result['found']} found with the right kind, {result['misnamed']} misnamed,"
        f" {result['missed']} missed, {result['false_alarms']} false; {result['really_late']} really late and told;"
        f" {result['changes_per_second']} changes/s; seed {result['seed']}"
    )
