"""The only place that asks what time it is. Wall-clock time is for display and for expiry that people set."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def monotonic_ms() -> int:
    """Return milliseconds of this machine's monotonic clock; only differences mean anything."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Return milliseconds since 1970 by this machine's wall clock."""
    return time.time_ns() // 1_000_000


def wall_utc() -> datetime:
    """Return the wall-clock time in UTC, for display."""
    return datetime.now(UTC)  # noqa: TID251 - the one place
