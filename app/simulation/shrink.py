"""The smallest world that still fails, and its story: fewer faults, fewer changes, told as a list of what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from app.simulation.beacons import CommonClock
from app.simulation.faults import Fault
from app.simulation.setting import Setting
from app.simulation.stores import Entry, Kind, Store
from app.simulation.verdicts import Complaint, Score
from app.simulation.world import World

_CHANGES_LEAST: Final = 20
_LINES_MOST: Final = 60
_ALIKE_MOST: Final = 3
_BEFORE_MS: Final = 8_000
_AFTER_MS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Failing:
    """A world that is not right: how to make it again, and what is wrong with it."""

    seed: int
    changes: int
    faults: frozenset[Fault]
    score: Score

    @property
    def command(self) -> str:
        """The line that makes this world again."""
        faults = "".join(f" --fault {fault.value}" for fault in Fault if fault in self.faults)
        return f"driftline simulate --seed {self.seed} --runs 1 --changes {self.changes}{faults or ' --no-faults'}"


def failing(seed: int, changes: int, faults: frozenset[Fault] | None = None) -> Failing | None:
    """Run a world, and return it if it is not right."""
    setting = Setting.draw(seed, changes, faults)
    score = World(setting).run()
    return None if score.is_right else Failing(seed, changes, setting.faults, score)


def shrink(found: Failing, runs_max: int = 150) -> Failing:
    """Return a smaller world with a complaint of the same kind; at most so many worlds are tried."""
    kinds = {complaint.what for complaint in found.score.complaints}
    left = runs_max
    while left > 0:
        for changes, faults in _smaller(found):
            left -= 1
            tried = failing(found.seed, changes, faults)
            if tried is not None and kinds & {complaint.what for complaint in tried.score.complaints}:
                found = tried
                break
            if left <= 0:
                break
        else:
            break
    return found


def _smaller(found: Failing) -> Iterator[tuple[int, frozenset[Fault]]]:
    faults = sorted(found.faults, key=lambda fault: fault.value)
    half = len(faults) // 2
    if half > 1:
        yield found.changes, frozenset(faults[:half])
        yield found.changes, frozenset(faults[half:])
    if found.changes // 2 >= _CHANGES_LEAST:
        yield found.changes // 2, found.faults
    for fault in faults:
        yield found.changes, found.faults - {fault}
    if found.changes * 3 // 4 >= _CHANGES_LEAST:
        yield found.changes * 3 // 4, found.faults


def story(found: Failing) -> list[str]:
    """Tell what happened around the first complaint: to its row in both stores, and to everything else meanwhile."""
    world = World(Setting.draw(found.seed, found.changes, found.faults))
    complaint = world.run().complaints[0]
    clock = world.beacons.clock()
    from_ms, to_ms = complaint.at_ms - world.setting.window_ms - _BEFORE_MS, complaint.at_ms + _AFTER_MS
    lines = sorted(line for line in _lines(world, complaint, clock) if from_ms <= line[0] <= to_ms)
    shown = [f"{at_ms / 1_000:9.3f} s  {what}" for at_ms, what in lines[-_LINES_MOST:]]
    where = f"{complaint.store} {complaint.key.decode()}".strip()
    moment = f"{complaint.at_ms / 1_000:.3f} s of common time"
    title = f"{complaint.what}: {where} at {moment}, window {world.setting.window_ms} ms"
    return [title, *shown]


def _lines(world: World, complaint: Complaint, clock: CommonClock) -> Iterable[tuple[int, str]]:
    for store in world.stores:
        if store.name in {world.setting.store_names[0], complaint.store}:
            for entry in store.log:
                what = _told(store, entry, complaint.key)
                if what:
                    yield clock.common_ms(entry.at_ms), what
    yield from _fault_lines(world, complaint.key, clock)
    for worker in world.workers:
        for told in worker.told:
            finding = told.finding
            if finding.canonical_key == complaint.key and finding.replica == complaint.store:
                judged_ms = finding.evidence.judged_at_ms
                yield (
                    clock.common_ms(told.at_ms),
                    f"worker tells {finding.stage.value}, judged at {judged_ms / 1_000:.3f} s",
                )


def _fault_lines(world: World, key: bytes, clock: CommonClock) -> Iterator[tuple[int, str]]:
    """Yield the first few faults of each kind that concern a row, or all rows."""
    seen: Counter[tuple[str, Fault]] = Counter()
    for happening in world.diary.happenings:
        if happening.key in {key, b""}:
            seen[happening.store, happening.fault] += 1
            if seen[happening.store, happening.fault] <= _ALIKE_MOST:
                yield clock.common_ms(happening.at_ms), f"{happening.store or '-':6} {happening.fault.value}"


def _told(store: Store, entry: Entry, key: bytes) -> str:
    if entry.kind is Kind.TRUNCATE:
        return f"{store.name:6} is truncated"
    if entry.kind is not Kind.ROW or entry.key != key:
        return ""
    what = "is deleted" if entry.value is None else f"becomes {entry.value:#x}"
    odd = f" (its log: {entry.reason.value})" if entry.reason else " (its log does not tell)" if entry.hidden else ""
    return f"{store.name:6} row {what}{odd}"
