"""What is known of one store for the aggregates of one entity: its rows' shares, up to where, and at which moments.

A change counts from the first beacon behind it on: it waits until the store's log is known up to there. The tallies are
not kept on disk. They are made again from the rows' contributions, by one pass over them, whenever that is not the
same any more: after a start, a truncate, a new epoch of the log. What is known then holds from the newest change on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from app.core.aggregate import Tally
from app.core.contract import EntityContract
from app.core.contribution import NOTHING, Share, Shares
from app.core.limits import AGGREGATE_CUTS_MAX, AGGREGATE_MOVES_MAX, AGGREGATE_PENDING_MAX
from app.core.position import BEFORE_ALL


class Cut(NamedTuple):
    """A beacon of a store up to which its figures are known."""

    number: int
    at: bytes


NO_CUT: Final = Cut(0, BEFORE_ALL)
"""What stands before the first cut; nothing can be judged by it."""


class _Pending(NamedTuple):
    at: bytes
    before: bytes
    after: bytes


Touched = dict[int, set[bytes]]
"""Groups that changed, by the number of their aggregate."""


@dataclass(slots=True)
class Book:
    """One store's tallies, the cuts at which they hold, and the changes that wait for theirs.

    `first` and `end` are the table keys between which the rows' contributions are. `cursor` is where the pass over them
    stands, None when it is through. `newest` is the newest position that any of them can have.
    """

    contract: EntityContract
    first: bytes
    end: bytes
    newest: bytes = BEFORE_ALL
    tallies: list[Tally] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    cut: Cut = NO_CUT
    cursor: bytes | None = field(init=False)
    unreadable_rows: int = 0
    _whole_from: bytes = BEFORE_ALL
    _pending: list[_Pending] = field(default_factory=list)
    _shares: Shares = field(init=False)

    def __post_init__(self) -> None:
        self._shares = Shares(self.contract)
        self.read_again()

    def read_again(self) -> Touched:
        """Forget what the rows come to, and ask for a pass over them; return the groups that there were."""
        left: Touched = {number: set(tally.groups) for number, tally in enumerate(self.tallies)}
        self.tallies = [Tally(aggregate) for aggregate in self.contract.aggregates]
        self.cursor = self.first
        self.unreadable_rows = 0
        self._pending.clear()
        self.cuts.clear()
        return left

    def read(self, contributions: Iterable[bytes], resume_at: bytes | None) -> Touched:
        """Take in rows of the pass, and where it goes on; None when these were the last."""
        touched: Touched = {}
        for contribution in contributions:
            self._apply(NOTHING, contribution, None, touched)
        self.cursor = resume_at
        if resume_at is None:
            self._whole_from = self.newest
        return touched

    def change(self, row: bytes, at: bytes, before: bytes, after: bytes) -> None:
        """Take in that a row's contribution has become another; a row that the pass has not come to is left to it."""
        self.newest = max(self.newest, at)
        if before != after and (self.cursor is None or row < self.cursor):
            self._pending.append(_Pending(at, before, after))

    def advance(self, known_to: bytes, *, is_covered: bool) -> Touched:
        """Let the changes up to a beacon count; it is a cut if everything up to it is known."""
        self.cut = Cut(self.cut.number + 1, known_to)
        touched: Touched = {}
        if len(self._pending) > AGGREGATE_PENDING_MAX:
            known_to = self._whole_from = self.newest
        waiting, self._pending = self._pending, []
        for change in waiting:
            if change.at <= known_to:
                self._apply(change.before, change.after, self.cut.number, touched)
            else:
                self._pending.append(change)
        is_whole = self.cursor is None and self.cut.at >= self._whole_from and not self.unreadable_rows
        if not (is_covered and is_whole) or sum(tally.moves for tally in self.tallies) > AGGREGATE_MOVES_MAX:
            self.cuts.clear()
            for tally in self.tallies:
                tally.forget_moves(self.cut.number)
        if is_covered and is_whole:
            self.cuts.append(self.cut)
            del self.cuts[:-AGGREGATE_CUTS_MAX]
        return touched

    def forget(self, until: int) -> None:
        """Forget the cuts before one, and the moves up to it."""
        self.cuts = [cut for cut in self.cuts if cut.number >= until]
        for tally in self.tallies:
            tally.forget_moves(until)

    def _apply(self, before: bytes, after: bytes, cut: int | None, touched: Touched) -> None:
        left, came = self._shares_of(before, -1), self._shares_of(after, 1)
        for number, tally in enumerate(self.tallies):
            names = tally.change(left[number] if left else None, came[number] if came else None, cut)
            touched.setdefault(number, set()).update(names)

    def _shares_of(self, contribution: bytes, sign: int) -> list[Share] | None:
        if contribution == NOTHING:
            return None
        shares = self._shares.of(contribution)
        if shares is None:
            self.unreadable_rows += sign
        return shares
