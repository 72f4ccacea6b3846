"""Run a plan, part by part, and return all figures as one document."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from app.bench.deployment import Deployment
from app.bench.figures import Figures, whole_path_figures
from app.bench.load import Load
from app.bench.plan import Part, Plan
from app.bench.whole_path import WholePath

Say = Callable[[str], None]
Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench of one plan at one broker. `say` is told every step."""

    bootstrap: str
    plan: Plan
    say: Say

    def run(self, parts: Collection[Part]) -> Told:
        """Measure, and return the document that `--json` writes."""
        told: Told = {"machine": machine()}
        if Part.WHOLE_PATH in parts:
            told["whole_path"] = self._whole_path()
        return told

    def _whole_path(self) -> Told:
        loads = {load.name: self._load(load) for load in self.plan.loads}
        first = self.plan.loads[0].name
        return {"load": first, "changes_per_s_per_core": loads[first]["changes_per_s_per_core"], "loads": loads}

    def _load(self, load: Load) -> Figures:
        with TemporaryDirectory(prefix="driftline-bench-") as folder:
            deployment = Deployment(self.bootstrap, Path(folder), load)
            try:
                path = WholePath(deployment, self.say)
                snapshot = path.read_snapshot()
                figures = whole_path_figures(
                    snapshot, [path.measure(self.plan.changes) for _ in range(self.plan.repeat)]
                )
            finally:
                deployment.close()
        self.say(f"{load.name}: {figures['changes_per_s_per_core']:,.0f} changes per second and core")
        return figures


def machine() -> Told:
    """Return what the figures were measured on."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_bytes": pages * page_bytes,
        "python": platform.python_version(),
        "driftline": version("driftline"),
    }
