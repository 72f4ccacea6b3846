"""Which commands go into one transaction of their target: as many as may, and rows that changed together together.

A unit is what one transaction of the authority left to be copied; its commands are written by one transaction of the
target, so that nobody there sees half of it. If the store says no to one of them, none is written, and a person decides
about the others. What comes first is said by `app.core.kinship`: between transactions, as far as no unit is torn for
it, and within each. A row that another one stands in the way of all the same comes after it there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from app.core.command import RefusalReason, RepairCommand
from app.core.guard import Refused
from app.core.kinship import Contracts, Rank, ranks, ranks_within

_BY_ORDER: Final = frozenset({RefusalReason.UNIQUE_CONFLICT, RefusalReason.FOREIGN_KEY})
"""What another row may be the reason of that is yet to be written: it holds the value, or it is the parent."""


def unit_of(command: RepairCommand) -> Hashable:
    """Name the unit that a command belongs to: its source transaction where it is known, else itself."""
    if command.source_transaction:
        return command.target, command.authority, command.source_transaction
    return command.command_id


def together(commands: Sequence[RepairCommand], rows_max: int, contracts: Contracts) -> list[list[int]]:
    """Return the places of commands by transaction: one target each, no row twice, `rows_max` rows at most.

    The transactions of a target come in the order in which they are to be carried out. A unit is cut only where it is
    larger than a transaction may be, or names a row twice.
    """
    begun: dict[str, _Begun] = {}
    found: list[list[int]] = []
    for unit in _units(commands, contracts):
        for part in (unit[at : at + rows_max] for at in range(0, len(unit), rows_max)):
            target = commands[part[0]].target
            names = [name for place in part for name in _names_of(commands[place])]
            current = begun.setdefault(target, _Begun())
            if len(current.places) + len(part) > rows_max or not current.names.isdisjoint(names):
                found.append(current.places)
                current = begun[target] = _Begun()
            for place in part:
                if not current.names.isdisjoint(_names_of(commands[place])):
                    found.append(current.places)
                    current = begun[target] = _Begun()
                current.places.append(place)
                current.names.update(_names_of(commands[place]))
    return found + [current.places for current in begun.values()]


def _units(commands: Sequence[RepairCommand], contracts: Contracts) -> list[list[int]]:
    """Return the places of commands by unit, in the order in which units and their rows are to come."""
    rank = ranks(commands, contracts)
    by_name: dict[Hashable, list[int]] = {}
    for place, command in enumerate(commands):
        by_name.setdefault(unit_of(command), []).append(place)
    units = []
    for unit in by_name.values():
        rows = [_Ranked((rank[place], rank[place]), _names_of(commands[place])) for place in unit]
        units.append([unit[at] for at in _in_order(rows)])
    # A unit that is of several ranks cannot be where each of its rows would be. It comes with its first: its deletes
    # free values for others early, and a row of it that comes too early is held, and not refused.
    of_units = [
        _Ranked(
            (min(rank[place] for place in unit), max(rank[place] for place in unit)),
            [name for place in unit for name in _names_of(commands[place])],
        )
        for unit in units
    ]
    return [units[at] for at in _in_order(of_units)]


def within(commands: Sequence[RepairCommand], contracts: Contracts) -> list[int]:
    """Return the places of the commands of one transaction, in the order in which their rows are written."""
    rank = ranks_within(commands, contracts)
    return sorted(range(len(commands)), key=rank.__getitem__)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """What comes first by its first rank and then by its last, and the rows and commands that it has by name."""

    rank: tuple[Rank, Rank]
    names: Collection[Hashable]


def _in_order(ranked: Sequence[_Ranked]) -> list[int]:
    """Return the places of some by rank, and as they came where that is the same.

    None overtakes another that has a row in common with it: what is repaired twice goes from the first state to the
    second, also where one of them is no row.
    """
    least: dict[Hashable, tuple[Rank, Rank]] = {}
    kept = []
    for each in ranked:
        rank = max([each.rank, *(least[name] for name in each.names if name in least)])
        least.update(dict.fromkeys(each.names, rank))
        kept.append(rank)
    return sorted(range(len(kept)), key=kept.__getitem__)


@dataclass(slots=True)
class _Begun:
    """A transaction that is being put together, and the rows and commands that it has by name."""

    places: list[int] = field(default_factory=list)
    names: set[Hashable] = field(default_factory=set)


def _names_of(command: RepairCommand) -> tuple[Hashable, Hashable]:
    return command.command_id, (command.target, command.entity, command.key_hash)


def halves(commands: Sequence[RepairCommand]) -> tuple[Sequence[RepairCommand], Sequence[RepairCommand]]:
    """Part commands that were refused together: between two units if there are several, else within the one.

    A unit stands in a row, as `together` leaves it. Both parts have at least one of two commands or more.
    """
    borders = [n for n in range(1, len(commands)) if unit_of(commands[n]) != unit_of(commands[n - 1])]
    middle = len(commands) // 2
    at = min(borders, key=lambda border: abs(border - middle), default=middle)
    return commands[:at], commands[at:]


def in_turns(count: int, write: Callable[[int], None]) -> tuple[list[int], dict[int, Refused]]:
    """Write rows one by one, those that others stand in the way of behind them.

    Return the order in which they can be written, and why those cannot that no order helps.
    """
    order: list[int] = []
    refused: dict[int, Refused] = {}
    left, before = list(range(count)), -1
    while left and len(order) != before:
        before, tried, left = len(order), left, []
        for place in tried:
            try:
                write(place)
            except Refused as no:
                refused[place] = no
                if no.reason in _BY_ORDER:
                    left.append(place)
            else:
                refused.pop(place, None)
                order.append(place)
    return order, refused


def freed_first(
    rows: Mapping[int, tuple[Mapping[Any, Hashable], Mapping[Any, Hashable]]],
) -> tuple[list[int], frozenset[int]]:
    """Return the order in which rows free unique values before others take them, and those that no order helps.

    Each row is given with the values that it has now, and those that it is to have, by index. Rows that nothing stands
    in the way of stay in their order.
    """
    holders = {held: place for place, (now, _) in rows.items() for held in now.items()}
    behind = {
        place: {holders[wanted] for wanted in then.items() if holders.get(wanted, place) != place}
        for place, (_, then) in rows.items()
    }
    order: list[int] = []
    left = [*rows]
    while ready := [place for place in left if behind[place].isdisjoint(left)]:
        order += ready
        left = [place for place in left if place not in ready]
    return order, frozenset(left)


def exchanged(rows: Mapping[int, tuple[Hashable, Hashable, Hashable]]) -> frozenset[int]:
    """Return which of some rows exchange a unique value among each other, in a circle.

    Each row is given with the index that says no to it, the value that it has there, and the one that it is to have.
    Values of no such index make no circle: what they exchange there keeps nobody from being written.
    """
    holder = {(index, has): place for place, (index, has, _) in rows.items()}
    behind = {place: holder.get((index, wants)) for place, (index, _, wants) in rows.items()}
    found = set()
    for place in rows:
        circle, at = [place], behind[place]
        while at is not None and at not in circle:
            circle.append(at)
            at = behind[at]
        if at == place and len(circle) > 1:
            found.add(place)
    return frozenset(found)
