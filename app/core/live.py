"""The rows of one entity whose verdict may change by itself, and when each of them is to be judged."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.core.contract import EntityContract
from app.core.deadlines import NEVER, NOW, Deadlines
from app.core.finding import Stage, UnknownReason
from app.core.keystate import KeyState
from app.core.passage import Passage
from app.core.verdict import EVER, OPEN, judge, shared_until

_OPEN = frozenset({Stage.CONFIRMED, Stage.OVERTAKEN})


@dataclass(slots=True)
class LiveRows:
    """Live rows of one entity in one partition of `observations`, keyed by table key.

    `agreeing` are those whose stores show one state again, as far as their logs are read, and were not judged since,
    with the time before which both logs must be known (`NEVER`: no beacon has told it yet). `busy` are those that went
    through many states and were not trimmed since.
    `unknown` and the counts of open drifts include rows that wait for a touch in the table only.

    Where there are many, those that wait for a deadline or their pipeline are `asleep`: noted with the times of their
    deadlines, their states in the table only.
    """

    contract: EntityContract
    states: dict[bytes, KeyState | Passage] = field(default_factory=dict)
    asleep: dict[bytes, tuple[int, ...]] = field(default_factory=dict)  # per replica: when it is judged next
    agreeing: dict[bytes, int] = field(default_factory=dict)
    busy: dict[bytes, KeyState] = field(default_factory=dict)
    unknown: dict[bytes, tuple[UnknownReason | None, ...]] = field(default_factory=dict)  # per replica
    open_drifts: Counter[tuple[int, str]] = field(default_factory=Counter)
    drifting: list[set[bytes]] = field(init=False)  # per replica: the rows with a drift, also with one that has ended
    concluded_ms: int = EVER  # the common time at which agreeing rows were last looked at
    _deadlines: list[Deadlines] = field(init=False)
    _bracketed: Deadlines = field(default_factory=Deadlines)  # the agreeing rows
    _untold: list[list[tuple[bytes, bytes]]] = field(init=False)  # per side: position, agreeing row
    _doubted: Deadlines = field(default_factory=Deadlines)  # the agreeing rows of which no beacon has told yet
    _doubted_ms: dict[bytes, int] = field(default_factory=dict)
    _awaiting: list[list[tuple[bytes, bytes]]] = field(init=False)  # per replica: place of the pipeline, row

    def __post_init__(self) -> None:
        self._deadlines = [Deadlines() for _ in self.contract.replicas]
        self._awaiting = [[] for _ in self.contract.replicas]
        self.drifting = [set() for _ in self.contract.replicas]
        self._untold = [[] for _ in self.contract.stores]

    def state(self, row: bytes) -> KeyState | None:
        """Return the state of a row that is in memory, to be read and changed in any way; None for another row."""
        return self.opened(row) if row in self.states else None

    def opened(self, row: bytes) -> KeyState:
        """Return the state of a row that is in memory, to be read and changed in any way."""
        state = self.states[row]
        if isinstance(state, Passage):
            state = self.states[row] = state.opened()
        return state

    def settle_passage(self, row: bytes, passage: Passage, window_ms: int) -> None:
        """Hold a row that is on its way: until its window is over, or as one that agrees."""
        self.states[row] = passage
        look_ms, before_ms = passage.look_after_ms(window_ms), passage.look_ms
        if look_ms != before_ms:
            if before_ms != NEVER:
                self._deadlines[0].discard(row, before_ms)
            self._deadlines[0].put(row, look_ms)
            passage.look_ms = look_ms
        if look_ms == NEVER:
            self.agree_on_its_way(row, passage, window_ms)
        elif self.agreeing:
            self.disagree(row)

    def end_passage(self, row: bytes) -> None:
        """Hold a row that agreed no longer: it is looked at again when something touches it."""
        del self.states[row]
        self.disagree(row)

    def schedule(self, row: bytes, state: KeyState, looks_ms: Sequence[int]) -> None:
        """Hold a row, and judge each of its replicas next when its common time has passed the time given."""
        self.states[row] = state
        for i, look_ms in enumerate(looks_ms):
            replica = state.replicas[i]
            if replica.look_ms != look_ms:
                self._deadlines[i].discard(row, replica.look_ms)
                self._deadlines[i].put(row, look_ms)
                replica.look_ms = look_ms

    def drop(self, row: bytes, state: KeyState) -> None:
        """Hold a row no longer: it is looked at again when something touches it."""
        if self.states.pop(row, None) is None:
            return
        self.disagree(row)
        for i, replica in enumerate(state.replicas):
            if replica.look_ms != NEVER:
                self._deadlines[i].discard(row, replica.look_ms)
                replica.look_ms = NEVER

    def may_sleep(self, row: bytes, state: KeyState | Passage) -> bool:
        """Whether a row that is written waits for its deadlines, or its pipeline, and for nothing else."""
        if row in self.agreeing or row in self.busy:
            return False
        if isinstance(state, Passage):
            return True
        return all(r.look_ms != NOW and (r.drift is None or r.drift.acknowledged) for r in state.replicas)

    def sleep(self, row: bytes, state: KeyState | Passage) -> None:
        """Hold a row's state no longer: `due` and `passed_by_pipeline` name it even so."""
        replicas = (state,) if isinstance(state, Passage) else state.replicas
        self.asleep[row] = tuple(replica.look_ms for replica in replicas)
        del self.states[row]

    def wake(self, row: bytes, state: KeyState) -> None:
        """Hold the state of a row again, as the table had it, if the row is asleep."""
        looks_ms = self.asleep.pop(row, None)
        if looks_ms is None:
            return
        self.states[row] = state
        for replica, look_ms in zip(state.replicas, looks_ms, strict=True):
            replica.look_ms = look_ms

    def agree(self, row: bytes, state: KeyState, numbers: Sequence[int], windows_ms: Iterable[tuple[int, int]]) -> None:
        """Note a live row of which these sides show one state, by the time by which it began in all of them.

        As long as no beacon has told that, the row is `overdue` when the window of one of these replicas is over.
        """
        self.disagree(row)
        began_ms = EVER
        for number in numbers:
            newest = state.sides[number].stays[-1]
            if newest.latest_ms == OPEN:
                truth = state.sides[0].stays
                windows_end_ms = [
                    shared_until(state.sides[i + 1].stays, truth, state.replicas[i].vouched_until_ms) + window_ms
                    for i, window_ms in windows_ms
                ]
                self._await_beacon(row, number, newest.position, min(windows_end_ms, default=NEVER))
                return
            began_ms = max(began_ms, newest.latest_ms)
        self._await_time(row, began_ms)

    def agree_on_its_way(self, row: bytes, passage: Passage, window_ms: int) -> None:
        """Do what `agree` does for a row that is on its way."""
        self.disagree(row)
        truth, shown = passage.newest(0), passage.newest(1)
        if truth.latest_ms == OPEN:
            self._await_beacon(row, 0, truth.position, passage.shared_until_ms() + window_ms)
        elif shown.latest_ms == OPEN:
            self._await_beacon(row, 1, shown.position, passage.shared_until_ms() + window_ms)
        else:
            self._await_time(row, max(truth.latest_ms, shown.latest_ms))

    def _await_beacon(self, row: bytes, number: int, position: bytes, doubted_ms: int) -> None:
        self.agreeing[row] = NEVER
        heapq.heappush(self._untold[number], (position, row))
        self._doubted_ms[row] = doubted_ms
        self._doubted.put(row, doubted_ms)

    def _await_time(self, row: bytes, began_ms: int) -> None:
        # A state that begins at the common time is known already, a deadline is over only behind it.
        self.agreeing[row] = look_ms = began_ms - 1
        self._bracketed.put(row, look_ms)

    def disagree(self, row: bytes) -> None:
        """Note a row no longer as one whose stores show one state."""
        look_ms = self.agreeing.pop(row, None)
        if look_ms == NEVER:
            self._doubted.discard(row, self._doubted_ms.pop(row))
        elif look_ms is not None:
            self._bracketed.discard(row, look_ms)

    def overdue(self, known_ms: int) -> list[bytes]:
        """Return the agreeing rows whose window was over before a common time, and of which no beacon has told yet."""
        return self._doubted.due(known_ms)

    def bracketed(self, known_ms: int, untold_from: Iterable[tuple[int, bytes]]) -> list[bytes]:
        """Return the agreeing rows whose states may have begun by a time up to which their logs are known.

        `untold_from` gives for each side the position from which on its beacons have not told yet.
        """
        rows = self._bracketed.due(known_ms)
        for number, position in untold_from:
            untold = self._untold[number]
            while untold and untold[0][0] < position:
                newest, row = heapq.heappop(untold)
                # A row that has changed since waits with its newer state, or is no longer here.
                if self.agreeing.get(row) == NEVER and self._newest_at(row, number) == newest:
                    rows.append(row)
        return list(dict.fromkeys(rows))  # a row may have come back to where it had waited before

    def _newest_at(self, row: bytes, number: int) -> bytes:
        state = self.states[row]
        newest = state.newest(number) if isinstance(state, Passage) else state.sides[number].stays[-1]
        return newest.position

    def due(self, common_ms: Sequence[int | None]) -> list[bytes]:
        """Return the rows that want to be judged at their replicas' common times (None: not covered)."""
        rows: dict[bytes, None] = {}
        for deadlines, at_ms in zip(self._deadlines, common_ms, strict=True):
            if at_ms is not None:
                rows.update(dict.fromkeys(deadlines.due(at_ms)))
        return list(rows)

    def await_pipeline(self, i: int, place: bytes, row: bytes) -> None:
        """Judge a row as soon as the pipeline of a replica has passed a place in the authority's log."""
        heapq.heappush(self._awaiting[i], (place, row))

    def passed_by_pipeline(self, i: int, reached: bytes) -> list[bytes]:
        """Return the live rows that awaited a pipeline up to a place, and forget that they did."""
        rows = []
        waiting = self._awaiting[i]
        while waiting and waiting[0][0] <= reached:
            _, row = heapq.heappop(waiting)
            if row in self.states or row in self.asleep:
                rows.append(row)
        return rows

    def recount(self, row: bytes, state: KeyState) -> None:
        """Count a row's drifts anew, after a step in the life of one."""
        for drifting, replica in zip(self.drifting, state.replicas, strict=True):
            if replica.drift is not None:
                drifting.add(row)
            else:
                drifting.discard(row)
        drifts = drifts_of(state)
        if drifts != state.counted:
            self.open_drifts.subtract(state.counted)
            self.open_drifts.update(drifts)
            state.counted = drifts

    def keep_unknown(self, judged: frozenset[int]) -> None:
        """Hold rows unknown in these replicas alone: of the others nothing is said, until they are judged again."""
        kept = {
            row: tuple(reason if i in judged else None for i, reason in enumerate(reasons))
            for row, reasons in self.unknown.items()
        }
        self.unknown = {row: reasons for row, reasons in kept.items() if any(reasons)}

    def unknown_keys(self, i: int) -> Counter[UnknownReason]:
        """Return how many rows of a replica are unknown, by reason."""
        return Counter(reason for reasons in self.unknown.values() if (reason := reasons[i]) is not None)

    def waiting_keys(self, i: int) -> int:
        """Return how many rows of a replica are within their window: neither settled, nor drifted, nor unknown."""
        # What is unknown waits for a touch, and is looked at by no deadline; a drift may be.
        awake, asleep = self.states.keys() & self.drifting[i], self.asleep.keys() & self.drifting[i]
        states = [state for row in awake if (state := self.state(row)) is not None]
        looked_at = sum(state.replicas[i].look_ms != NEVER for state in states)
        looked_at += sum(self.asleep[row][i] != NEVER for row in asleep)
        return len(self._deadlines[i]) + len(self.agreeing) - looked_at

    def vouched_ms(self, i: int, common_ms: int) -> int:
        """Return the time up to which every row of a replica has a verdict, at its common time.

        An open drift is one. This goes back only where one ends, for its row is within its window then since before,
        or is disputed.
        """
        window_ms = self.contract.replicas[i].window_ms
        through_ms = self._deadlines[i].earliest_ms(common_ms + window_ms, self.drifting[i]) - window_ms
        for row in (*self._deadlines[i].now, *self.agreeing):
            state = self.states[row]
            if isinstance(state, Passage):
                through_ms = min(through_ms, state.shared_until_ms())
                continue
            replica, truth, shown = state.replicas[i], state.sides[0].stays, state.sides[i + 1].stays
            drift = replica.drift
            if drift is None:
                through_ms = min(through_ms, shared_until(shown, truth, replica.vouched_until_ms))
            elif drift.ended_at_ms:
                # Until its end is told and its repair's echo seen, the row waits for its window like any other. It was
                # judged last when it came to rest, perhaps long before the touch, so it is judged as of now.
                judged = judge(shown, truth, common_ms, window_ms, replica.vouched_until_ms)
                through_ms = min(through_ms, judged.vouched_until_ms)
            elif drift.stage is Stage.DISPUTED:
                through_ms = min(through_ms, replica.vouched_until_ms)
        return through_ms


def drifts_of(state: KeyState) -> tuple[tuple[int, str], ...]:
    """Return the number of the replica and the kind of each drift of a row that is not over."""
    return tuple(
        (i, replica.drift.kind)
        for i, replica in enumerate(state.replicas)
        if replica.drift is not None and replica.drift.stage in _OPEN
    )
