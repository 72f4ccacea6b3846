"""The crash drill: worker and applier are killed with -9 at random moments while rows of the copy are damaged.

Everything random comes from one seed, which is printed. The judge counts: every damage detected, every damage repaired,
no repair twice in the copy's own ledger, nothing raised for nothing, and both databases equal at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from arguments import count, file_to_write, positive, seconds, some
from drill_parts import engine
from judge_parts.rows import ledger_rows
from repair_drill import drill as repair_drill
from sweep_drill import drill as sweep_drill

from demo_parts import rate, truth
from demo_parts.campaign import Campaign, Case
from demo_parts.damages import Damage, Expected, on_copy
from demo_parts.performance import judge_rows
from demo_parts.running import Plan, Running, Say, bring_up, stack
from demo_parts.screen import Screen
from demo_parts.shop import STILL_ORDERS, moment

VICTIMS = ("worker", "applier")
FIRST_ROW = 30
FOREIGN_ROWS = 500_000
TRIPLE_ROW = 25
AFTERWARDS_S = 180.0


@dataclass
class Kills:
    """Kills processes at random moments until told to stop."""

    running: Running
    chance: random.Random
    say: Callable[[str], None]
    every_s: tuple[float, float]
    count: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    problem: str = ""

    def start(self) -> None:
        """Begin to kill."""
        self._thread = threading.Thread(target=self._run, name="kills", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill no more; whatever was killed is started again."""
        self._over.set()
        if self._thread:
            self._thread.join(timeout=60)

    def _run(self) -> None:
        try:
            while not self._over.wait(self.chance.uniform(*self.every_s)):
                victim = self.chance.choice(VICTIMS)
                self.running.processes.kill(victim)
                # No escape while it is down: a drill must end with everything running.
                time.sleep(self.chance.uniform(0.1, 3.0))
                self.running.start_process(victim)
                self.count[victim] += 1
                self.say(f"killed {victim}")
        except Exception as error:  # noqa: BLE001 - told at the end, by the thread that judges
            self.problem = f"{type(error).__name__}: {error}"


def planned_damages(chance: random.Random, count: int) -> list[Damage]:
    """Return damages to as many rows: half changed, a quarter deleted, a quarter foreign."""
    rows = chance.sample(range(FIRST_ROW, STILL_ORDERS + 1), k=count)
    made = []
    for number, row in enumerate(rows):
        what = chance.choices(("changed", "deleted", "foreign"), weights=(2, 1, 1))[0]
        name = f"{number:03d}_{what}"
        if what == "changed":
            change = on_copy("UPDATE orders SET quantity = quantity + 5000 WHERE id = %s", row)
            made.append(Damage(name, "orders", (Expected(row, "different"),), change))
        elif what == "deleted":
            change = on_copy("DELETE FROM orders WHERE id = %s", row)
            made.append(Damage(name, "orders", (Expected(row, "missing"),), change))
        else:
            foreign = FOREIGN_ROWS + number
            change = on_copy(
                "INSERT INTO customers (id, email, name, city, vip, created_at)"
                " VALUES (%s, 'drill@example.org', 'Drill', NULL, %s, %s)",
                foreign,
                False,
                moment(number),
            )
            made.append(Damage(name, "customers", (Expected(foreign, "extra"),), change, needs_approval=True))
    return made


def thrice() -> Damage:
    """Return the damage that is done three times to one row."""
    return Damage(
        "the_same_again",
        "orders",
        (Expected(TRIPLE_ROW, "different"),),
        on_copy("UPDATE orders SET quantity = 77777 WHERE id = %s", TRIPLE_ROW),
    )


def crash(arguments: argparse.Namespace, say: Say) -> dict[str, object]:
    """Run the drill and return its result; `faults` is empty if all went well."""
    chance = random.Random(arguments.seed)  # noqa: S311 - a drill's dice
    plan = Plan(
        stack=arguments.name,
        base_port=arguments.base_port,
        window_s=arguments.window,
        load_per_second=arguments.rate,
        seed=arguments.seed,
    )
    running = None
    try:
        running = bring_up(plan, say)
        return _drilled(running, arguments, chance, say)
    finally:
        if running is not None:
            running.close()
        if not arguments.keep:
            stack(plan, "down")


def _drilled(running: Running, arguments: argparse.Namespace, chance: random.Random, say: Say) -> dict[str, object]:
    ledger_before = len(_applied(running))
    campaign = Campaign(running.shop, running.stories, running.approve, running.was_late, lambda: None)
    kills = Kills(running, random.Random(arguments.seed + 1), say, (arguments.calm, 3 * arguments.calm))  # noqa: S311
    moments = sorted(chance.uniform(0, arguments.seconds * 0.9) for _ in range(arguments.drifts))
    plan = list(zip(moments, planned_damages(chance, arguments.drifts), strict=True))
    written_before, begun = running.load.written, time.monotonic()
    kills.start()
    again: list[Case] = []
    while (passed := time.monotonic() - begun) < arguments.seconds:
        while plan and plan[0][0] <= passed:
            campaign.plant(*campaign.prepare([plan.pop(0)[1]]))
        campaign.look()
        _once_more(campaign, again)
        time.sleep(0.3)
    kills.stop()
    per_second = (running.load.written - written_before) / (time.monotonic() - begun)
    say(f"the killing is over ({dict(kills.count)}); {per_second:.0f} changes/s; waiting for the last repairs")
    until = time.monotonic() + AFTERWARDS_S
    while time.monotonic() < until:
        campaign.look()
        _once_more(campaign, again)
        if len(again) == 3 and all(case.is_over for case in campaign.cases):  # noqa: PLR2004 - three times
            break
        time.sleep(0.3)
    running.load.stop()
    faults = [f"the killing stopped: {kills.problem}"] if kills.problem else []
    try:
        running.await_proven(90)
    except TimeoutError as error:
        faults.append(str(error))
    return _judged(running, campaign, again, faults, ledger_before) | {
        "seed": arguments.seed,
        "kills": dict(kills.count),
        "changes_per_second": round(per_second, 1),
    }


