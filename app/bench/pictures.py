"""The figures as pictures: bars on a terminal's own ground, readable whether the page around it is light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _BARS, _BAR_WIDTH, _TOP, _STEP = 980, 20, 300, 560, 48, 30
_GROUND, _TEXT, _DIM, _OURS, _THEIRS = "#292929", "#c5c8c6", "#9a9b99", "#28a9a0", "#808080"
_BUTTONS: Final = ("#ff5f57", "#febc2e", "#28c840")


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
    height = _TOP + _STEP * (len(lines) + 1)
    drawn = [part for number, line in enumerate(lines) for part in _bar(line, _TOP + _STEP * number, longest)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            f"<title>{escape(title)}: {escape(unit)}</title>",
            f"<style>text {{ font: 17px 'Fira Code', monospace; fill: {_TEXT} }} .title {{ font: bold 18px arial }}",
            f".ours {{ font-weight: bold }} .unit {{ fill: {_DIM}; font-style: italic; font-size: 15px }}</style>",
            f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="{_GROUND}"/>',
            *(f'<circle cx="{26 + 22 * n}" cy="20" r="7" fill="{colour}"/>' for n, colour in enumerate(_BUTTONS)),
            f'<text class="title" x="{_WIDTH // 2}" y="27" text-anchor="middle">{escape(title)}</text>',
            *drawn,
            f'<text class="unit" x="{_LEFT}" y="{height - 14}">{escape(unit)}</text>',
            "</svg>\n",
        ]
    )


def _bar(line: Line, top: int, longest: float) -> list[str]:
    length = max(1, round(line.value / longest * _BAR_WIDTH))
    ours = ' class="ours"' if line.is_ours else ""
    return [
        f'<text{ours} x="{_LEFT}" y="{top + 18}">{escape(line.name)}</text>',
        f'<rect x="{_BARS}" y="{top + 3}" width="{length}" height="20" rx="2" fill="{_OURS if ours else _THEIRS}"/>',
        f'<text{ours} x="{_BARS + length + 10}" y="{top + 18}">{escape(line.told)}</text>',
    ]


def draw(told: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a picture of each part that was measured, and return their files."""
    per_core = "changes per second of one core"
    wanted = []
    if "whole_path" in told:
        unit = f"raw changes to verdicts, {per_core}; by converter, columns, keys, their spread, drifting changes"
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
