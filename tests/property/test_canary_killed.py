"""However often the canary is killed or held up, a system that tells the truth is not accused, and nothing is left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.canary import Deed, FalseAlarm, Judged, Result
from app.core.finding import DriftKind, Stage
from tests.unit.core.canary_world import INTERVAL_MS, PATIENCE_MS, WINDOW_MS, CanaryWorld

_Found = tuple[int, str]
"""Row and replica."""


class Honest:
    """A system that tells every drift that stood past its window, sooner or later, perhaps twice, and when it is over.

    What it tells late it tells as a backlog does: all drifts that ever stood, in their order.
    """

    def __init__(self, world: CanaryWorld) -> None:
        self.world = world
        self.since: dict[_Found, tuple[int, DriftKind]] = {}
        self.coming: list[tuple[_Found, DriftKind, Stage]] = []
        self.told: set[_Found] = set()

    def see(self) -> None:
        """Look at the stores: note what differs, since when, and what differs no longer."""
        truth, now_ms = self.world.stores["A"], self.world.now_ms
        for replica, rows in self.world.stores.items():
            for row in {*truth, *rows}:
                at = (row, replica)
                if truth.get(row) == rows.get(row):
                    self._over(at)
                elif at not in self.since:
                    kind = DriftKind.MISSING if row not in rows else DriftKind.EXTRA if row not in truth else None
                    stale = rows.get(row, 0) < truth.get(row, 0)
                    self.since[at] = now_ms, kind or (DriftKind.STALE if stale else DriftKind.DIFFERENT)
                elif now_ms - self.since[at][0] > WINDOW_MS and at not in self.told:
                    self.told.add(at)
                    self.coming.append((at, self.since[at][1], Stage.CONFIRMED))
        for at in [at for at in self.since if not any(at[0] in rows for rows in self.world.stores.values())]:
            self._over(at)

    def _over(self, at: _Found) -> None:
        _, kind = self.since.pop(at, (0, DriftKind.DIFFERENT))
        if at in self.told:
            self.told.discard(at)
            self.coming.append((at, kind, Stage.RESOLVED))

    def tell(self, *, twice: bool) -> None:
        """Tell all that is to be told."""
        for (row, replica), kind, stage in self.coming * (2 if twice else 1):
            self.world.tell(row, replica, kind, stage)
        self.coming = []


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from((100, WINDOW_MS + 1, INTERVAL_MS, WINDOW_MS + PATIENCE_MS + 1))),
        st.tuples(st.just("tell"), st.integers(1, 2)),
        st.tuples(st.just("fail"), st.integers(0, 6)),
        st.tuples(st.just("slow"), st.just(WINDOW_MS + 1)),
        st.tuples(st.just("killed"), st.integers(0, 6)),
    ),
    max_size=60,
)


@given(_STEPS, st.sampled_from([("A", "R"), ("A", "R", "S")]))
def test_an_honest_system_is_never_accused(steps: list[tuple[str, int]], stores: tuple[str, ...]) -> None:
    """Killed in the middle of a deed, refused by stores, slow, told late and twice: no false alarm, no wrong name."""
    world = CanaryWorld(stores)
    system = Honest(world)
    world.watch = system.see
    for what, how_much in steps:
        world.now_ms += how_much if what == "wait" else INTERVAL_MS
        system.see()
        match what:
            case "wait":
                world.step()
            case "tell":
                system.tell(twice=how_much > 1)
            case "slow":
                world.step(doing_ms=how_much)
            case _:
                world.step(changes_max=how_much)
        assert [each for each in world.news if isinstance(each, FalseAlarm)] == []
        assert [each for each in world.news if isinstance(each, Judged) and each.result is Result.MISNAMED] == []
        if what == "killed":
            world.born()
    world.born()
    assert world.step() is Deed.PREPARE
    assert len({tuple(rows.items()) for rows in world.stores.values()}) == 1
