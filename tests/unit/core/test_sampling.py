"""The bound that a sample states, against what is known of it otherwise."""

from __future__ import annotations

import random

import pytest

from app.core.sampling import SAMPLED, is_sampled, wrong_at_most


@pytest.mark.parametrize(
    ("sampled", "wrong", "bound"),
    # Tables of exact one-sided binomial bounds (Clopper-Pearson).
    [(100, 0, 0.029513), (100, 1, 0.046560), (100, 5, 0.102255), (10, 9, 0.994884), (50, 0, 0.058155)],
)
def test_the_bound_is_the_exact_one(sampled: int, wrong: int, bound: float) -> None:
    """Of `n` rows without a wrong one it is `1 - 0.05 ** (1 / n)`: about three in `n`."""
    assert wrong_at_most(sampled, wrong) == pytest.approx(bound, abs=2e-6)


def test_a_sample_of_nothing_and_one_that_is_all_wrong_bound_nothing() -> None:
    """Nothing is claimed that was not seen."""
    assert (wrong_at_most(0, 0), wrong_at_most(5, 5)) == (1.0, 1.0)
    with pytest.raises(ValueError, match="3 wrong of 2"):
        wrong_at_most(2, 3)


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Tables with a known share of wrong rows: at most one in twenty samples states a bound below it."""
    rng = random.Random(7)  # noqa: S311 - no secret
    share, rows, trials = 0.004, 1_000, 400
    broken = sum(wrong_at_most(rows, sum(rng.random() < share for _ in range(rows))) < share for _ in range(trials))
    assert broken <= 0.05 * trials + 3 * (trials * 0.05 * 0.95) ** 0.5


def test_slices_are_chosen_each_for_itself_and_anew_for_every_seed() -> None:
    """About one in sixteen, and not the same ones again."""
    chosen = [{n for n in range(16_000) if is_sampled(seed, str(n).encode())} for seed in (0, 1)]
    assert all(abs(len(each) - 16_000 * SAMPLED) < 150 for each in chosen)
    assert len(chosen[0] & chosen[1]) < 150
