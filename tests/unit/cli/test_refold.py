"""Folding the observations again leads to the very drifts that were told, through every crash in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.cli.refold import Refold, differences
from app.core.finding import DriftKind, Finding, Stage
from app.simulation.faults import Fault
from app.simulation.setting import Setting
from app.simulation.world import World


def folded_again(world: World, partition: int) -> list[Finding]:
    """Return what a fold from the first observation on says of one partition."""
    fold = Refold([world.contract], partition)
    return [finding for observation in world.workers[partition].topic for finding in fold.take(observation)]


@pytest.mark.parametrize("seed", [0, 1, 3, 7])
def test_a_fold_from_the_start_confirms_what_a_crashing_worker_told(seed: int) -> None:
    """Same drifts, same kinds, same deadlines: nothing depends on when a worker died or a broker answered.

    But for rows that a slice has missed: they are gone when the pass over the table comes to them.
    """
    setting = Setting.draw(seed, 1_000)
    world = World(replace(setting, faults=setting.faults - {Fault.ROWS_HIDDEN}))
    world.run()
    for partition, worker in enumerate(world.workers):
        told = [told.finding for told in worker.told]
        assert differences(told, folded_again(world, partition)) == {}


def test_what_only_one_side_knows_is_named() -> None:
    """A record without observations, observations without a record, another kind, another deadline."""
    world = World(Setting.draw(2, 1_000, frozenset({Fault.ROGUE_WRITES})))
    world.run()
    findings = [told.finding for worker in world.workers for told in worker.told]
    drifts = {f.finding_id: f for f in findings if f.stage is Stage.CONFIRMED and not f.incident_rows}
    first, second, third, *_ = drifts.values()
    kind = DriftKind.EXTRA if second.kind is not DriftKind.EXTRA else DriftKind.STALE
    late = replace(third.evidence, judged_at_ms=third.evidence.judged_at_ms + 1)
    forged = replace(first, finding_id=b"forged")
    found = differences([forged, replace(second, kind=kind), replace(third, evidence=late)], [first, second, third])
    assert found == {
        b"forged": "the observations do not lead to it",
        first.finding_id: "the observations lead to it, and it has no record",
        second.finding_id: f"from the observations its kind comes out as {second.kind.value if second.kind else '-'}",
        third.finding_id: "from the observations its deadline comes out otherwise",
    }
