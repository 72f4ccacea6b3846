"""A canary by itself: stores as dictionaries, and words about what is in them. Time moves when it is told to."""

from __future__ import annotations

from collections.abc import Callable

from app.core.canary import Canary, Deed, News, Planting, Task, Terms, Word
from app.core.canary_proof import Why
from app.core.finding import DriftKind, Stage

STORES = ("A", "R")
WINDOW_MS, INTERVAL_MS, PATIENCE_MS = 2_000, 5_000, 10_000


class CanaryWorld:
    """One canary after another on the same stores; `news` is what the one that lives has said."""

    def __init__(self, stores: tuple[str, ...] = STORES, watch: Callable[[], None] = lambda: None) -> None:
        self.watch = watch  # called after every change
        self.stores: dict[str, dict[int, int]] = {store: {} for store in stores}
        self.now_ms = 0
        self.doubt: Why | None = None
        self.born()

    def born(self) -> None:
        """Let a new canary begin, as after a crash of the last one: it remembers nothing."""
        windows_ms = dict.fromkeys(list(self.stores)[1:], WINDOW_MS)
        self.canary = Canary(Terms(list(self.stores), windows_ms, INTERVAL_MS, PATIENCE_MS))
        self.news: list[News] = []
        self.planted: list[Planting] = []

    @property
    def highest(self) -> int:
        """The newest row."""
        return max((row for rows in self.stores.values() for row in rows), default=0)

    def step(self, ms: int = 0, *, doing_ms: int = 0, changes_max: int | None = None) -> Deed | None:
        """Let time pass and do what is due: the deed takes a while, or fails after some changes."""
        self.now_ms += ms
        self.news += self.canary.look(self.now_ms, self.doubt)
        deed = self.canary.deed(self.now_ms, self.doubt)
        if deed is None:
            return None
        task = self.canary.begin(deed, self.highest, self.now_ms)
        if self._do(task, doing_ms, changes_max):
            self.news += self.canary.done(self.now_ms)
        else:
            self.news += self.canary.failed()
        return deed

    def _do(self, task: Task, doing_ms: int, changes_max: int | None) -> bool:
        deletions = [(store, row) for store, rows in self.stores.items() for row in rows if row < task.clears_below]
        steps = [(change.store, change.row, change.state) for change in task.changes]
        steps += [(store, row, None) for store, row in deletions]
        for store, row, state in steps[:changes_max]:
            if state is None:
                self.stores[store].pop(row, None)
            else:
                self.stores[store][row] = state
            self.now_ms, doing_ms = self.now_ms + doing_ms, 0  # the first change is the slow one
            self.watch()
        return changes_max is None or changes_max >= len(steps)

    def drift(self) -> tuple[int, str, DriftKind]:
        """Return row, replica and kind of the one drift that stands in the stores: `stale` is not told from others."""
        authority, *replicas = self.stores
        found = [
            (row, replica, _kind(self.stores[authority].get(row), self.stores[replica].get(row)))
            for replica in replicas
            for row in {*self.stores[authority], *self.stores[replica]}
            if self.stores[authority].get(row) != self.stores[replica].get(row)
        ]
        assert len(found) == 1, found
        return found[0]

    def tell(
        self, row: int | None, store: str, kind: DriftKind, stage: Stage = Stage.CONFIRMED, name: str = ""
    ) -> None:
        """Let a finding be read; its name is that of the row and the replica, unless another is given."""
        finding_id = (name or f"{row}/{store}").encode()
        self.news += self.canary.heard(Word(finding_id, row, store, kind, stage), self.now_ms)

    def plant(self) -> tuple[int, str, DriftKind]:
        """Let the next drift be planted, from wherever things stand at rest; return what it is."""
        for _ in range(3):
            if self.step(INTERVAL_MS) is Deed.PLANT:
                return self.drift()
        raise AssertionError("nothing was planted")


def _kind(truth: int | None, shown: int | None) -> DriftKind:
    if shown is None:
        return DriftKind.MISSING
    return DriftKind.EXTRA if truth is None else DriftKind.STALE if shown < truth else DriftKind.DIFFERENT
