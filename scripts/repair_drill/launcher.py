"""Starts the product's applier, again and again, so that it asks the drill before it goes on behind each step.

    python -m repair_drill.launcher SETTINGS SOCKET

A byte on standard input starts an applier; its pid is told, and how it ended once it has. It ends with its drill: where
standard input is closed, it is killed. The applier is composed as
`driftline applier` composes it. What differs: the call between two steps, which does nothing in production, asks here;
which commands, rows and ledger rows are in hand is told as they pass; and no budget bounds the repairs of a minute. It
is forked from a process that has imported everything, since it is started some hundred times.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from app.adapters.logs import configure_logs
from app.adapters.metrics import Metrics
from app.applier.apply import Applier
from app.cli.applier import compose
from app.core.command import CommandOutcome, RepairCommand
from app.core.ledger import LedgerRow
from app.ports import RowName, RowStore, RowTransaction
from app.settings import load_settings


class Line:
    """The line to the drill."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)

    def tell(self, what: str, names: Sequence[bytes]) -> None:
        """Tell what is in hand."""
        self._socket.sendall(f"{what} {' '.join(name.hex() for name in names)}\n".encode())

    def ask(self, step: str) -> None:
        """Tell that a step was passed, and go on or die by kill -9 as the drill says."""
        self._socket.sendall(f"step {step}\n".encode())
        if self._socket.recv(1) != b"g":
            os.kill(os.getpid(), signal.SIGKILL)


class ToldStore:
    """A store that tells which rows are in a transaction, and which ledger rows are written alone."""

    def __init__(self, store: RowStore, line: Line) -> None:
        self._store = store
        self._line = line

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self._store, name)

    def begin(self, rows: Sequence[RowName]) -> RowTransaction:
        """Begin a transaction."""
        self._line.tell("rows", [key for _, key in rows])
        return self._store.begin(rows)

    def record_alone(self, rows: Sequence[LedgerRow]) -> None:
        """Write ledger rows in a transaction of their own."""
        self._line.tell("alone", [row.original_id for row in rows])
        self._store.record_alone(rows)


@dataclass(frozen=True)
class ToldApplier(Applier):
    """An applier that tells which commands it has been handed."""

    line: Line = field(kw_only=True)

    def apply_transaction(self, received: Sequence[tuple[RepairCommand, int]]) -> list[CommandOutcome]:
        """Carry out commands."""
        self.line.tell("commands", [command.command_id for command, _ in received])
        return super().apply_transaction(received)


def run(settings_file: Path, path: str) -> None:
    """Be the applier until told to stop."""
    settings = load_settings(settings_file)
    configure_logs("applier", version("driftline"), settings.applier.instance_id)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    line = Line(path)
    loop = compose(settings, Metrics(), stopping, line.ask)
    stores = {name: cast("RowStore", ToldStore(store, line)) for name, store in loop.applier.stores.items()}
    composed = {each.name: getattr(loop.applier, each.name) for each in fields(loop.applier) if each.init}
    loop.applier = ToldApplier(**(composed | {"stores": stores}), line=line)
    loop.words.start()
    loop.run()


def main() -> None:
    """Start an applier for each byte of standard input."""
    settings_file, path = Path(sys.argv[1]), sys.argv[2]
    told = sys.stdin.fileno()
    while os.read(told, 1):
        pid = os.fork()
        if not pid:
            run(settings_file, path)
            os._exit(0)
        print(pid, flush=True)
        child = os.pidfd_open(pid)
        if child not in select.select([child, told], [], [])[0]:
            os.kill(pid, signal.SIGKILL)
        os.close(child)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
