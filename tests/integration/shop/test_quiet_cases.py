"""What must raise nothing, on a real pipeline: one test for each disturbance.

Each ends with nothing unknown, everything proven up to the window and 5 s ago, and one planted damage that is found.
"""

from __future__ import annotations

import pytest
from demo_parts.performance import perform_quiet, quiet_cases
from demo_parts.quiet import QuietResult
from demo_parts.running import Running

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]


@pytest.fixture(autouse=True)
def load(running: Running) -> None:
    """Let the shop work, whatever was tried before."""
    if not running.load.running:
        running.load.start()


def _perform(running: Running, name: str) -> QuietResult:
    ((number, case),) = quiet_cases([name])
    return perform_quiet(running, case, number)


def test_paused_connectors_of_our_own_raise_nothing(running: Running) -> None:
    """Lag of our own connectors delays verdicts and falsifies none."""
    assert _perform(running, "own_connectors_paused").faults() == []


def test_one_paused_connector_of_our_own_raises_nothing(running: Running) -> None:
    """A copy whose authority's connector is behind shows honest states that look foreign."""
    assert _perform(running, "connector_of_the_origin_paused").faults() == []


def test_killed_connect_worker_raises_nothing(running: Running) -> None:
    """Our own Connect worker killed with -9 and started again repeats itself at most."""
    assert _perform(running, "feed_worker_killed").faults() == []


def test_hot_row_agrees_after_its_load_ends(running: Running) -> None:
    """A row updated hundreds of times a second is never called drift."""
    assert _perform(running, "hot_row").faults() == []


def test_restarted_postgres_raises_nothing(running: Running) -> None:
    """A restart of the authority is one stalled store for a while."""
    assert _perform(running, "postgres_restarted").faults() == []


def test_worker_killed_in_the_middle_raises_nothing(running: Running) -> None:
    """The worker killed with -9 comes back to the same verdicts."""
    assert _perform(running, "worker_killed").faults() == []


def test_wrong_and_stepping_clock_raises_nothing(running: Running) -> None:
    """A MariaDB whose clock is 90 s off and steps by 20 s changes no verdict."""
    assert _perform(running, "mariadb_clock_steps").faults() == []


def test_statements_that_commit_late_raise_nothing(running: Running) -> None:
    """A statement that commits 6 s after it ran is judged by its commit's place in the log."""
    assert _perform(running, "late_commits").faults() == []


def test_transaction_of_20000_rows_raises_nothing(running: Running) -> None:
    """A big transaction within its table's window is no drift."""
    assert _perform(running, "big_transaction").faults() == []


def test_beacon_writer_taken_over_raises_nothing(running: Running) -> None:
    """Time goes on when the leading beacon writer is killed and the second takes over."""
    assert _perform(running, "beacon_writer_taken_over").faults() == []


def test_load_that_stops_raises_nothing(running: Running) -> None:
    """Silence of the shop is no silence of the beacons."""
    assert _perform(running, "load_stops").faults() == []


def test_sink_paused_beyond_its_window_resolves_without_a_repair(running: Running) -> None:
    """A copy that is really late is told of, resolves by itself, and is not repaired."""
    assert _perform(running, "sink_paused").faults() == []


def test_killed_registry_raises_nothing(running: Running) -> None:
    """Schemas that are known need no registry."""
    assert _perform(running, "registry_killed").faults() == []


def test_killed_broker_raises_only_what_is_really_late(running: Running) -> None:
    """Nothing moves without its broker: what changed meanwhile is late, is told of, resolves, and is not repaired."""
    assert _perform(running, "broker_killed").faults() == []


def test_killed_mariadb_raises_nothing(running: Running) -> None:
    """A copy that is gone is one stalled store, and comes back without a false word."""
    assert _perform(running, "mariadb_killed").faults() == []
