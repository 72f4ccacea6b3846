"""The fold in seeded worlds: every drift told, nothing else, whatever misbehaves."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.world import FAULTS, World

SEEDS = 24


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_drift_is_told_and_nothing_else(seed: int) -> None:
    """A world's misses and false alarms are none, and it ends with nothing unknown."""
    counts = World(seed).run()
    assert (counts["false_alarms"], counts["missed"], counts["unknown"], counts["verified_late"]) == (0, 0, 0, 0), (
        f"seed {seed}: {dict(counts)}"
    )


def test_the_worlds_are_not_empty() -> None:
    """Every kind of fault is among the seeds above, and drifts are planted."""
    assert {fault for seed in range(SEEDS) for fault in World(seed).faults} == set(FAULTS)
    total: Counter[str] = Counter()
    for seed in range(12):
        total += World(seed).run()
    assert total["planted"] > 40
