"""Deep verification in seeded worlds: every damage that a log hid is found, and nothing else is called one.

Goal: reads of slices, amid traffic and every fault of `world`, tell of each hidden damage once, of no healthy row.
Method: somebody changes rows past the logs; slices are read while the world is busy, and once more when it is quiet,
as Debezium reads them: a chunk is selected at one moment and stands in the log at a later one, without the rows that
changed in between. Oracle: a hidden damage is there by the log from where it was read on: a drift like any other.
"""

from __future__ import annotations

from collections import Counter

import pytest

from app.core.finding import Stage
from tests.simulation.oracle import ABSENT, History
from tests.simulation.world import FAULTS, START_MS, Entry, World, digest

SEEDS = range(100, 116)
QUIET_MS = 9_000


class RereadWorld(World):
    """A world with damages past the logs, and a conductor that has slices read."""

    def _write_history(self) -> None:
        super()._write_history()
        self.hidden: dict[tuple[str, bytes], bytes] = {}
        for name in self.names:
            for _ in range(2):
                at_ms = self.rng.randint(START_MS + 2_000, self.end_ms)
                self._read_slice(name, at_ms, at_ms + self.rng.randint(20, 3_000))

    def _write_beacons(self) -> None:
        super()._write_beacons()
        rng = self.rng
        for name, store in self.stores.items():
            for key in rng.sample(self.keys, min(4, len(self.keys))):
                was = self.truth[name][key].states[-1]
                self.hidden[name, key] = rng.choice([ABSENT, digest(f"hidden-{name}")]) if was else digest("hidden")
            self.hidden[name, f"y{name}".encode()] = digest("inserted")
            changed_ms = [self.end_ms, *(h.times_ms[-1] for h in self.truth[name].values())]
            # A read that comes in a backlog may be known before the beacons that would prove it: it says nothing.
            busy_ms = [(store.snapshot_again_ms or 0) + store.outage_ms, *(end_ms for _, end_ms in store.stalls)]
            begin_ms = max(*changed_ms, *busy_ms) + QUIET_MS
            self._read_slice(name, begin_ms, begin_ms + rng.randint(20, 3_000))

    def _read_slice(self, name: str, begin_ms: int, close_ms: int) -> None:
        """Let the rows of a store be selected at one moment, and stand in its log at another."""
        rng, log = self.rng, self.stores[name].log
        slice_id = f"{name}@{begin_ms}".encode()
        done_ms = close_ms + rng.randint(10, 400)
        hidden = {key: state for (store, key), state in self.hidden.items() if store == name}
        log.append(Entry(begin_ms - 5, "slice", slice_id))
        there = {
            key: h.at(begin_ms) for key, h in self.truth[name].items() if not _changed(h, begin_ms, close_ms)
        } | hidden
        for key, state in there.items():
            if state != ABSENT:
                log.append(Entry(close_ms, "row", key, state, reread=True))
        log.append(Entry(done_ms, "slice", slice_id))
        for key, state in hidden.items():
            self.truth[name][key].change(close_ms if state else done_ms, state)

    def gaps(self) -> Counter[tuple[str, bytes]]:
        """Return how many different gaps were told of each row of each store."""
        told = {f.finding_id: (f.replica, f.canonical_key) for f in self.findings if f.stage is Stage.NOTED}
        return Counter(told.values())


def _changed(history: History, begin_ms: int, close_ms: int) -> bool:
    return any(begin_ms <= at_ms <= close_ms for at_ms in history.times_ms)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_hidden_damage_is_found_once_and_nothing_else_is_one(seed: int) -> None:
    """Gaps are the hidden damages, each once, and drifts come out as in a world whose logs told of them."""
    world = RereadWorld(seed)
    counts = world.run()
    covered = {name for name, store in world.stores.items() if store.starts_ms <= world.end_ms}
    wanted = {at: 1 for at in world.hidden if at[0] in covered}
    assert world.gaps() == wanted, f"seed {seed}"
    assert (counts["false_alarms"], counts["missed"], counts["unknown"], counts["verified_late"]) == (0, 0, 0, 0), (
        f"seed {seed}: {dict(counts)}"
    )


def test_the_worlds_are_not_empty() -> None:
    """Every kind of fault is among the seeds, and damages of every kind are hidden in every store."""
    worlds = [RereadWorld(seed) for seed in SEEDS]
    assert {fault for world in worlds for fault in world.faults} == set(FAULTS)
    deletes = [at for world in worlds for at, state in world.hidden.items() if state == ABSENT]
    assert len(deletes) > len(SEEDS)
    assert sum(len(world.hidden) for world in worlds) > 9 * len(SEEDS)
