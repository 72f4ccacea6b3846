"""The truth drill in small: drifts planted under load while the sink pauses, lags and restarts, judged by both logs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from demo_parts.running import Running
from demo_parts.truth import TruthDrill
from demo_parts.truth_plan import plan_of

from tests.integration.running_demo import WINDOW_S, running_demo

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]
DRIFTS, SECONDS, SEED = 14, 42.0, 7


@pytest.fixture
def running() -> Iterator[Running]:
    """A system of its own: the drill leaves rows that the next one would damage again."""
    with running_demo("truth") as system:
        yield system


def test_every_drift_is_found_under_its_name_and_nothing_else_is_but_what_was_really_late(running: Running) -> None:
    """Fourteen drifts in three quarters of a minute; late rows are told, resolve, and are never repaired."""
    result = TruthDrill(running, plan_of(SEED, DRIFTS, SECONDS, WINDOW_S), WINDOW_S, print).run(SECONDS)
    assert result["faults"] == []
    assert (result["planted"], result["found"], result["false_alarms"]) == (DRIFTS, DRIFTS, 0)
    assert result["really_late"] > 0
    assert min(result["troubles"].values()) >= 1
