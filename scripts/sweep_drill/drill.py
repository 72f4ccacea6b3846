"""`scripts/drill sweep`: a million rows in both stores are read again, within a budget, under an application.

Both tables are filled before the connectors' first snapshot. Rows are damaged behind their logs' back, and the
conductor goes over both tables at a budget that lets the drill end within about an hour (at the default one a million
rows take 34 minutes in each store, and a replica is read before its authority). Then it is turned on and off at its
default budget, in pairs of intervals, while an application's transactions on both stores are timed. No applier runs:
what is found stays, so that both tables can be compared by SQL in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from arguments import positive, some
from demo_parts.pipeline import await_condition
from demo_parts.places import PROJECT
from engine_judge.topics import read_whole
from stack_parts import commands
from sweep_judge import judge
from sweep_judge.latency import CONFIDENCE, Pair, Ratio, ratio_of
from sweep_judge.rereads import Pass, Rereads
from sweep_judge.tables import differing, rows_of
from sweep_judge.told import CitedKeys, Told, ToldRows

from sweep_drill.application import Application
from sweep_drill.damages import STORES, Damage, damages_of, hide, key_of
from sweep_drill.deployment import TABLES, Deployment
from sweep_drill.pairs import Interval, intervals_of, pairs_of, read_per_second

Say = Callable[[str], None]

_DEFAULT_ROWS_PER_S: Final = 500
_DEFAULT_SLICE_ROWS: Final = 1_000
_STARTS_S: Final = 1_200.0
_TOLD_S: Final = 90.0
_SAMPLE_S: Final = 300.0
_LOOKS_EVERY_S: Final = 10.0
_PASSES: Final = 2
"""A sample, and then one over everything."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. Rates are per second and store."""

    rows: int
    damages: int
    rows_per_s: int
    slice_rows: int
    pairs: int
    seconds: float
    transactions_per_s: float


