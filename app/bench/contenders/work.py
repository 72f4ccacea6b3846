"""What every contender is asked: its arguments, the entry to keep per key, and when to say what.

An entry is the LSN in eight bytes and the digest in sixteen, so that the higher of two is the newer. A contender says
`started` with its first record, and `done` when every entry is in its store and acknowledged in its changelog; then it
waits until its input is closed, so that what it has cost can be read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

import orjson
from xxhash import xxh3_128_digest

COMPARED: Final = ("name", "price", "quantity", "status", "changed_at")
BETWEEN: Final = "\x1f"
GC_THRESHOLD: Final = (200_000, 50, 1_000)
"""The worker's: the collector walks no records again and again. The ceiling has it too."""

_LSN: Final = Struct(">Q")


class Asked(NamedTuple):
    """The arguments: where the events are, how many, under which name to make topics and groups, and a folder."""

    bootstrap: str
    topic: str
    changes: int
    name: str
    folder: Path

    @classmethod
    def of_command(cls) -> Asked:
        """Return what the command line says."""
        bootstrap, topic, changes, name, folder = sys.argv[1:6]
        return cls(bootstrap, topic, int(changes), name, Path(folder))


def entry_of(value: bytes) -> bytes:
    """Return what is kept of an event."""
    event = orjson.loads(value)
    row = event["after"]
    text = BETWEEN.join((row["name"], row["price"], str(row["quantity"]), row["status"], row["changed_at"]))
    return _LSN.pack(event["source"]["lsn"]) + xxh3_128_digest(text.encode())


def started() -> None:
    """Start the clock."""
    print("started", flush=True)  # noqa: T201 - read by the contest


def done() -> None:
    """Stop the clock, and wait until the contest has looked."""
    print("done", flush=True)  # noqa: T201 - read by the contest
    sys.stdin.read()
