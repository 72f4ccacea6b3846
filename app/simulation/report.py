"""What many worlds came to, as one JSON document: the figures that are published, and how to make them again."""

from __future__ import annotations

from collections.abc import Sequence

from app.simulation.faults import Fault
from app.simulation.run import Totals

_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def document(totals: Totals, seed: int) -> dict[str, object]:
    """Return the figures; every kind of fault is named, also one that did not happen."""
    return {
        "seed": seed,
        "runs": totals.runs,
        "changes": totals.changes,
        "planted": totals.planted,
        "planted_per_1000_keys": round(1_000 * totals.planted / max(1, totals.keys), 1),
        "missed": totals.missed,
        "false_alarms": totals.false_alarms,
        "unjustified_unknown": totals.unjustified_unknown,
        "repaired": totals.repaired,
        "wrong_repairs": totals.wrong_repairs,
        "detection_latency_ms": latency(totals.latencies_ms),
        "seconds": round(totals.seconds, 1),
        "changes_per_minute": round(60 * totals.changes / max(totals.seconds, 1e-3)),
        "faults": {fault.value: totals.faults[fault] for fault in Fault},
        "failed_seeds": totals.failed,
    }


def latency(found_ms: Sequence[int]) -> dict[str, int]:
    """Return the distribution of how long after its deadline a drift was told, stalls of connectors included."""
    if not found_ms:
        return {}
    in_order = sorted(found_ms)
    told = {name: in_order[int(share * (len(in_order) - 1))] for name, share in _QUANTILES}
    return {**told, "max": in_order[-1]}
