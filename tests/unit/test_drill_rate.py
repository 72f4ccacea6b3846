"""What the rate drill makes of times."""

from __future__ import annotations

from demo_parts.rate import percentile, told


def test_a_percentile_is_a_time_that_was_measured() -> None:
    """No more than its share of all times is greater, and the whole share is the greatest."""
    times = [float(n) for n in range(200, 0, -1)]
    assert [percentile(times, share) for share in (0.5, 0.99, 1.0)] == [100.0, 198.0, 200.0]
    assert percentile([7.0], 0.5) == 7.0


def test_nothing_is_told_of_no_times() -> None:
    """Where nothing was proven the faults say so."""
    assert told([]) == {}
    assert told([0.125, 2.0]) == {"p50": 0.12, "p99": 2.0, "most": 2.0}
