"""What a process has cost so far, as the kernel counts it: all its threads, none of its children."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
CPU_TICK_S: Final = 1 / _TICKS_PER_S
"""The finest difference that the kernel tells: less than this is counted as this."""

_USER, _SYSTEM = 11, 12  # behind the command's name, which may hold blanks


def cpu_s(process: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_PER_S


def peak_rss_bytes(process: int) -> int:
    """Return the most memory that a process has had resident."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def folder_bytes(folder: Path) -> int:
    """Return how much the files below a folder hold."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