FULL: Final = Size(1_000_000, 50, 1_000, 2_000, 12, 20.0, 40.0)
QUICK: Final = Size(100_000, 50, 1_000, 2_000, 5, 10.0, 40.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this drill."""
    parser.add_argument(
        "--quick", dest="size", action="store_const", const=QUICK, default=FULL, help="100,000 rows, ten minutes"
    )
    parser.add_argument("--rows", type=some, help=f"of the table, in each store [{FULL.rows}]")
    parser.add_argument("--damages", type=some, help=f"rows damaged, half of them in each store [{FULL.damages}]")
    parser.add_argument("--rows-per-s", type=some, help=f"budget with which damages are looked for [{FULL.rows_per_s}]")
    parser.add_argument("--slice-rows", type=some, help=f"of a slice, and of a connector's chunk [{FULL.slice_rows}]")
    parser.add_argument("--pairs", type=some, help=f"of intervals with the sweep on and off [{FULL.pairs}]")
    parser.add_argument("--seconds", type=positive, help=f"of each interval [{FULL.seconds:g}]")
    parser.add_argument(
        "--transactions-per-s", type=positive, help=f"of the application, on each store [{FULL.transactions_per_s:g}]"
    )
    parser.add_argument("--name", default="drill-sweep", help="the stack to use, which is wiped [%(default)s]")
    parser.add_argument("--base-port", type=int, help="the first of its ports")
    parser.add_argument("--keep", action="store_true", help="leave servers and folder, whatever the result")


def size_of(arguments: argparse.Namespace) -> Size:
    """Return what was asked for."""
    names = ("rows", "damages", "rows_per_s", "slice_rows", "pairs", "seconds", "transactions_per_s")
    told = {name: getattr(arguments, name) for name in names}
    size: Size = arguments.size
    return replace(size, **{name: value for name, value in told.items() if value is not None})


def sweep(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Run the drill and return its result; `faults` is empty if all went well."""
    folder = Path(tempfile.mkdtemp(prefix="driftline-sweep-"))
    result: dict[str, Any] = {"faults": ["it was interrupted"]}
    begun, size = time.monotonic(), size_of(arguments)
    deployment: Deployment | None = None
    try:
        say(f"folder {folder}")
        deployment = Deployment.started(folder, arguments.name, arguments.base_port)
        result = SweepDrill(deployment, size, arguments.seed, say).run()
        result["seconds"] = round(time.monotonic() - begun, 1)
    finally:
        if deployment is not None:
            deployment.end()
        if result["faults"] or arguments.keep:
            say(f"kept: {folder} (logs in it); the servers: scripts/stack up --name {arguments.name}")
            commands.down(arguments.name, quiet=True)
        else:
            commands.wipe(arguments.name, quiet=True)
            shutil.rmtree(folder)
    return result


@dataclass
class SweepDrill:
    """One run on servers that are up."""

    deployment: Deployment
    size: Size
    seed: int
    say: Say
    applications: dict[str, Application] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Run it to its judgement."""
        size, deployment = self.size, self.deployment
        self.say(f"{size.rows} rows in each store")
        deployment.make_tables(size.rows)
        deployment.write_files()
        self.say("first snapshots; waiting until both stores are proven")
        deployment.begin(max(size.slice_rows, _DEFAULT_SLICE_ROWS), _STARTS_S)
        for turn, store in enumerate(STORES):
            made = Application(
                deployment.side(store),
                TABLES[store],
                size.rows,
                per_second=size.transactions_per_s,
                seed=self.seed + turn,
            )
            self.applications[store] = made
            made.start()
        try:
            damages = self._damage()
            self._find(damages)
            intervals = self._weigh()
        finally:
            for application in self.applications.values():
                application.stop()
        return self._judged(damages, intervals)

    # -- what happens -----------------------------------------------------------------------------------------------

    def _damage(self) -> list[Damage]:
        damages = damages_of(self.seed, self.size.rows, self.size.damages)
        for store in STORES:
            here = [each.statement(TABLES[store], self.size.rows) for each in damages if each.store == store]
            with self.applications[store].held():
                hide(self.deployment.admin(store), here)
        self.say(f"{len(damages)} rows damaged behind the logs' back")
        return damages

    def _find(self, damages: list[Damage]) -> None:
        """Let both tables be read whole, and what was found be told."""
        self.deployment.start_conductor(
            pass_interval_s=0, rows_per_s=self.size.rows_per_s, slice_rows=self.size.slice_rows
        )
        seconds = _SAMPLE_S + 4 * self.size.rows / self.size.rows_per_s

        def read_whole_once() -> bool:
            self.deployment.processes.check()
            return all(self.deployment.passes().get(store, 0) >= _PASSES for store in STORES)

        took_s = await_condition(read_whole_once, seconds, "a whole pass over both tables", every=_LOOKS_EVERY_S)
        self.say(f"both tables were read whole after {took_s:.0f} s, at {self.size.rows_per_s} rows/s")
        wanted = {(each.store, each.key) for each in damages}
        with contextlib.suppress(TimeoutError):  # the judge tells what was missed
            await_condition(
                lambda: wanted <= judge.gaps_of(told := self._told()) and len(judge.drifts_of(told)) >= len(wanted),
                _TOLD_S,
                "everything to be told",
                every=2.0,
            )
        self.deployment.end_conductor()

    def turn(self, *, on: bool) -> None:
        """Turn the sweep at its default budget on or off, by starting and ending the conductor."""
        if not on:
            self.deployment.end_conductor()
            return
        self.deployment.start_conductor(pass_interval_s=0)
        self.deployment.await_slices()

    def _weigh(self) -> list[tuple[Interval, Interval]]:
        self.say(
            f"{self.size.pairs} pairs of {self.size.seconds:g} s, the sweep off and on at {_DEFAULT_ROWS_PER_S} rows/s;"
            f" load of the machine {os.getloadavg()[0]:.1f}"
        )
        self.deployment.give_way()
        return intervals_of(self, self.size.pairs, self.size.seconds, self.seed)

    # -- what came of it --------------------------------------------------------------------------------------------

    def _told(self) -> list[Told]:
        keys = CitedKeys(self.deployment.places.bootstrap)
        try:
            rows = ToldRows(PROJECT / "schemas" / "finding.avsc", keys.at)
            return rows.read(read_whole(self.deployment.places.bootstrap, self.deployment.topic("drifts")))
        finally:
            keys.close()

    def _rereads(self, store: str) -> Rereads:
        rereads = Rereads()
        rereads.take(read_whole(self.deployment.places.bootstrap, self.deployment.change_topic(store)))
        return rereads

    def _judged(self, damages: list[Damage], intervals: list[tuple[Interval, Interval]]) -> dict[str, Any]:
        self.say("judging")
        told = self._told()
        planted = {(each.store, each.key): each.seen_as for each in damages}
        unlike = differing(*(rows_of(self.deployment.side(store), TABLES[store]) for store in STORES))
        rereads = {store: self._rereads(store) for store in STORES}
        there = {
            store: int((self.deployment.side(store).one(f"SELECT count(*) FROM {TABLES[store]}") or (0,))[0])  # noqa: S608
            for store in STORES
        }
        whole = {store: self._whole(rereads[store], there[store]) for store in STORES}
        swept = {
            store: judge.Rate(found.rows_per_s if found else 0.0, self.size.rows_per_s)
            for store, found in whole.items()
        }
        off, on = [pair[0] for pair in intervals], [pair[1] for pair in intervals]
        usual = {store: judge.Rate(_read_in(rereads[store], on), _DEFAULT_ROWS_PER_S) for store in STORES}
        pairs = {store: pairs_of(intervals, self.applications[store]) for store in STORES}
        ratios = {store: ratio_of(each, self.seed) for store, each in pairs.items()}
        faults = judge.finding_faults(planted, unlike, told)
        faults += [f"{store}: no pass showed every row" for store, found in whole.items() if found is None]
        faults += judge.rate_faults("the whole pass", {s: rate for s, rate in swept.items() if whole[s]})
        faults += judge.rate_faults("at the default budget", usual)
        faults += [
            f"{store}: rows were read though the sweep was off" for store in STORES if _read_in(rereads[store], off)
        ]
        faults += judge.latency_faults(ratios)
        faults += [
            f"{store}: the application ended: {a.problem}" for store, a in self.applications.items() if a.problem
        ]
        gaps = judge.gaps_of(told)
        return {
            "seed": self.seed,
            "rows": self.size.rows,
            "planted": len(planted),
            "planted_as": dict(Counter(f"{each.what} in {each.store}" for each in damages)),
            "found": len(planted.keys() & gaps),
            "missed": len(planted.keys() - gaps),
            "false_gaps": len(gaps - planted.keys()),
            "drifts": judge.drifts_told(told),
            "whole_pass": {store: _pass_told(found, there[store], swept[store]) for store, found in whole.items()},
            "default_budget": {store: _rate_told(rate) for store, rate in usual.items()},
            "latency": {store: _ratio_told(ratios[store], pairs[store]) for store in STORES},
            "machine_load": round(os.getloadavg()[2], 2),
            "faults": faults,
        }

    def _whole(self, rereads: Rereads, there: int) -> Pass | None:
        """Return the first pass that showed every row that is there."""
        passes = rereads.passes(key_of(1), key_of(self.size.rows))
        return next((each for each in passes if each.shown >= there), None)


def _read_in(rereads: Rereads, intervals: list[Interval]) -> float:
    return read_per_second(intervals, {each: rereads.within(each.begun_s, each.ended_s) for each in intervals})


def _rate_told(rate: judge.Rate) -> dict[str, float]:
    return {"rows_per_s": round(rate.rows_per_s, 1), "budget": rate.budget}


def _pass_told(found: Pass | None, there: int, rate: judge.Rate) -> dict[str, float]:
    if found is None:
        return {"rows": 0, "of": there}
    return {"rows": found.shown, "of": there, "seconds": round(found.ended_s - found.begun_s, 1)} | _rate_told(rate)


def _ratio_told(ratio: Ratio, pairs: list[Pair]) -> dict[str, float]:
    return {
        "without_ms": round(median(pair.without_ms for pair in pairs), 3),
        "with_ms": round(median(pair.with_ms for pair in pairs), 3),
        "ratio": round(ratio.middle, 4),
        "ratio_low": round(ratio.low, 4),
        "ratio_high": round(ratio.high, 4),
        "confidence": CONFIDENCE,
        "pairs": len(pairs),
    }


def last_line(result: dict[str, Any]) -> str:
    """Return what the drill says last."""
    told = [f"{result['found']} of {result['planted']} damages found, {result['false_gaps']} false"]
    for store in STORES:
        swept, usual, slower = (result[name][store] for name in ("whole_pass", "default_budget", "latency"))
        told.append(
            f"{store}: {swept['rows']} of {swept['of']} rows at {swept.get('rows_per_s', 0):.0f}/s"
            f" (budget {swept.get('budget', 0):.0f}), {usual['rows_per_s']:.0f}/s (budget {usual['budget']:.0f}),"
            f" transactions {100 * (slower['ratio'] - 1):+.1f} %"
            f" [{100 * (slower['ratio_low'] - 1):+.1f}, {100 * (slower['ratio_high'] - 1):+.1f}]"
        )
    return f"{'; '.join(told)}; seed {result['seed']}"
