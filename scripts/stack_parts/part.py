"""One server of the stack: how it is started, when it is ready, how it is asked to stop."""

import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stack_parts.failure import StackError
from stack_parts.launch import fingerprint
from stack_parts.layout import LOOPBACK, Layout
from stack_parts.process import Process, running, start

POLL_S = 0.05
LOG_TAIL_LINES = 8


@dataclass(frozen=True)
class Part:
    """A server as a value: no process yet."""

    name: str
    ports: tuple[int, ...]
    command: tuple[str, ...]
    folder: Path
    # What is still lacking, or None: ready. Asked every 50 ms, so it must be cheap and must not wait long.
    lacks: Callable[[], str | None]
    # What remains to be done to a ready server before others may use it; changes nothing twice.
    settle: Callable[[], None] = lambda: None
    deadline_s: float = 120.0
    stop_signal: signal.Signals = signal.SIGTERM
    patience_s: float = 20.0


def record_of(layout: Layout, name: str) -> Path:
    """The file that names a part's process."""
    return layout.records / f"{name}.json"


def log_of(layout: Layout, name: str) -> Path:
    """The file that a part's output goes to."""
    return layout.logs / f"{name}.log"


def running_part(layout: Layout, name: str) -> Process | None:
    """The process of a part, if it runs."""
    return running(record_of(layout, name))


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, for an error's text."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def bring_up(layout: Layout, part: Part, lock: int) -> str:
    """Start a part unless it runs just so, and wait until it is ready; says what had to be done."""
    record, log = record_of(layout, part.name), log_of(layout, part.name)
    process, done = running(record), "ready"
    if process is not None:
        done = "was running"
        if process.command not in {"", fingerprint(list(part.command))}:
            take_down(layout, part.name, part.stop_signal, part.patience_s)
            process, done = None, "restarted, since its settings changed"
    deadline = time.monotonic() + part.deadline_s
    child = None
    if process is None:
        _refuse_taken_ports(part)
        record.unlink(missing_ok=True)
        child = start(record, lock, part.command, log=log, folder=part.folder)
    while (lack := part.lacks()) is not None:
        if child is not None and child.poll() is not None:
            # A database killed a moment ago may still hold its shared memory; what has not ended early is not retried.
            if "pre-existing shared memory" in tail(log) and time.monotonic() < deadline:
                time.sleep(0.3)
                child = start(record, lock, part.command, log=log, folder=part.folder)
                continue
            raise StackError(f"{part.name} ended with {child.returncode}:\n{tail(log)}", f"the whole log: {log}")
        if child is None and running(record) is None:
            raise StackError(f"{part.name} ended while it was waited for:\n{tail(log)}", "run scripts/stack up again")
        if time.monotonic() > deadline:
            raise StackError(
                f"{part.name} is not ready after {part.deadline_s:.0f} s: {lack}\n{tail(log)}", f"the whole log: {log}"
            )
        time.sleep(POLL_S)
    part.settle()
    return done


def take_down(layout: Layout, name: str, stop_signal: signal.Signals, patience_s: float) -> str | None:
    """End a part if it runs; says how, or None when there was nothing to end."""
    record = record_of(layout, name)
    process: Process | None = running(record)
    how = None
    if process is not None:
        how = "killed" if process.end(stop_signal, patience_s) else "stopped"
        if process.is_alive():
            raise StackError(f"{name} (pid {process.pid}) does not end, not even by SIGKILL", "look at it with ps")
    record.unlink(missing_ok=True)
    return how


def _refuse_taken_ports(part: Part) -> None:
    for port in part.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                raise StackError(
                    f"{part.name} needs port {port}, which another process holds",
                    f"see who it is (ss -ltnp 'sport = :{port}'), or choose other ports with --base-port",
                ) from None
