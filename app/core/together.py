"""Which commands go into one transaction of their target: as many as may, and rows that changed together together.

A unit is what one transaction of the authority left to be copied; its commands are written by one transaction of the
target, so that nobody there sees half of it. If the store says no to one of them, none is written, and a person decides
about the others. Within a transaction of the target, a row that another one stands in the way of comes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.core.command import RefusalReason, RepairCommand
from app.core.guard import Refused

_BY_ORDER: Final = frozenset({RefusalReason.UNIQUE_CONFLICT, RefusalReason.FOREIGN_KEY})
"""What another row may be the reason of that is yet to be written: it holds the value, or it is the parent."""


def unit_of(command: RepairCommand) -> Hashable:
    """Name the unit that a command belongs to: its source transaction where it is known, else itself."""
    if command.source_transaction:
        return command.target, command.authority, command.source_transaction
    return command.command_id


def together(commands: Sequence[RepairCommand], rows_max: int) -> list[list[int]]:
    """Return the places of commands by transaction: one target each, no row twice, `rows_max` rows at most.

    A unit is cut only where it is larger than a transaction may be, or names a row twice.
    """
    units: dict[Hashable, list[int]] = {}
    for place, command in enumerate(commands):
        units.setdefault(unit_of(command), []).append(place)
    begun: dict[str, _Begun] = {}
    found: list[list[int]] = []
    for unit in units.values():
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


@dataclass(slots=True)
class _Begun:
    """A transaction that is being put together, and the rows and commands that it has by name."""

    places: list[int] = field(default_factory=list)
    names: set[Hashable] = field(default_factory=set)


def _names_of(command: RepairCommand) -> tuple[Hashable, Hashable]:
    return command.command_id, (command.entity, command.key_hash)


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


def exchanged(rows: Mapping[int, tuple[Mapping[str, object], Mapping[str, object]]]) -> dict[int, str]:
    """Return which of some rows exchange the values of a field among each other, in a circle, by that field's name.

    Each row is given as it is, and as it is to be.
    """
    found: dict[int, str] = {}
    for name in sorted({name for now, _ in rows.values() for name in now}):
        holder = {now[name]: place for place, (now, _) in rows.items() if name in now}
        behind = {place: holder.get(then.get(name, place)) for place, (_, then) in rows.items()}
        for place in rows:
            circle, at = [place], behind[place]
            while at is not None and at not in circle:
                circle.append(at)
                at = behind[at]
            if at == place and len(circle) > 1:
                found.setdefault(place, name)
    return found
