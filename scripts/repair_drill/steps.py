"""The line on which an applier asks: what it has in hand, and whether it goes on or dies behind each step."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from repair_judge.ways import AFTERWARDS

from repair_drill.launched import Launched
from repair_drill.moments import Death

_HANDED: Final = ("received", "before_transaction")
_ALONE: Final = ("refusal_recorded", "check_recorded")
_COMMITTED: Final = ("committed", "authority_read_again", *AFTERWARDS)
_LINE_BYTES: Final = 1 << 20
_START_S: Final = 60.0


@dataclass
class Hand:
    """What the applier has in hand, as it told; commands by their ids in hexadecimal digits.

    `rows` are those of the transaction that was begun last, and `alone` those whose ledger rows were written last in a
    transaction of their own.
    """

    commands: set[str] = field(default_factory=set)
    rows: set[str] = field(default_factory=set)
    committed: set[str] = field(default_factory=set)
    alone: set[str] = field(default_factory=set)

    def take(self, what: str, names: set[str]) -> None:
        """Take in what was told."""
        if what == "alone":
            self.alone = names
            return
        self.alone = set()
        if what == "commands":
            self.commands = names
        else:
            self.rows = names

    def at(self, step: str) -> set[str]:
        """Return the commands for which a step was just made."""
        if step == "committed":
            self.committed |= self.rows
            return self.rows
        if step in _HANDED:
            return self.commands
        if step in _ALONE:
            return self.alone
        return self.committed if step in _COMMITTED else self.rows


class Line:
    """Hears one applier at a time, answers it, and starts the next where it died.

    `at_step` is told of each step and of the commands for which it was made, before the answer is given.
    """

    def __init__(self, folder: Path, config: Path, at_step: Callable[[str, set[str]], None]) -> None:
        self._at_step = at_step
        path = str(folder / "steps")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._launched = Launched(folder, config, path)
        self._socket: socket.socket | None = None
        self._unread = b""
        self._hand = Hand()
        self._command_of: Mapping[str, str] = {}
        self._dies_at_s: float | None = None
        self._is_doomed = False
        self._passages = 0
        self.due: list[Death] = []
        self.passed: Counter[str] = Counter()
        self.kills = 0
        self.heard_s = time.monotonic()

    def begin(self, command_of: Mapping[str, str], death: Death | None) -> None:
        """Begin a wave: commands by their rows' keys, and a death beside those that have not come yet."""
        self._command_of = command_of
        self._hand = Hand()
        self._passages = 0
        self._dies_at_s = None
        self.due += [death] if death is not None else []

    def turn(self, within_s: float) -> None:
        """Hear what comes within some time, and answer."""
        line = self._socket or self._start()
        if self._dies_at_s is not None and time.monotonic() >= self._dies_at_s:
            self._dies_at_s = None
            self.due = [death for death in self.due if not death.after_s]
            self._is_doomed = True
            self._launched.kill()
        line.settimeout(within_s)
        try:
            read = line.recv(_LINE_BYTES)
        except TimeoutError:
            return
        except ConnectionResetError:
            read = b""
        if not read:
            self._ended(line)
            return
        self.heard_s = time.monotonic()
        *lines, self._unread = (self._unread + read).split(b"\n")
        for told in lines:
            self._hear(line, *told.decode("ascii").split())

    def stop(self) -> None:
        """Let the applier come to its end as an operator does."""
        if self._socket is not None:
            self._launched.ask_to_end()
            while self._socket is not None:
                self.turn(1.0)

    def close(self) -> None:
        """End everything, well or not."""
        self._launched.close()
        self._listener.close()

    def _start(self) -> socket.socket:
        self._launched.start()
        self._listener.settimeout(_START_S)
        try:
            line, _ = self._listener.accept()
        except TimeoutError:
            self._launched.fail("it did not come to the line")
        self._socket, self._unread, self._is_doomed = line, b"", False
        self.heard_s = time.monotonic()
        return line

    def _ended(self, line: socket.socket) -> None:
        line.close()
        self._socket = None
        self._launched.take_end(is_doomed=self._is_doomed)
        self.kills += self._is_doomed

    def _hear(self, line: socket.socket, what: str, *names: str) -> None:
        if what == "rows":
            self._hand.take(what, {self._command_of[key] for key in names if key in self._command_of})
        elif what != "step":
            self._hand.take(what, set(names))
        else:
            (step,) = names
            self.passed[step] += 1
            self._passages += 1
            self._at_step(step, self._hand.at(step))
            self._is_doomed = self._is_doomed or self._dies(step)
            # It may be dead by now.
            with suppress(OSError):
                line.sendall(b"d" if self._is_doomed else b"g")

    def _dies(self, step: str) -> bool:
        for death in self.due:
            if death.step == step or (death.passage and self._passages >= death.passage):
                self.due.remove(death)
                return True
            if death.after_s and self._dies_at_s is None:
                self._dies_at_s = time.monotonic() + death.after_s
        return False
