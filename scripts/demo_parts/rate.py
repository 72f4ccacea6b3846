"""The rate drill: rows of the copy are damaged at a steady pace, and each is timed from its detection to its proof.

Nothing is killed and nobody approves: told is how long a repair takes while as many come every second, through planner,
applier and change capture. Times are those that Kafka gave to the records, on the clock of this machine.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any, Final

from arguments import positive, seconds
from judge_parts.stories import Story

from demo_parts.performance import judge_rows
from demo_parts.pipeline import await_condition, wall_clock
from demo_parts.running import Plan, Running, Say, bring_up, stack
from demo_parts.shop import FIRST_LOADED_ID, moment

P99_BAR_S: Final = 10.0
_FIRST_ROW: Final = 100_000
_COPIED_S: Final = 180.0
_PROVEN_S: Final = 120.0
_AFTERWARDS_S: Final = 120.0
_LOOKS_EVERY_S: Final = 1.0
_TOLD_MOST: Final = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this drill."""
    parser.add_argument("--rate", type=positive, default=50, help="damaged rows per second [%(default)s]")
    parser.add_argument("--seconds", type=positive, default=60, help="for how long [%(default)s]")
    parser.add_argument("--load", type=positive, default=20, help="the application's changes per second [%(default)s]")
    parser.add_argument("--window", type=seconds, help="another window than the contracts' 10 s")
    parser.add_argument("--reversed", action="store_true", help="repair PostgreSQL from MariaDB")
    parser.add_argument("--name", default="drill-rate", help="the stack to use [%(default)s]")
    parser.add_argument("--base-port", type=int, help="the first of its ports")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")


def rate(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Run the drill and return its result; `faults` is empty if all went well."""
    plan = Plan(
        stack=arguments.name,
        base_port=arguments.base_port,
        reversed=arguments.reversed,
        window_s=arguments.window,
        load_per_second=arguments.load,
        seed=arguments.seed,
    )
    running = None
    try:
        running = bring_up(plan, say)
        return _drilled(
            running, range(_FIRST_ROW, _FIRST_ROW + round(arguments.rate * arguments.seconds)), arguments, say
        )
    finally:
        if running is not None:
            running.close()
        if not arguments.keep:
            stack(plan, "down")


def _drilled(running: Running, rows: range, arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    _fill(running, rows)
    # What the damages rest on must be agreed before they are planted, or one window would cover both.
    running.await_proven(_PROVEN_S)
    say(f"damaging {len(rows)} rows, {arguments.rate:g} a second")
    planted = _damaged(running, rows, arguments.rate)
    per_second = (len(rows) - 1) / max(1e-9, planted[rows[-1]] - planted[rows[0]])
    say(f"all are damaged, {per_second:.0f} a second; waiting for the last repairs")
    deadline = time.monotonic() + running.window_of("customers") + _AFTERWARDS_S
    while len(_verified(stories := _stories(running, rows))) < len(rows) and time.monotonic() < deadline:
        running.check()
        time.sleep(_LOOKS_EVERY_S)
    running.load.stop()
    return _judged(running, planted, stories) | {"seed": arguments.seed, "repairs_per_second": round(per_second, 1)}


def _fill(running: Running, rows: range) -> None:
    """Write rows that nobody touches, and wait until the copy has them."""
    with running.shop.origin.connection(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO customers (id, email, name, city, vip, created_at) VALUES (%s, %s, %s, %s, %s, %s)",
            [(n, f"rate{n}@example.org", f"Rate {n}", "Bern", False, moment(n % FIRST_LOADED_ID)) for n in rows],
        )
    count = "SELECT count(*) FROM customers WHERE id >= %s"
    copied = (len(rows),)
    await_condition(lambda: running.shop.copy.one(count, (rows[0],)) == copied, _COPIED_S, "the copy to be filled")


def _damaged(running: Running, rows: range, per_second: float) -> dict[int, float]:
    """Change each row of the copy at its moment; return when it was."""
    planted: dict[int, float] = {}
    begun = time.monotonic()
    with running.shop.copy.connection() as connection, connection.cursor() as cursor:
        for number, row in enumerate(rows):
            time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
            cursor.execute("UPDATE customers SET city = %s WHERE id = %s", (f"Nowhere {number}", row))
            planted[row] = wall_clock()
    return planted


def _stories(running: Running, rows: range) -> list[Story]:
    return [story for story in running.stories() if story.entity == "customers" and story.key in rows]


def _verified(stories: Sequence[Story]) -> set[int | None]:
    return {story.key for story in stories if "verified" in story.stages}


def _judged(running: Running, planted: dict[int, float], stories: Sequence[Story]) -> dict[str, Any]:
    detected = [s.confirmed_at - planted[s.key] for s in stories if s.key is not None and s.confirmed_at is not None]
    applied = [s.applied_at - s.confirmed_at for s in stories if s.applied_at and s.confirmed_at]
    proven = [s.stages["verified"] - s.confirmed_at for s in stories if s.confirmed_at and "verified" in s.stages]
    faults = [f"row {row} was never found" for row in sorted(planted.keys() - {s.key for s in stories})][:_TOLD_MOST]
    faults += [f"row {row} was never proven" for row in sorted(planted.keys() - _verified(stories))][:_TOLD_MOST]
    faults += [f"row {s.key} was refused: {s.refusal}" for s in stories if s.refusal][:_TOLD_MOST]
    if len(stories) > len(planted):
        faults.append(f"{len(stories)} drifts were told of {len(planted)} damages")
    if proven and percentile(proven, 0.99) > P99_BAR_S:
        faults.append(f"from detection to proof it takes more than {P99_BAR_S:g} s")
    faults += judge_rows(running)
    return {
        "damaged": len(planted),
        "detected": len(detected),
        "verified": len(proven),
        "damage_to_detected_s": told(detected),
        "detected_to_applied_s": told(applied),
        "detected_to_verified_s": told(proven),
        "faults": faults,
    }


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the least of some times that so large a share of them does not exceed."""
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


def told(seconds: Sequence[float]) -> dict[str, float]:
    """Return what is told of some times."""
    shares = {"p50": 0.5, "p99": 0.99, "most": 1.0}
    return {name: round(percentile(seconds, share), 2) for name, share in shares.items()} if seconds else {}


def rate_told(result: dict[str, Any]) -> str:
    """Return what the drill says last."""
    times = result["detected_to_verified_s"]
    return (
        f"{result['damaged']} damaged at {result['repairs_per_second']} a second, {result['detected']} detected,"
        f" {result['verified']} verified; from detection to verification p50 {times.get('p50')} s,"
        f" p99 {times.get('p99')} s; seed {result['seed']}"
    )
