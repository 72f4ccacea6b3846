"""The launcher as a process, and the one applier that it has forked: its pid, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_LINES_TOLD = 15


class Ended(RuntimeError):
    """An applier ended, or did not begin, though nobody had killed it."""


class Launched:
    """Starts appliers one after the other; each is known by a handle of its own."""

    def __init__(self, folder: Path, config: Path, line: str) -> None:
        self._log = folder / "applier.log"
        with self._log.open("ab") as log:
            self._launcher = subprocess.Popen(
                [sys.executable, "-m", "repair_drill.launcher", str(config), line],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._handle: int | None = None

    def start(self) -> None:
        """Start an applier; the one before must have ended."""
        told = self._launcher.stdin
        if told is not None:
            told.write("s")
            told.flush()
        # A handle cannot come to mean another process, as a pid can.
        self._handle = os.pidfd_open(self._heard())

    def kill(self) -> None:
        """End the applier by kill -9."""
        self._signal(signal.SIGKILL)

    def ask_to_end(self) -> None:
        """Ask the applier to end."""
        self._signal(signal.SIGTERM)

    def take_end(self, *, is_doomed: bool) -> None:
        """Wait until the applier has ended; it must have been killed if that was its doom, and else have left well."""
        code = self._heard()
        self._forget()
        if code not in ({-signal.SIGKILL} if is_doomed else {0}):
            self.fail(f"it ended with {code}")

    def fail(self, what: str) -> NoReturn:
        """Say why there is no applier, with the end of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES_TOLD:]
        raise Ended("\n".join([f"the applier is not there: {what}; its log ends:", *lines]))

    def close(self) -> None:
        """End the applier, if one runs, and the launcher."""
        self.kill()
        self._forget()
        self._launcher.kill()
        self._launcher.wait(timeout=10)

    def _heard(self) -> int:
        heard = self._launcher.stdout
        line = heard.readline() if heard is not None else ""
        if not line:
            self.fail("the launcher has ended")
        return int(line)

    def _signal(self, number: signal.Signals) -> None:
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def _forget(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None
