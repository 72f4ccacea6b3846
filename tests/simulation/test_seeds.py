"""The fold in seeded worlds: every drift told, nothing else, whatever misbehaves."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.world import FAULTS, World


@pytest.mark.parametrize("seed", range(24))
def test_every_drift_is_told_and_nothing_else(seed: int) -> None:
    """A world's misses and false alarms are none, and it ends with nothing unknown."""
    counts = World(seed).run()
    assert (counts["false_alarms"], counts["missed"], counts["unknown"], counts["verified_late"]) == (0, 0, 0, 0), (
        f"seed {seed}: {dict(counts)}"
    )


def test_the_worlds_are_not_empty() -> None:
    """Every kind of fault happens in the seeds above, and drifts are planted."""
    total: Counter[str] = Counter()
    used: set[str] = set()
    for seed in range(8):
        world = World(seed)
        used |= world.faults
        total += world.run()
    assert total["planted"] > 40
    assert used == set(FAULTS)
