"""One aggregate of one store by groups, and the rule by which a replica's figure is right.

Figures are whole numbers (a sum's of its last digit), so that adding and taking away come to nothing again. They are
known at cuts: the moments of a store's beacons, up to which its log has been read. A replica may follow the authority
by its window and by each row on its own way. So at a cut of its own, its figure must lie between what the authority's
was a window before, less everything that the authority took away since, and that figure with everything added since.
In a group that is at rest both are the authority's figure itself. What lies outside, by more than the tolerance, no
row that follows in time can explain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from app.core.contract import Aggregate, Measure
from app.core.contribution import Share


class Move(NamedTuple):
    """What a group's changes between two cuts came to: all that was taken away, all that was added, and the sum."""

    cut: int
    lower: int
    upper: int
    net: int


@dataclass(slots=True)
class Group:
    """The rows of one group: how many, their figure, how many have each value, and the moves not yet judged."""

    rows: int = 0
    figure: int = 0
    values: dict[bytes, int] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)

    def figure_at(self, cut: int) -> int:
        """Return the figure at a cut, which must not be before the moves that are held."""
        return self.figure - sum(move.net for move in self.moves if move.cut > cut)


class Envelope(NamedTuple):
    """Between what a figure may lie."""

    low: int
    high: int

    def excess(self, figure: int, aggregate: Aggregate, scale: int) -> Fraction:
        """Return by how much a figure lies outside, beyond the tolerance; 0 where it does not."""
        below = self.low - tolerance_of(aggregate, scale, self.low) - figure
        above = figure - self.high - tolerance_of(aggregate, scale, self.high)
        return max(below, above, Fraction(0))


def tolerance_of(aggregate: Aggregate, scale: int, truth: int) -> Fraction:
    """Return by how much a figure may be off where the authority's is `truth`."""
    absolute = Fraction(aggregate.absolute) * Fraction(10**scale)
    return max(absolute, Fraction(aggregate.percent) / 100 * abs(truth))


NO_GROUP: Final = Group()
"""What a group that nothing is held of shows."""


@dataclass(slots=True)
class Tally:
    """One aggregate of one store. `entries` are the groups and the values that are held; too many, and none is."""

    aggregate: Aggregate
    groups: dict[bytes, Group] = field(default_factory=dict)
    entries: int = 0
    moves: int = 0
    is_over: bool = False
    _moving: set[bytes] = field(default_factory=set)

    def envelope(self, group: bytes, since: int, until: int) -> Envelope:
        """Return between what the figures of rows lie that each follow this store, from one cut to another."""
        held = self.groups.get(group, NO_GROUP)
        base = held.figure_at(since)
        between = [move for move in held.moves if since < move.cut <= until]
        return Envelope(base + sum(move.lower for move in between), base + sum(move.upper for move in between))

    def figure_at(self, group: bytes, cut: int) -> int:
        """Return a group's figure at a cut."""
        return self.groups.get(group, NO_GROUP).figure_at(cut)

    def has_moved_since(self, group: bytes, cut: int) -> bool:
        """Whether a group has changed behind a cut."""
        return any(move.cut > cut for move in self.groups.get(group, NO_GROUP).moves)

    def change(self, before: Share | None, after: Share | None, cut: int | None) -> Iterable[bytes]:
        """Take away what a row was and add what it is, before a cut (None: no matter when); return its groups."""
        if before == after or self.is_over:
            return ()
        if before is not None and after is not None and before.group == after.group:
            return self._change(before.group, before, after, cut)
        found: list[bytes] = []
        if before is not None:
            found += self._change(before.group, before, None, cut)
        if after is not None:
            found += self._change(after.group, None, after, cut)
        return found

    def _change(self, name: bytes, before: Share | None, after: Share | None, cut: int | None) -> tuple[bytes, ...]:
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = Group()
            self.entries += 1
        group.rows += (after is not None) - (before is not None)
        if self.aggregate.measure is Measure.DISTINCT:
            move = self._tell_apart(group, before.value if before else b"", after.value if after else b"")
        else:
            net = (after.amount if after else 0) - (before.amount if before else 0)
            move = (min(net, 0), max(net, 0), net)
        group.figure += move[2]
        if cut is not None:
            self._note(group, Move(cut, *move))
            self._moving.add(name)
        if self.entries > self.aggregate.entries_max:
            self.groups, self.entries, self.moves, self.is_over = {}, 0, 0, True
            self._moving.clear()
        return (name,)

    def _tell_apart(self, group: Group, before: bytes, after: bytes) -> tuple[int, int, int]:
        """Count a value that left and one that came; whether a row that follows shows either, nobody can say."""
        held = len(group.values)
        if before:
            group.values[before] = group.values.get(before, 0) - 1
            if not group.values[before]:
                del group.values[before]
        if after:
            group.values[after] = group.values.get(after, 0) + 1
        net = len(group.values) - held
        self.entries += net
        return -bool(before), int(bool(after)), net

    def _note(self, group: Group, move: Move) -> None:
        if group.moves and group.moves[-1].cut == move.cut:
            last = group.moves[-1]
            group.moves[-1] = Move(move.cut, last.lower + move.lower, last.upper + move.upper, last.net + move.net)
        else:
            group.moves.append(move)
            self.moves += 1

    def forget_moves(self, until: int) -> None:
        """Forget all moves up to a cut, and the groups of which nothing is left."""
        for name in list(self._moving):
            group = self.groups[name]
            kept = [move for move in group.moves if move.cut > until]
            self.moves -= len(group.moves) - len(kept)
            group.moves = kept
            if not kept:
                self._moving.discard(name)
                if not group.rows:
                    del self.groups[name]
                    self.entries -= 1
