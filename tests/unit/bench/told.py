"""A document of figures, as a bench would write it."""

from __future__ import annotations

from typing import Any

from app.bench.burst import Burst
from app.bench.contest import Ran
from app.bench.figures import burst_figures, delay_figures, hop_figures, ratios, recovery_figures, whole_path_figures
from app.bench.latency import Delays
from app.bench.recovery import Recovered, TakenOver
from app.bench.whole_path import Measured

MIB = 1024 * 1024


def measured(changes: int, cpu_s: float) -> Measured:
    """Return a stretch that took twice as long by the wall's clock."""
    return Measured(changes, 2 * cpu_s, cpu_s, 200 * MIB, 12, 300 * changes, 40 * changes, 60 * changes, 5_000, 50)


def ran(changes: int, cpu_s: float) -> Ran:
    """Return a contender's run on one core."""
    return Ran(changes, cpu_s, cpu_s, 100 * MIB, 4_000)


RUNS = {
    "engine": [ran(1_000, 1.0), ran(1_000, 2.0), ran(1_000, 4.0)],
    "bare_librdkafka": [ran(1_000, 0.8), ran(1_000, 2.0), ran(1_000, 3.0)],
    "plain_faust": [ran(40, 1.0), ran(40, 2.0), ran(40, 4.0)],
}


def document() -> dict[str, Any]:
    """Return figures of every part."""
    figures = {name: hop_figures(runs, 100) for name, runs in RUNS.items()}
    load = {"converter": "json", "columns": 10, "keys": 50, "spread": "uniform", "drifting": 0.0}
    path = load | whole_path_figures(measured(500, 1), [measured(1_000, 1), measured(1_000, 2), measured(1_000, 4)])
    delays = [float(ms) for ms in range(1, 1_001)]
    return {
        "machine": {"cores": 2},
        "whole_path": {
            "load": "json-10",
            "changes_per_s_per_core": 500,
            "loads": {"json-10": path, "avro-10": {**path, "converter": "avro"}},
        },
        "same_hop": figures.pop("engine"),
        "peers": figures,
        "times_as_fast_as": ratios(RUNS),
        "latency": {"at_50_percent": delay_figures(Delays(5_000, delays, 0.5))},
        "burst": burst_figures(Burst(2_000, Delays(20_000, delays, 0.9, 40.0), [700.0, 1_200.0], [300.0], 300 * MIB)),
        "recovery": recovery_figures(
            [Recovered(1_000, 1_500, 0.5, 0.25)],
            [3.0, 2.0, 4.0],
            [TakenOver(1.0, 2.0), TakenOver(1.5, 4.0), TakenOver(6.0, 9.0)],
        ),
    }
