"""Become a server, leaving a record of who that is.

Run as `launch.py RECORD LOCK_FD COMMAND...`. The record is written by the very process that then becomes the server, so
there is no moment at which a server runs that no record names, however the caller dies. The caller's lock comes along
as an open descriptor: whoever waits for it sees the record.
"""

import hashlib
import json
import os
import sys
from pathlib import Path


def start_ticks(pid: int) -> int:
    """When the process began, in clock ticks since boot; with the boot's id it names a process for good."""
    # The command in parentheses may itself hold blanks and parentheses.
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])


def fingerprint(command: list[str]) -> str:
    """What tells one command line from another."""
    return hashlib.sha256("\0".join(command).encode()).hexdigest()


def main(arguments: list[str]) -> None:
    """Write the record, give up the lock, become the command."""
    record, lock, *command = arguments
    pid = os.getpid()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    fresh = Path(f"{record}.{pid}")
    fields = {"pid": pid, "start_ticks": start_ticks(pid), "boot": boot, "command": fingerprint(command)}
    fresh.write_text(json.dumps(fields), encoding="ascii")
    fresh.replace(record)
    os.close(int(lock))
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
