"""The product's processes, started as a person would start them, and ended by the pids that were recorded.

The record of a process holds its pid and the moment it began, so that a pid that was given to somebody else meanwhile
is never signalled. A demo that was killed finds its leftovers in the records and ends them first.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


class ProcessEnded(RuntimeError):
    """A process of the product ended that should run; the text holds the end of its log."""


@dataclass
class Processes:
    """The processes of one deployment, by name."""

    folder: Path
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Start a process under a name; its output is appended to a log of that name."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log_of(name).open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self._children[name] = child
        self._record(name).write_text(json.dumps({"pid": child.pid, "began": _began(child.pid)}), encoding="ascii")

    @property
    def logs(self) -> Path:
        """The folder of logs."""
        return self.folder / "logs"

    def log_of(self, name: str) -> Path:
        """The log of a process."""
        return self.logs / f"{name}.log"

    def _record(self, name: str) -> Path:
        return self.logs / f"{name}.pid"

    def names(self) -> list[str]:
        """Return the processes that were started and not ended on purpose."""
        return list(self._children)

    def pid(self, name: str) -> int:
        """Return a process's id."""
        return self._children[name].pid

    def peak_bytes(self, name: str) -> int:
        """Return the most resident memory that a process has had; 0 if it is gone."""
        try:
            status = Path(f"/proc/{self.pid(name)}/status").read_text(encoding="utf-8")
            return int(status.split("VmHWM:")[1].split()[0]) * 1024
        except (OSError, IndexError):
            return 0

    def check(self) -> None:
        """Raise `ProcessEnded` if any process ended by itself."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ProcessEnded(
                    f"{name} ended with {child.returncode}; its log ({self.log_of(name)}) ends:\n{self.tail(name)}"
                )

    def tail(self, name: str, lines: int = 25) -> str:
        """Return the end of a log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_of(name).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""

    def kill(self, name: str) -> None:
        """End a process with SIGKILL, as a crash does, and reap it."""
        child = self._children.pop(name)
        child.kill()
        child.wait(timeout=10)
        self._record(name).unlink(missing_ok=True)

    def take_ended(self) -> dict[str, int]:
        """Return the exit codes of those that ended by themselves, and forget them."""
        ended = {name: code for name, child in self._children.items() if (code := child.poll()) is not None}
        for name in ended:
            del self._children[name]
            self._record(name).unlink(missing_ok=True)
        return ended

    def end(self, name: str, patience_s: float = 25) -> int | None:
        """Ask a process to end; kill it if it does not. Return its exit code, None if there is no such process."""
        child = self._children.pop(name, None)
        if child is None:
            return None
        child.terminate()
        try:
            child.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(timeout=10)
        self._record(name).unlink(missing_ok=True)
        return child.returncode

    def end_all(self) -> None:
        """End everything that was started; all are asked first, then waited for."""
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        for name in list(self._children):
            self.end(name)

    def leave(self) -> None:
        """Let the processes run on after this program has ended."""
        self._children.clear()

    def end_leftovers(self) -> list[str]:
        """End what an earlier run left running; return the names."""
        ended = []
        for record in sorted(self.logs.glob("*.pid")):
            told = json.loads(record.read_text(encoding="ascii"))
            if _began(told["pid"]) == told["began"] is not None:
                _end_by_pid(int(told["pid"]))
                ended.append(record.stem)
            record.unlink(missing_ok=True)
        return ended


def _began(pid: int) -> str | None:
    """Return when a process began, in ticks since boot, or None if there is none."""
    try:
        # The command in parentheses may hold blanks and parentheses.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return None


def _end_by_pid(pid: int, patience_s: float = 20) -> None:
    began = _began(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + patience_s
        while _began(pid) == began and time.monotonic() < until:
            time.sleep(0.1)
        if _began(pid) == began:
            os.kill(pid, signal.SIGKILL)
