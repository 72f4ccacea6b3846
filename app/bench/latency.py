"""How soon a drift is told under a load that comes in real time: from the damage to the record, less the window."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Final

from app.bench.load import WINDOW_MS
from app.bench.logs import Damage
from app.bench.verdicts import FoundDrift, Verdicts
from app.bench.whole_path import WholePath
from app.core.errors import Unready

_HUNDRED: Final = 100


@dataclass(frozen=True, slots=True)
class Delays:
    """How long after their windows drifts were told, in milliseconds, ascending, and the CPU that the worker took.

    `writer_late_ms` is by how much the load itself was late at most: what is counted among the delays is not ours then.
    """

    changes_per_s: float
    delays_ms: Sequence[float]
    worker_cores: float
    writer_late_ms: float = 0.0

    def percentile_ms(self, percent: int) -> float:
        """Return the delay that so many in a hundred do not exceed."""
        return quantiles(self.delays_ms, n=_HUNDRED, method="inclusive")[percent - 1]


def delays_of(damages: Sequence[Damage], found: Sequence[FoundDrift], verdicts: Verdicts) -> list[float]:
    """Return by how much each planted drift was told after its window had passed."""
    told_ms = {drift.key_hash: drift.at_wall_ms for drift in found}
    return sorted(told_ms[verdicts.key_hash(d.change.key)] - d.at_wall_ms - WINDOW_MS for d in damages)


def measure_delays(path: WholePath, changes_per_s: float, seconds: float) -> Delays:
    """Run a worker under a steady load of both stores together, and return how soon it told what was planted."""
    with path.deployment.worker() as worker:
        worker.until_ready()
        began_s, began_cpu_s = time.monotonic(), worker.cpu_s
        live = path.logs.write_live(changes_per_s / 2, seconds)
        cores = (worker.cpu_s - began_cpu_s) / (time.monotonic() - began_s)
        path.check(worker)
        verdicts = Verdicts(path.deployment)
        delays_ms = delays_of(live.damages, list(verdicts.drifts()), verdicts)
    if len(delays_ms) < 2:  # noqa: PLR2004 - a percentile needs two
        raise Unready("too few drifts were planted to tell a delay", hint="more seconds, or a higher load")
    return Delays(changes_per_s, delays_ms, cores, live.late_ms)
