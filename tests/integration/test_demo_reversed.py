"""The same damages with MariaDB as the authority and PostgreSQL as the copy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from demo_parts.campaign import Campaign
from demo_parts.damages import damages
from demo_parts.performance import choose, judge_damages, judge_rows, perform_damages
from demo_parts.running import Running
from demo_parts.shop import PRODUCTS
from judge_parts.opinion import Opinion

from tests.integration.running_demo import running_demo

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]

BOTH_WAYS = [damage.name for damage in damages(PRODUCTS) if not damage.only_forward]


@pytest.fixture(scope="module")
def performed() -> Iterator[tuple[Running, Campaign, Opinion]]:
    """Plant every damage that this direction knows, once."""
    with running_demo("turned", turned=True) as running:
        campaign, opinion = perform_damages(running, choose(running, ()), lambda *_: None, print)
        yield running, campaign, opinion


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_damage_to_a_copy_in_postgres(performed: tuple[Running, Campaign, Opinion], name: str) -> None:
    """Each damage is detected, called by its name, repaired and proven in a PostgreSQL copy too."""
    _, campaign, _ = performed
    (case,) = [case for case in campaign.cases if case.damage.name == name]
    assert case.faults() == []


def test_nothing_else_was_raised_in_a_copy_in_postgres(performed: tuple[Running, Campaign, Opinion]) -> None:
    """No false alarm, no repair twice, and both databases equal at the end."""
    running, campaign, opinion = performed
    assert [(s.entity, s.key) for s in (*opinion.false_alarms, *opinion.refuted)] == []
    assert judge_damages(running, campaign) == []
    running.load.stop()
    running.await_proven(60)
    assert judge_rows(running, campaign) == []
