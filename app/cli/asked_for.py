"""What a person asked for: what of it is to be sent now, what is settled, and what is still to come.

Knows neither Kafka nor a clock: it is told of outcomes and of times. The planner sends its own commands again until
they are through, and nobody but the one who asked does so for these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from app.cli.exit_codes import ExitCode
from app.core.command import (
    DISTRUSTED,
    VALUE_WAITS_MS,
    WAITS_FOR_WORD,
    CommandOutcome,
    Outcome,
    RefusalReason,
    RepairCommand,
)

NOT_SENT: Final = "not sent"
NOT_ANSWERED: Final = "not answered"
_AGAIN_FIRST_MS: Final = 1_000
_AGAIN_MOST_MS: Final = 10_000
_TOO_LATE_MS: Final = 10_000
"""What waits for a unique value and is sent later than so long before its time is over may be refused for good."""


@dataclass(slots=True, eq=False)
class _Asked:
    """One command, how often it was sent, the newest answer that counts, and when it is to be sent (monotonic)."""

    command: RepairCommand
    number: int
    behind: _Asked | None = None
    times_sent: int = 0
    told: CommandOutcome | None = None
    due_ms: int | None = None

    @property
    def is_settled(self) -> bool:
        """Tell whether its ledger has an answer, which will be said again for ever."""
        told = self.told
        return told is not None and told.outcome is not Outcome.HELD and told.reason not in DISTRUSTED

    @property
    def last_wall_ms(self) -> int:
        """Until when it may be sent."""
        if self.told is not None and self.told.reason is RefusalReason.VALUE_TAKEN:
            return min(self.command.expires_at_ms, self.command.planned_at_ms + VALUE_WAITS_MS - _TOO_LATE_MS)
        return self.command.expires_at_ms


class AskedFor:
    """Signed commands in the order in which they are to be sent; those on one row go one after the other.

    A repair is taken back only once the one that came after it is: were both sent at once and the newer one held, the
    older one would be refused for good, since the row is not as it left it.
    """

    def __init__(self, commands: Iterable[RepairCommand]) -> None:
        self._asked = [_Asked(command, number) for number, command in enumerate(commands)]
        self._by_id = {asked.command.command_id: asked for asked in self._asked}
        self._open: set[int] = set()
        self._due: list[tuple[int, int]] = []
        last: dict[tuple[str, bytes, str], _Asked] = {}
        for asked in self._asked:
            row = (asked.command.entity, asked.command.key_hash, asked.command.target)
            if row in last:
                last[row].behind = asked
            else:
                self._send_at(asked, 0)
            last[row] = asked

    @property
    def is_over(self) -> bool:
        """Tell whether waiting brings nothing more: all are settled, wait for a person, or stand behind such a one."""
        return not self._open

    def due(self, now_ms: int, now_wall_ms: int) -> list[RepairCommand]:
        """Return what is to be sent now, counted as sent."""
        found = []
        while self._due and self._due[0][0] <= now_ms:
            due_ms, number = heappop(self._due)
            asked = self._asked[number]
            if asked.due_ms != due_ms:
                # Another answer came meanwhile.
                continue
            asked.due_ms = None
            if now_wall_ms >= asked.last_wall_ms:
                self._open.discard(number)
                continue
            asked.times_sent += 1
            found.append(asked.command)
        return found

    def hear(self, told: CommandOutcome, now_ms: int) -> None:
        """Take in an outcome: the newest one counts, whoever sent what it answers."""
        asked = self._by_id.get(told.command_id)
        if asked is None or not _says_something(told, asked):
            return
        asked.told, asked.due_ms = told, None
        if told.reason in DISTRUSTED:
            # Of a forgery under this id, or of ours: then each further one would be an alarm.
            return
        if told.outcome is Outcome.HELD and told.reason not in WAITS_FOR_WORD:
            pause_ms = min(_AGAIN_FIRST_MS << min(asked.times_sent - 1, 10), _AGAIN_MOST_MS)
            self._send_at(asked, now_ms + pause_ms)
            return
        self._open.discard(asked.number)
        behind = asked.behind
        if told.outcome is Outcome.APPLIED and behind is not None and behind.told is None and not behind.times_sent:
            self._send_at(behind, now_ms)

    def _send_at(self, asked: _Asked, due_ms: int) -> None:
        asked.due_ms = due_ms
        self._open.add(asked.number)
        heappush(self._due, (due_ms, asked.number))

    def counts(self) -> Counter[tuple[str, str]]:
        """Return how many came to what, and why: an outcome's name, or that there is none, and the reason's."""
        return Counter(_came_to(asked) for asked in self._asked)

    @property
    def for_a_person(self) -> int:
        """How many are held until another person speaks."""
        held = {(Outcome.HELD.value, reason.value) for reason in WAITS_FOR_WORD}
        return sum(count for what, count in self.counts().items() if what in held)

    @property
    def exit_code(self) -> ExitCode:
        """What a script is told: that all were applied, or that any was refused, else that it is not known."""
        outcomes = {outcome for outcome, _ in self.counts()}
        if outcomes & {Outcome.REFUSED.value, Outcome.INVERTED.value}:
            return ExitCode.REFUSED
        return ExitCode.AGREE if outcomes <= {Outcome.APPLIED.value} else ExitCode.UNKNOWN


def _says_something(told: CommandOutcome, asked: _Asked) -> bool:
    """Tell whether an outcome says anything of what was asked for and not yet known."""
    if told.reason in DISTRUSTED:
        is_awaited = asked.times_sent > 0 and asked.due_ms is None
        return is_awaited and not asked.is_settled
    # What is held and was not sent from here is somebody's earlier asking for the same.
    return asked.times_sent > 0 or told.outcome is not Outcome.HELD


def _came_to(asked: _Asked) -> tuple[str, str]:
    if asked.told is None:
        return (NOT_ANSWERED if asked.times_sent else NOT_SENT), ""
    return asked.told.outcome.value, asked.told.reason.value if asked.told.reason else ""
