"""An applier that answers at a desk what a person sends from there, and a clock that goes on where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from app.adapters.topic_log import Begin, LogRecord
from app.core.command import Outcome, RefusalReason, RepairCommand
from app.topics import REPAIRS
from tests.unit.cli.desk import Desk
from tests.unit.cli.reading_world import CODEC, NOW_MS

Answer = tuple[Outcome, RefusalReason | None] | None
APPLIED: Answer = (Outcome.APPLIED, None)
SILENCE: Answer = None


def held(reason: RefusalReason) -> Answer:
    """Return the answer that a command is held."""
    return Outcome.HELD, reason


def refused(reason: RefusalReason) -> Answer:
    """Return the answer that a command is refused."""
    return Outcome.REFUSED, reason


def applied(_command: RepairCommand) -> Answer:
    """Answer that a command is applied."""
    return APPLIED


class Answering:
    """Answers each command once each time that it is sent; where nothing comes, a second goes by."""

    def __init__(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, by: Callable[[RepairCommand], Answer] = applied
    ) -> None:
        self._desk = desk
        self.by = by
        self.now_s = 0
        self.came_s: list[int] = []
        self.values: list[bytes] = []
        monkeypatch.setattr(desk.log, "on_and_on", self._on_and_on)
        monkeypatch.setattr("app.cli.asking.time.monotonic", lambda: float(self.now_s))
        monkeypatch.setattr("app.adapters.system_clock.wall_ms", lambda: NOW_MS + self.now_s * 1_000)

    def _on_and_on(self, topics: Sequence[str], begin: Begin = None) -> Iterator[LogRecord | None]:
        assert isinstance(begin, dict)
        at = dict(begin)
        while True:
            self._answer()
            for record in self._desk.log.until_now(topics, dict(at)):
                at[record.topic, record.partition] = record.offset + 1
                yield record
            yield None
            self.now_s += 1

    def _answer(self) -> None:
        asked = [r.value for r in self._desk.sink.sent if r.topic == REPAIRS.name("shop") and r.value]
        for value in asked[len(self.values) :]:
            self.values.append(value)
            self.came_s.append(self.now_s)
            command = CODEC.read_command(value)
            answer = self.by(command)
            if answer is not None:
                self._desk.end(command, *answer)
