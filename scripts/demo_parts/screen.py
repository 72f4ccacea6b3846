"""What a person sees while the demo runs: a table that fills on a terminal, plain lines anywhere else."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo_parts.campaign import Case


class Screen:
    """Tells steps and the state of cases; on a terminal the table is redrawn in place."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._begun = time.monotonic()
        self._live: Live | None = None
        self._told: dict[str, str] = {}

    @property
    def console(self) -> Console:
        """Where everything is printed."""
        return self._console

    def say(self, what: str) -> None:
        """Print one step with the seconds since the start."""
        self._console.print(Text.assemble((f"{time.monotonic() - self._begun:6.1f} s  ", "dim"), what))

    def show(self, cases: Sequence[Case], false_alarms: int) -> None:
        """Show how far each case is."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4, transient=True)
                self._live.start()
            self._live.update(self.table(cases, false_alarms))
            return
        for case in cases:
            state = _state(case)
            if self._told.get(case.damage.name) != state:
                self._told[case.damage.name] = state
                self.say(f"{case.damage.name:<22} {state}")

    def still(self) -> None:
        """End the redrawing; what is printed from now on stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @staticmethod
    def table(cases: Sequence[Case], false_alarms: int) -> Table:
        """Build the table: damage, detected after, kind, repaired, verified."""
        table = Table(caption=f"false alarms: {false_alarms}", caption_justify="left")
        for name in ("damage", "detected after", "kind of drift", "repaired", "verified"):
            table.add_column(name, justify="right" if name == "detected after" else "left")
        for case in cases:
            kind = case.kind or ""
            wrong = bool(kind) and kind != case.damage.kinds
            table.add_row(
                case.damage.name.replace("_", " "),
                _seconds(case.detected_after_s),
                Text(kind, style="red" if wrong else ""),
                _repair(case),
                _seconds(case.verified_after_s) or ("-" if case.refusal else ""),
            )
        return table

    def draw(self, cases: Sequence[Case], false_alarms: int, file: Path) -> None:
        """Write the table as a picture."""
        canvas = Console(record=True, file=io.StringIO(), width=96, highlight=False)
        canvas.print(self.table(cases, false_alarms))
        file.parent.mkdir(parents=True, exist_ok=True)
        told = canvas.export_svg(title="scripts/demo --check", unique_id="demo")
        # No font is fetched from anywhere: the picture is the same with and without a network.
        file.write_text(re.sub(r"@font-face\s*\{.*?\}", "", told, flags=re.DOTALL), encoding="utf-8")

    def quiet_table(self, results: Sequence[Any]) -> Table:
        """Build the table of the quiet cases."""
        table = Table()
        for name in ("to raise nothing", "false alarms", "really late", "unknown at end", "planted damage found after"):
            table.add_column(name)
        for result in results:
            table.add_row(
                result.name.replace("_", " "),
                str(result.false_alarms),
                str(result.really_late),
                str(result.unknown_at_end),
                _seconds(result.canary_after_s) or Text("not found", style="red"),
            )
        return table


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"


def _repair(case: Case) -> str:
    if case.refusal:
        return f"refused: {case.refusal}"
    repaired = _seconds(case.repaired_after_s)
    return f"{repaired}, approved" if repaired and case.damage.needs_approval else repaired


def _state(case: Case) -> str:
    if case.problem:
        return f"PROBLEM: {case.problem}"
    if case.verified_after_s is not None:
        return f"verified after {case.verified_after_s:.1f} s"
    if case.refusal:
        return f"refused: {case.refusal}"
    if case.repaired_after_s is not None:
        return f"repaired after {case.repaired_after_s:.1f} s"
    if case.detected_after_s is not None:
        waits = any(f.story and f.story.waiting_command for f in case.found)
        return f"detected after {case.detected_after_s:.1f} s as {case.kind}{', waits for approval' if waits else ''}"
    return "planted" if case.planted else "prepared"
