"""The planner: the product's own rules over a table in memory, killed between sending and committing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from app.core import planner
from app.core.command import CommandOutcome, RepairCommand
from app.core.contract import EntityContract
from app.core.finding import Finding
from app.ports import Seals
from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.setting import Setting

_KEY_HASH: Final = b"k" * 16
_CRASHES: Final = 0.1


@dataclass(slots=True)
class Planning:
    """Turns findings into commands, and sends again what was held."""

    setting: Setting
    contract: EntityContract
    seals: Seals
    diary: Diary
    send: Callable[[RepairCommand], None]
    _dice: Random = field(init=False)
    _table: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dice = self.setting.dice("planner")

    def on_finding(self, finding: Finding, now_ms: int) -> None:
        """Plan on a finding, as often as a crash makes it come again."""
        if not finding.canonical_key:
            return
        sealed = self.seals.seal_key(finding.entity, finding.canonical_key)
        while True:
            step = planner.on_finding(self._table.get, finding, self.contract, _KEY_HASH, sealed, now_ms)
            self._send(step.commands)
            if not self.setting.has(Fault.PLANNER_CRASHES) or self._dice.random() >= _CRASHES:
                self._write(step)
                return
            self.diary.note(Fault.PLANNER_CRASHES, now_ms)

    def on_outcome(self, outcome: CommandOutcome, now_ms: int) -> None:
        """Take in what became of a command."""
        self._take(planner.on_outcome(self._table.get, outcome, now_ms))

    def on_time(self, now_ms: int) -> None:
        """Send again what is due."""
        start, end = planner.due_range(now_ms)
        due = sorted(key for key in self._table if start <= key < end)
        self._take(planner.on_time(self._table.get, due, {self.contract.entity: self.contract}, now_ms))

    def _take(self, step: planner.Step) -> None:
        self._send(step.commands)
        self._write(step)

    def _send(self, commands: Iterable[RepairCommand]) -> None:
        for command in commands:
            self.send(command)

    def _write(self, step: planner.Step) -> None:
        for key, value in step.writes.items():
            if value is None:
                self._table.pop(key, None)
            else:
                self._table[key] = value
