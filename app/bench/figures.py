"""From what was measured to what is told: medians, rates and shares, each named with its unit."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from app.bench.whole_path import Measured

Figures = dict[str, float]


def _rounded(value: float) -> float:
    """Return a figure with as many digits as it is worth."""
    return round(value) if abs(value) >= 100 else round(value, 2)  # noqa: PLR2004 - beyond it halves do not matter


def rates(changes: Sequence[int], wall_s: Sequence[float], cpu_s: Sequence[float]) -> Figures:
    """Return the medians of runs: changes per second of wall and CPU, and CPU seconds for a million of them."""
    per_core = [count / cpu for count, cpu in zip(changes, cpu_s, strict=True)]
    return {
        "changes_per_s_per_core": _rounded(median(per_core)),
        "changes_per_s_per_core_min": _rounded(min(per_core)),
        "changes_per_s_per_core_max": _rounded(max(per_core)),
        "changes_per_s": _rounded(median(count / wall for count, wall in zip(changes, wall_s, strict=True))),
        "cpu_s_per_million": _rounded(1_000_000 / median(per_core)),
        "runs": len(changes),
    }


def whole_path_figures(snapshot: Measured, runs: Sequence[Measured]) -> Figures:
    """Return the figures of one load: medians of its runs, and what its last run left behind."""
    last = runs[-1]
    changes = sum(run.changes for run in runs)
    return {
        "changes": last.changes,
        **rates([r.changes for r in runs], [r.wall_s for r in runs], [r.cpu_s for r in runs]),
        "snapshot_changes_per_s_per_core": _rounded(snapshot.changes / snapshot.cpu_s),
        "peak_rss_bytes": max(run.peak_rss_bytes for run in runs),
        "findings": last.findings,
        "input_bytes_per_change": _rounded(sum(run.input_bytes for run in runs) / changes),
        "observations_bytes_per_change": _rounded(sum(run.observations_bytes for run in runs) / changes),
        "changelog_bytes_per_change": _rounded(sum(run.changelog_bytes for run in runs) / changes),
        "state_bytes_per_key": _rounded(last.state_bytes / last.state_keys),
    }
