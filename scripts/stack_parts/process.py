"""Start, recognise and end the stack's own processes; never any other, even when a pid was given away again."""

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack_parts import launch
from stack_parts.failure import StackError

LOCK_WAIT_S = 180.0


@dataclass(frozen=True)
class Process:
    """A process as its record names it."""

    pid: int
    start_ticks: int
    boot: str
    # What tells its command line from another, so that a change of settings is noticed.
    command: str = ""

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat[0] not in "ZX" and int(stat[19]) == self.start_ticks and boot == self.boot

    def end(self, stop_signal: signal.Signals, patience_s: float) -> bool:
        """Ask it to stop, kill it when it does not; True when it had to be killed."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # Looked at after the handle is open: from here on the handle cannot mean another process.
            if not self.is_alive():
                return False
            signal.pidfd_send_signal(handle, stop_signal)
            if select.select([handle], [], [], patience_s)[0]:
                return False
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], patience_s)
        except ProcessLookupError:
            return False
        else:
            return True
        finally:
            os.close(handle)


def recorded(record: Path) -> Process | None:
    """The process of a record, dead or alive."""
    try:
        fields = json.loads(record.read_text(encoding="ascii"))
        return Process(
            int(fields["pid"]), int(fields["start_ticks"]), str(fields["boot"]), str(fields.get("command", ""))
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None


def running(record: Path) -> Process | None:
    """The process of a record if it still runs."""
    process = recorded(record)
    return process if process is not None and process.is_alive() else None


def start(record: Path, lock: int, command: Sequence[str], *, log: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, so that it outlives us, and append what it says to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", launch.__file__, str(record), str(lock), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
            pass_fds=(lock,),
        )


@contextlib.contextmanager
def locked(path: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[int]:
    """Hold a file's lock, which the kernel takes back however we end; gives its descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StackError(
                        f"another command has held {path} for {wait_s:.0f} s", "wait for it, or end it, then try again"
                    ) from None
                time.sleep(0.05)
        yield handle
    finally:
        os.close(handle)
