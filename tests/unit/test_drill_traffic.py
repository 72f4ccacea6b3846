"""The engine drill's traffic: the same seed gives the same, and every seed comes to its end."""

from __future__ import annotations

import pytest
from drill_parts.engine import shape_of
from drill_parts.envelopes import Row
from drill_parts.traffic import AUTHORITY, REPLICA, Traffic


@pytest.mark.parametrize("seed", [1, 2, 3, 4711])
def test_every_damage_is_planted_and_all_else_is_copied(seed: int) -> None:
    """Only damaged rows may differ in the end: the pipeline brings everything else."""
    shape = shape_of(20_000)
    traffic = Traffic(shape, seed)
    stores: dict[str, dict[int, Row]] = {AUTHORITY: {}, REPLICA: {}}
    steps = [*traffic.snapshot(), *traffic.steps()]
    for step in steps:
        if step.row is None:
            del stores[step.store][step.number]
        else:
            stores[step.store][step.number] = step.row
    assert sum(traffic.planted.values()) == shape.damages
    assert len(steps) >= 20_000
    ours, theirs = stores[AUTHORITY], stores[REPLICA]
    unlike = {number for number in ours.keys() | theirs.keys() if ours.get(number) != theirs.get(number)}
    assert 0 < len(unlike) <= shape.damages


def test_the_same_seed_gives_the_same_traffic() -> None:
    """What a failed drill printed is enough to see the same again."""
    shape = shape_of(20_000)
    first, second, other = (list(Traffic(shape, seed).steps()) for seed in (5, 5, 6))
    assert first == second
    assert first != other
