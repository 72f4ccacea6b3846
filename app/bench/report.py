"""All figures as tables for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_MEGABYTE: Final = 1024 * 1024


def whole_path_rows(told: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return a row for each load."""
    return [
        {
            "load": name,
            "changes/s per core": f"{figures['changes_per_s_per_core']:,.0f}",
            "min-max": f"{figures['changes_per_s_per_core_min']:,.0f}-{figures['changes_per_s_per_core_max']:,.0f}",
            "changes/s": f"{figures['changes_per_s']:,.0f}",
            "CPU s per million": f"{figures['cpu_s_per_million']:,.1f}",
            "snapshot": f"{figures['snapshot_changes_per_s_per_core']:,.0f}",
            "peak RSS MB": f"{figures['peak_rss_bytes'] / _MEGABYTE:,.0f}",
            "state bytes/key": figures["state_bytes_per_key"],
            "bytes/change: in": figures["input_bytes_per_change"],
            "observations": figures["observations_bytes_per_change"],
            "changelog": figures["changelog_bytes_per_change"],
            "drifts found": figures["findings"],
        }
        for name, figures in told["loads"].items()
    ]


def same_hop_rows(told: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return a row for each contender, the fastest first."""
    contenders = {"this engine": told["same_hop"], **told.get("peers", {})}
    times = told.get("times_as_fast_as", {})
    return [
        {
            "contender": name.replace("_", " "),
            "changes/s per core": f"{figures['changes_per_s_per_core']:,.0f}",
            "min-max": f"{figures['changes_per_s_per_core_min']:,.0f}-{figures['changes_per_s_per_core_max']:,.0f}",
            "changes/s": f"{figures['changes_per_s']:,.0f}",
            "CPU s per million": f"{figures['cpu_s_per_million']:,.1f}",
            "peak RSS MB": f"{figures['peak_rss_bytes'] / _MEGABYTE:,.0f}",
            "this engine is, per core": _times(times, name, "per_core"),
            "by the clock": _times(times, name, "wall"),
        }
        for name, figures in sorted(contenders.items(), key=lambda item: -float(item[1]["changes_per_s_per_core"]))
    ]


def latency_rows(told: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return a row for each share of the saturation."""
    return [
        {
            "load": name.removeprefix("at_").replace("_percent", " % of saturation"),
            "changes/s": f"{figures['changes_per_s']:,.0f}",
            "drifts": figures["drifts"],
            "p50 s": f"{figures['p50_ms'] / 1_000:.1f}",
            "p99 s": f"{figures['p99_ms'] / 1_000:.1f}",
            "max s": f"{figures['max_ms'] / 1_000:.1f}",
            "worker's cores": figures["worker_cores"],
        }
        for name, figures in told.items()
        if name.startswith("at_")
    ]


def burst_rows(told: Mapping[str, float]) -> list[dict[str, object]]:
    """Return the one row of the burst."""
    return [
        {
            "changes/s before": f"{told['calm_changes_per_s']:,.0f}",
            "changes/s": f"{told['changes_per_s']:,.0f}",
            "writer late s": f"{told['writer_late_ms'] / 1_000:.1f}",
            "drifts": told["drifts"],
            "p50 s": f"{told['p50_ms'] / 1_000:.1f}",
            "max s": f"{told['max_ms'] / 1_000:.1f}",
            "an offset stood, p50 s": f"{told['offset_stood_p50_ms'] / 1_000:.2f}",
            "at most s": f"{told['offset_stood_max_ms'] / 1_000:.2f}",
            "of observations s": f"{told['observations_stood_max_ms'] / 1_000:.2f}",
            "peak RSS MB": f"{told['peak_rss_bytes'] / _MEGABYTE:,.0f}",
        }
    ]


def recovery_rows(told: Mapping[str, float]) -> list[dict[str, object]]:
    """Return the one row of the recovery."""
    return [
        {
            "keys": f"{told['keys']:,}",
            "keys/s": f"{told['keys_per_s']:,.0f}",
            "records/s": f"{told['records_per_s']:,.0f}",
            "records/s per core": f"{told['records_per_s_per_core']:,.0f}",
            "kill -9 to first verdict s": told["kill_to_first_verdict_s"],
            "notice to standby s": told["notice_to_standby_s"],
            "notice to caught up s": told["notice_to_caught_up_s"],
        }
    ]


def bar_rows(told: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return a row for each bar."""
    return [
        {
            "bar": bar["name"],
            "measured": f"{bar['figure']:,g}",
            "wanted": f"{'at most' if bar['at_most'] else 'at least'} {bar['bound']:,g}",
            "met": bar["is_met"],
        }
        for bar in told
    ]


def _times(times: Mapping[str, Mapping[str, float]], name: str, how: str) -> str:
    return f"{times[name][how]:g} times" if name in times else ""


def tables(told: Mapping[str, Any]) -> Sequence[tuple[str, list[dict[str, object]]]]:
    """Return a title and rows for each part that was measured."""
    found = []
    if "whole_path" in told:
        found.append(("Whole path: raw changes of two stores to verdicts", whole_path_rows(told["whole_path"])))
    if "same_hop" in told:
        found.append(("Same hop: decode, digest, last digest per key in RocksDB, changelog", same_hop_rows(told)))
    if "latency" in told:
        found.append(("Detection: from the damage to the record, less the window", latency_rows(told["latency"])))
    if "burst" in told:
        found.append(("A burst: ten times the load before it, no drift lost and none false", burst_rows(told["burst"])))
    if "recovery" in told:
        found.append(("Recovery: the state read again from the changelog", recovery_rows(told["recovery"])))
    if told.get("bars"):
        found.append(("Bars, for two cores with the broker on them and nothing else", bar_rows(told["bars"])))
    return found
