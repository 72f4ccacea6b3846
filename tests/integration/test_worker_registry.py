"""A worker on Avro feeds, while the registry goes and comes: on a real broker and a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running_stack import part_killed, running_stack
from tests.integration.worker_world import WorkerWorld

pytestmark = pytest.mark.stack
ROWS = 40
NEW_COLUMN = {"note": "added since"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WorkerWorld]:
    """Give a world whose two stores agree; one writes Avro."""
    told = running_stack("kafka", "registry")
    made = WorkerWorld(str(told["kafka"]["bootstrap"]), tmp_path, str(told["registry"]["url"]))
    for number in range(1, ROWS + 1):
        for store in ("pg", "my"):
            made.change(store, number, (f"name {number}", "1.50"), snapshot=True)
    made.beacon(snapshot=True)
    made.sink.flush()
    with made.beacons():
        yield made
    made.close()


def test_a_registry_that_dies_before_a_new_schema_is_waited_for_and_nothing_is_lost(world: WorkerWorld) -> None:
    """The partition is held with growing pauses, and says so; what was held is then read, and nothing was raised."""
    quarantine = f"{world.prefix}.quarantine.v1"
    with world.worker():
        world.until(world.covered, within_s=60, why="coverage")
        world.learn(NEW_COLUMN)
        with part_killed("registry"):
            for store, more in (("pg", NEW_COLUMN), ("my", {})):
                world.change(store, 7, ("renamed", "1.50"), more=more)
                # Behind it in the same partition, under a schema that is known.
                world.change(store, 10, ("renamed too", "1.50"))
            world.sink.flush()
            world.until(lambda: len(world.told("a partition waits")) > 2, within_s=60, why="the worker to say so")
            waits = world.told("a partition waits")
            assert {told["topic"] for told in waits} == {world.topic("pg", "public.items")}
            assert all("registry" in told["what"] and told["hint"] for told in waits)
            pauses = [told["again_in_ms"] for told in waits]
            assert pauses == sorted(set(pauses))
            assert world.findings() == []
        held_until_ms = world.acknowledged_ms

        def proven() -> bool:
            mine = [report for (store, _), report in world.statuses().items() if store == "my"]
            return all((report.verified_through_ms or 0) > held_until_ms for report in mine)

        world.until(proven, within_s=60, why="what was held to be proven")
        assert world.findings() == []
        world.until(lambda: not world.unknown(), within_s=30, why="nothing to be unknown any more")
        world.change("my", 7, ("rogue", "1.50"))
        world.sink.flush()
        world.until(lambda: bool(world.findings()), within_s=20, why="a damage to the row that was held")
    damaged = world.key_hash(7, world.findings_entity())[0]
    assert {finding.key_hash for finding in world.findings()} == {damaged}
    assert world.records(quarantine) == []
