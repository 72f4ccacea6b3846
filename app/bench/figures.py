"""From what was measured to what is told: medians, rates and shares, each named with its unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from app.bench.burst import Burst
from app.bench.contest import ENGINE, Ran
from app.bench.latency import Delays
from app.bench.recovery import Recovered, TakenOver
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


def hop_figures(runs: Sequence[Ran], keys: int) -> Figures:
    """Return the figures of one contender."""
    return {
        "changes": runs[-1].changes,
        **rates([r.changes for r in runs], [r.wall_s for r in runs], [r.cpu_s for r in runs]),
        "peak_rss_bytes": max(run.peak_rss_bytes for run in runs),
        "state_bytes_per_key": _rounded(runs[-1].state_bytes / keys),
    }


def ratios(runs: Mapping[str, Sequence[Ran]]) -> dict[str, Figures]:
    """Return how many times as fast as each peer the engine is, by CPU and by the wall's clock.

    Of each turn the two runs are compared that were next to each other, and the median of the turns is told: what
    disturbed one disturbed the other.
    """
    ours = runs[ENGINE.name]
    return {
        name: {
            "per_core": _rounded(
                median(_rate(a, a.cpu_s) / _rate(b, b.cpu_s) for a, b in zip(ours, theirs, strict=True))
            ),
            "wall": _rounded(
                median(_rate(a, a.wall_s) / _rate(b, b.wall_s) for a, b in zip(ours, theirs, strict=True))
            ),
        }
        for name, theirs in runs.items()
        if name != ENGINE.name
    }


def _rate(ran: Ran, seconds: float) -> float:
    return ran.changes / seconds


def delay_figures(delays: Delays) -> Figures:
    """Return how soon drifts were told after their windows."""
    return {
        "changes_per_s": _rounded(delays.changes_per_s),
        "drifts": len(delays.delays_ms),
        "p50_ms": round(delays.percentile_ms(50)),
        "p99_ms": round(delays.percentile_ms(99)),
        "max_ms": round(max(delays.delays_ms)),
        "worker_cores": _rounded(delays.worker_cores),
        "writer_late_ms": round(delays.writer_late_ms),
    }


def burst_figures(burst: Burst) -> Figures:
    """Return how soon drifts of a burst were told after their windows, and how long offsets stood meanwhile."""
    all_ms = [*burst.changes_stood_ms, *burst.observations_stood_ms]
    return {
        "calm_changes_per_s": _rounded(burst.calm_changes_per_s),
        **delay_figures(burst.delays),
        "offset_stood_p50_ms": round(median(all_ms)),
        "offset_stood_max_ms": round(max(all_ms)),
        "observations_stood_max_ms": round(max(burst.observations_stood_ms)),
        "peak_rss_bytes": burst.peak_rss_bytes,
    }


def recovery_figures(
    runs: Sequence[Recovered], after_kill_s: Sequence[float], taken_over: Sequence[TakenOver]
) -> Figures:
    """Return how soon a worker is back, or another one in its place."""
    return {
        "keys": runs[-1].keys,
        "records": runs[-1].records,
        "keys_per_s": _rounded(median(run.keys / run.seconds for run in runs)),
        "records_per_s": _rounded(median(run.records / run.seconds for run in runs)),
        "records_per_s_per_core": _rounded(median(run.records / run.cpu_s for run in runs)),
        "kill_to_first_verdict_s": _rounded(median(after_kill_s)),
        "kill_to_first_verdict_max_s": _rounded(max(after_kill_s)),
        "notice_to_standby_s": _rounded(median(each.moved_s for each in taken_over)),
        "notice_to_standby_max_s": _rounded(max(each.moved_s for each in taken_over)),
        "notice_to_caught_up_s": _rounded(median(each.caught_up_s for each in taken_over)),
        "notice_to_caught_up_max_s": _rounded(max(each.caught_up_s for each in taken_over)),
        "runs": len(runs),
    }
