"""Run a plan, part by part, and return all figures as one document."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from app.bench.bars import bars
from app.bench.burst import CALM_PERCENT, TIMES, measure_burst
from app.bench.contest import ENGINE, PEERS, Contest
from app.bench.deployment import Deployment
from app.bench.figures import (
    Figures,
    burst_figures,
    delay_figures,
    hop_figures,
    ratios,
    recovery_figures,
    whole_path_figures,
)
from app.bench.latency import measure_delays
from app.bench.load import WINDOW_MS, Load
from app.bench.plan import Part, Plan
from app.bench.recovery import kill_and_time, recover, take_over
from app.bench.whole_path import WholePath

Say = Callable[[str], None]
Told = dict[str, Any]

LIVE_PERCENT: Final = (50, 80)
"""Shares of what a worker can take, at which delays are looked at."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench of one plan at one broker. `say` is told every step."""

    bootstrap: str
    plan: Plan
    say: Say
    with_peers: bool = False

    def run(self, parts: Collection[Part], keep: Callable[[Told], None]) -> Told:
        """Measure, and return all figures; `keep` is given those so far after each part, since a run takes long."""
        measure: dict[Part, Callable[[], Told]] = {
            Part.WHOLE_PATH: lambda: {"whole_path": self._whole_path()},
            Part.SAME_HOP: self._same_hop,
            Part.LATENCY: self._latency,
            Part.RECOVERY: lambda: {"recovery": self._recovery()},
        }
        told: Told = {"machine": machine()}
        for part, figures_of in measure.items():
            if part in parts:
                told |= figures_of()
                told["bars"] = [{**asdict(bar), "is_met": bar.is_met} for bar in bars(told)]
                keep(told)
        return told

    def _whole_path(self) -> Told:
        loads = {load.name: self._load(load) for load in self.plan.loads}
        first = self.plan.loads[0].name
        return {"load": first, "changes_per_s_per_core": loads[first]["changes_per_s_per_core"], "loads": loads}

    def _load(self, load: Load) -> Told:
        plan = self.plan
        with self._path(load) as path:
            snapshot = path.read_snapshot()
            figures = whole_path_figures(snapshot, [path.measure(plan.changes) for _ in range(plan.repeat)])
        self.say(f"{load.name}: {figures['changes_per_s_per_core']:,.0f} changes per second and core")
        what = {"converter": load.converter.value, "columns": load.columns, "keys": load.keys}
        return {**what, "spread": load.spread.value, "drifting": load.drifting, **figures}

    @contextmanager
    def _path(self, load: Load) -> Iterator[WholePath]:
        """Give a deployment over a load; it is gone afterwards."""
        with TemporaryDirectory(prefix="driftline-bench-") as folder:
            deployment = Deployment(self.bootstrap, Path(folder), load)
            try:
                yield WholePath(deployment, self.say)
            finally:
                deployment.close()

    def _latency(self) -> Told:
        """Find how much a worker can take, and look at its delays at shares of that, and in a burst."""
        with self._path(self.plan.loads[0]) as path:
            path.read_snapshot()
            saturation = path.measure(self.plan.changes).changes_per_s
            told: Told = {"window_ms": WINDOW_MS, "saturation_changes_per_s": round(saturation)}
            for percent in LIVE_PERCENT:
                self.say(f"delays at {percent} % of {saturation:,.0f} changes/s, for {self.plan.live_s:.0f} s")
                delays = measure_delays(path, saturation * percent / 100, self.plan.live_s)
                told[f"at_{percent}_percent"] = delay_figures(delays)
            calm = saturation * CALM_PERCENT / 100
            self.say(f"a burst of {TIMES} times {calm:,.0f} changes/s, for {self.plan.live_s:.0f} s")
            return {"latency": told, "burst": burst_figures(measure_burst(path, calm, self.plan.live_s))}

    def _recovery(self) -> Figures:
        plan = self.plan
        with self._path(plan.loads[0].with_keys(plan.recovered_keys)) as path:
            path.read_snapshot()
            self.say(f"recovering {plan.recovered_keys:,} keys")
            runs = [recover(path) for _ in range(plan.repeat)]
            self.say("killing a worker")
            back_s = kill_and_time(path, plan.repeat)
            self.say("killing one of two workers")
            return recovery_figures(runs, back_s, take_over(path, plan.repeat))

    def _same_hop(self) -> Told:
        plan = self.plan
        contest = Contest(self.bootstrap, plan.hop_changes, plan.hop_keys, self.say)
        try:
            runs = contest.run([ENGINE, *PEERS] if self.with_peers else [ENGINE], plan.repeat)
        finally:
            contest.close()
        figures = {name: hop_figures(ran, plan.hop_keys) for name, ran in runs.items()}
        told: Told = {"same_hop": figures.pop(ENGINE.name)}
        if self.with_peers:
            told["peers"] = figures
            told["times_as_fast_as"] = ratios(runs)
        return told


def machine() -> Told:
    """Return what the figures were measured on."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_bytes": pages * page_bytes,
        "python": platform.python_version(),
        "driftline": version("driftline"),
    }
