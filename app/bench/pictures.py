"""The figures as pictures: bars on a terminal's own ground, readable whether the page around it is light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH: Final = 96
_BAR_WIDTH: Final = 40
_OURS: Final = "bright_cyan"
_THEIRS: Final = "grey62"


class Line(NamedTuple):
    """One bar: its name, how long it is, what stands behind it, and whether it is this project's."""

    name: str
    value: float
    told: str
    is_ours: bool = True


def whole_path_lines(told: Mapping[str, Any]) -> list[Line]:
    """Return a bar for each load."""
    return [
        Line(name, figures["changes_per_s_per_core"], f"{figures['changes_per_s_per_core']:,.0f}")
        for name, figures in told["whole_path"]["loads"].items()
    ]


def same_hop_lines(told: Mapping[str, Any]) -> list[Line]:
    """Return a bar for each contender, the fastest first."""
    contenders = {"Driftline's engine": told["same_hop"]} | {
        name.replace("_", " "): figures for name, figures in told.get("peers", {}).items()
    }
    lines = [
        Line(
            name,
            figures["changes_per_s_per_core"],
            f"{figures['changes_per_s_per_core']:,.0f}",
            is_ours=figures is told["same_hop"],
        )
        for name, figures in contenders.items()
    ]
    return sorted(lines, key=lambda line: -line.value)


def latency_lines(told: Mapping[str, Any]) -> list[Line]:
    """Return three bars for each share of the saturation."""
    return [
        Line(
            f"{name[3:].replace('_percent', ' % load')}, {which}",
            figures[f"{which}_ms"],
            f"{figures[f'{which}_ms'] / 1_000:.1f} s",
        )
        for name, figures in told["latency"].items()
        if name.startswith("at_")
        for which in ("p50", "p99", "max")
    ]


def svg(title: str, unit: str, lines: Sequence[Line]) -> str:
    """Return a picture of bars under a title; `unit` says what the numbers are."""
    longest = max(line.value for line in lines)
    table = Table(box=None, pad_edge=False, caption=unit, caption_justify="left")
    for justify in ("left", "left", "right"):
        table.add_column(justify=justify)
    for line in lines:
        colour = _OURS if line.is_ours else _THEIRS
        bar = Bar(longest, 0, line.value, width=_BAR_WIDTH, color=colour)
        table.add_row(Text(line.name, style="bold" if line.is_ours else ""), bar, line.told)
    canvas = Console(record=True, file=io.StringIO(), width=_WIDTH, highlight=False)
    canvas.print(table)
    drawn = canvas.export_svg(title=title, unique_id="bench")
    # No font is fetched from anywhere: the picture is the same with and without a network.
    return re.sub(r"@font-face\s*\{.*?\}", "", drawn, flags=re.DOTALL)


def draw(told: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a picture of each part that was measured, and return their files."""
    per_core = "changes per second of one core"
    wanted = []
    if "whole_path" in told:
        unit = f"raw changes to verdicts, {per_core}; converter, columns, keys, spread of keys, drifting changes"
        wanted.append(("bench-whole-path", "driftline bench: whole path", unit, whole_path_lines(told)))
    if "same_hop" in told:
        unit = f"decode, digest, state in RocksDB, changelog: {per_core}"
        wanted.append(("bench-same-hop", "driftline bench --peers: same hop", unit, same_hop_lines(told)))
    if "latency" in told:
        unit = "from the damage to the drift's record, less the window"
        wanted.append(("bench-latency", "driftline bench: detection", unit, latency_lines(told)))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, title, unit, lines in wanted:
        file = folder / f"{name}.svg"
        file.write_text(svg(title, unit, lines), encoding="utf-8")
        files.append(file)
    return files
