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
            "snapshot, changes/s per core": f"{figures['snapshot_changes_per_s_per_core']:,.0f}",
            "peak RSS MB": f"{figures['peak_rss_bytes'] / _MEGABYTE:,.0f}",
            "state bytes per key": figures["state_bytes_per_key"],
            "bytes per change: in": figures["input_bytes_per_change"],
            "observations": figures["observations_bytes_per_change"],
            "changelog": figures["changelog_bytes_per_change"],
            "drifts found": figures["findings"],
        }
        for name, figures in told["loads"].items()
    ]


def tables(told: Mapping[str, Any]) -> Sequence[tuple[str, list[dict[str, object]]]]:
    """Return a title and rows for each part that was measured."""
    found = []
    if "whole_path" in told:
        found.append(("Whole path: raw changes of two stores to verdicts", whole_path_rows(told["whole_path"])))
    return found
