"""A broker and both databases for the drill alone, of which the databases are killed."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any, Final

from stack_parts import commands
from stack_parts.part import running_part

_NOT_NEEDED: Final = tuple(part for part in commands.PARTS if part not in {"kafka", "postgres", "mariadb"})


@dataclass
class Servers:
    """The servers of one stack."""

    stack: str
    base_port: int | None
    restarts: int = 0

    def start(self) -> dict[str, Any]:
        """Start what does not run; return the stack's description."""
        commands.up(self.stack, self.base_port, without=_NOT_NEEDED, quiet=True)
        return commands.describe(commands.existing(self.stack))

    def kill_and_start(self, server: str) -> None:
        """Kill one with -9 and start it again on what its disk has."""
        process = running_part(commands.existing(self.stack), server)
        if process is None:
            raise RuntimeError(f"{server} is gone before it was killed")
        process.end(signal.SIGKILL, 10)
        self.restarts += 1
        self.start()

    def wipe(self) -> None:
        """End all and delete their data."""
        commands.wipe(self.stack, quiet=True)

    def stop(self) -> None:
        """End all and keep their data."""
        commands.down(self.stack, quiet=True)
