"""What must raise nothing: each case disturbs the machinery and leaves the data right.

A case ends when everything is proven again (nothing unknown, `verified_through` within the window + 5 s), and then one
damage is planted and must be found: a detector that sleeps is quiet too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from demo_parts.load import commit_late, hot_row, one_big_transaction
from demo_parts.pipeline import await_condition
from demo_parts.running import FEED, Running, stack
from demo_parts.shop import FIRST_LOADED_ID
from demo_parts.sides import SERVER_GONE, Kind

HOT_ORDER = 31
LATE_ORDER = 41
BIG_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class QuietCase:
    """One disturbance. `settles_s` is how long the product may take to prove everything again after it."""

    name: str
    disturb: Callable[[Running], None]
    settles_s: float = 60
    is_late: bool = False
    """Whether the copy is certainly late in it: then drift must be reported."""


def _feed_paused(running: Running) -> None:
    stack(running.plan, "connectors", "pause", *FEED)
    time.sleep(1.5 * running.window_of("orders"))
    stack(running.plan, "connectors", "resume", *FEED)


def _one_feed_paused(running: Running) -> None:
    """Pause the connector of the origin alone: the copy's honest new states come first then."""
    origin = f"{running.shop.origin.kind.value}-source"
    stack(running.plan, "connectors", "pause", origin)
    time.sleep(1.5 * running.window_of("orders"))
    stack(running.plan, "connectors", "resume", origin)


def _feed_worker_killed(running: Running) -> None:
    running.kill_part("connect-feed")
    time.sleep(2)
    running.start_parts()


def _hot_row(running: Running) -> None:
    with hot_row(running.shop.origin, HOT_ORDER, per_second=300):
        time.sleep(2 * running.window_of("orders"))


def _postgres_restarted(running: Running) -> None:
    running.kill_part("postgres", politely=True)
    time.sleep(1)
    running.start_parts()
    await_condition(lambda: _answers(running, Kind.POSTGRES), 30, "PostgreSQL to answer")


def _part_killed(part: str, down_s: float) -> Callable[[Running], None]:
    """Return a case that kills one server outright and brings it back a while later."""

    def kill(running: Running) -> None:
        running.kill_part(part)
        time.sleep(down_s)
        running.start_parts()

    return kill


def _answers(running: Running, kind: Kind) -> bool:
    try:
        return bool(running.places.side(kind).query("SELECT 1"))
    except SERVER_GONE:
        return False


def _worker_killed(running: Running) -> None:
    running.processes.kill("worker")
    time.sleep(1)
    running.start_process("worker")


def _clock_steps(running: Running) -> None:
    """Let MariaDB's clock be 90 s ahead, then step by 20 s, forth and back."""
    for shift in ("+90s", "+110s", "+90s"):
        running.shift_clock(shift)
        time.sleep(max(3.0, running.window_of("orders") / 2))
    running.shift_clock("+0s")


def _late_commits(running: Running) -> None:
    writers = [
        threading.Thread(target=commit_late, args=(running.shop.origin, LATE_ORDER + n, 6.0), daemon=True)
        for n in range(5)
    ]
    for writer in writers:
        writer.start()
        time.sleep(0.4)
    for writer in writers:
        writer.join(timeout=30)


def _big_transaction(running: Running) -> None:
    last = running.shop.origin.one("SELECT MAX(id) FROM ledger_entries")
    first = max(int(last[0]) + 1 if last else 0, FIRST_LOADED_ID) + 1_000_000
    one_big_transaction(running.shop.origin, first, BIG_ROWS)


def _beacon_taken_over(running: Running) -> None:
    """Kill the writer that leads, whichever it is: one after the other, with time for the second to take over."""
    for name in ("beacon-1", "beacon-2"):
        running.processes.kill(name)
        before = running.beacon_ms()
        await_condition(lambda since=before: running.beacon_ms() > since, 30, "the other beacon writer")  # type: ignore[misc]
        time.sleep(2)
        running.start_process(name)
        time.sleep(2)


def _load_stops(running: Running) -> None:
    running.load.stop()
    time.sleep(running.window_of("orders") + 6)


def _sink_paused(running: Running) -> None:
    sink = running.shop.pipeline.sink_of("orders")
    running.shop.pipeline.connect.pause(sink)
    try:
        time.sleep(2 * running.window_of("orders") + 3)
    finally:
        running.shop.pipeline.connect.resume(sink)


QUIET_CASES: tuple[QuietCase, ...] = (
    QuietCase("own_connectors_paused", _feed_paused),
    QuietCase("connector_of_the_origin_paused", _one_feed_paused),
    # A transaction that the killed worker left open holds its readers up until the broker ends it, after a minute.
    QuietCase("feed_worker_killed", _feed_worker_killed, settles_s=120),
    QuietCase("hot_row", _hot_row),
    QuietCase("postgres_restarted", _postgres_restarted),
    QuietCase("worker_killed", _worker_killed),
    QuietCase("mariadb_clock_steps", _clock_steps),
    QuietCase("late_commits", _late_commits),
    QuietCase("big_transaction", _big_transaction, settles_s=120),
    QuietCase("beacon_writer_taken_over", _beacon_taken_over),
    QuietCase("load_stops", _load_stops),
    QuietCase("sink_paused", _sink_paused, is_late=True),
    QuietCase("registry_killed", _part_killed("registry", 3.0)),
    # The pipeline stands still with its broker: whatever changes meanwhile is late once the window is over.
    QuietCase("broker_killed", _part_killed("kafka", 4.0), settles_s=120),
    # A store that is gone writes no beacons: how late its changes were cannot be told, and is not claimed.
    QuietCase("mariadb_killed", _part_killed("mariadb", 4.0), settles_s=120),
)


@dataclass
class QuietResult:
    """How a quiet case ended."""

    name: str
    false_alarms: int = 0
    really_late: int = 0
    unknown_at_end: int = 0
    canary_after_s: float | None = None
    problem: str = ""

    def faults(self) -> list[str]:
        """Say what was wrong."""
        said = [f"{self.name}: {self.problem}"] if self.problem else []
        if self.false_alarms:
            said.append(f"{self.name}: {self.false_alarms} false alarms")
        if self.unknown_at_end:
            said.append(f"{self.name}: {self.unknown_at_end} keys unknown at its end")
        if self.canary_after_s is None:
            said.append(f"{self.name}: the damage planted at its end was not found")
        return said