def _once_more(campaign: Campaign, again: list[Case]) -> None:
    """Do the same damage to the same row as soon as the last one was proven repaired, three times in all."""
    if len(again) < 3 and (not again or again[-1].is_over):  # noqa: PLR2004
        (case,) = campaign.prepare([thrice()])
        campaign.plant(case)
        again.append(case)


def _applied(running: Running) -> list[dict[str, str]]:
    rows = ledger_rows(running.places.admin(running.shop.copy.kind))
    return [row for row in rows if row["kind"] == "command" and row["outcome"] == "applied"]


def _judged(
    running: Running, campaign: Campaign, again: list[Case], faults: list[str], ledger_before: int
) -> dict[str, object]:
    opinion = campaign.look()
    single = [case for case in campaign.cases if case not in again]
    faults += [fault for case in campaign.cases for fault in case.faults()]
    faults += [f"false alarm: {s.entity} {s.key} {s.kind}" for s in (*opinion.false_alarms, *opinion.refuted)]
    rows = _applied(running)[ledger_before:]
    per_row = Counter(row["key_hash"] for row in rows)
    twice = sum(times - 1 for times in per_row.values() if times > 1) - (len(again) - 1)
    if twice:
        faults.append(f"{twice} repairs stand twice in the ledger")
    if len(rows) != len(single) + len(again):
        faults.append(f"{len(rows)} repairs in the ledger for {len(single)} + {len(again)} damages")
    faults += judge_rows(running)
    return {
        "injected": len(single),
        "detected": sum(case.detected_after_s is not None for case in single),
        "repaired": sum(case.repaired_after_s is not None for case in single),
        "verified": sum(case.verified_after_s is not None for case in single),
        "the_same_row_repaired": sum(case.verified_after_s is not None for case in again),
        "ledger_rows": len(rows),
        "twice_in_ledger": max(0, twice),
        "false_alarms": len(opinion.false_alarms) + len(opinion.refuted),
        "faults": faults,
    }


def crash_told(result: dict[str, object]) -> str:
    """Return what the crash drill says last."""
    return (
        f"{result['injected']} injected,"
        f" {result['detected']} detected, {result['repaired']} repaired, {result['verified']} verified,"
        f" {result['twice_in_ledger']} twice in the ledger, {result['false_alarms']} false;"
        f" the same row {result['the_same_row_repaired']} times; seed {result['seed']}"
    )


def _add_crash_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("--seconds", type=positive, default=180, help="how long load and killing last [%(default)s]")
    one.add_argument("--rate", type=positive, default=200, help="changes per second [%(default)s]")
    one.add_argument("--drifts", type=some, default=100, help="damaged rows [%(default)s]")
    one.add_argument("--calm", type=seconds, default=5, help="least seconds between two kills [%(default)s]")
    one.add_argument("--window", type=seconds, help="another window than the contracts' 10 s")
    one.add_argument("--name", default="drill", help="the stack to use [%(default)s]")
    one.add_argument("--base-port", type=int, help="the first of its ports")
    one.add_argument("--keep", action="store_true", help="leave the stack running")


_DRILLS: dict[str, tuple[Callable[[argparse.Namespace, Say], dict[str, Any]], Callable[[dict[str, Any]], str]]] = {
    "crash": (crash, crash_told),
    "engine": (engine.engine, engine.last_line),
    "rate": (rate.rate, rate.rate_told),
    "repairs": (repair_drill.repairs, repair_drill.last_line),
    "sweep": (sweep_drill.sweep, sweep_drill.last_line),
    "truth": (truth.truth, truth.truth_told),
}


def main() -> int:
    """Exit code 0: all well; 1: faults; 2: could not run; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="scripts/drill", description="Drills that try to break a running Driftline.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--seed", type=count, default=None, help="repeats a drill's dice")
    common.add_argument("--json", type=file_to_write, metavar="FILE", help="write the result")
    drills = parser.add_subparsers(dest="drill", required=True)
    _add_crash_arguments(
        drills.add_parser("crash", parents=[common], help="kill -9 of worker and applier under load, on real databases")
    )
    engine.add_arguments(
        drills.add_parser("engine", parents=[common], help="workers and broker killed under a stream, on Kafka alone")
    )
    rate.add_arguments(
        drills.add_parser("rate", parents=[common], help="how long repairs take at a steady pace of so many a second")
    )
    repair_drill.add_arguments(
        drills.add_parser(
            "repairs", parents=[common], help="the applier killed at every step while the application goes on writing"
        )
    )
    sweep_drill.add_arguments(
        drills.add_parser(
            "sweep", parents=[common], help="a million rows read again: what no log told of, the budget, who pays"
        )
    )
    truth.add_arguments(
        drills.add_parser(
            "truth", parents=[common], help="drifts of every kind while the pipeline's sink pauses, lags and restarts"
        )
    )
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(1_000_000)
    # Asked to end is interrupted: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen = Screen()
    screen.say(f"seed {arguments.seed}")
    drill, last_line = _DRILLS[arguments.drill]
    try:
        result = drill(arguments, screen.say)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the drill's last word is a sentence
        print(
            f"drill {arguments.drill}: could not run (seed {arguments.seed}): {type(error).__name__}: {error}",
        )
        return 2
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    faults = result["faults"]
    for fault in faults if isinstance(faults, list) else ():
        screen.say(f"FAULT  {fault}")
    print(f"drill {arguments.drill}: {'FAILED' if faults else 'passed'}: {last_line(result)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
