"""Which commands go into one transaction of their target: as many as may, and rows that changed together together.

A unit is what one transaction of the authority left to be copied; its commands are written by one transaction of the
target, so that nobody there sees half of it, unless one of them is refused: each row stands for itself then.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from app.core.command import RepairCommand


def unit_of(command: RepairCommand) -> Hashable:
    """Name the unit that a command belongs to: its source transaction where it is known, else itself."""
    if command.source_transaction:
        return command.target, command.authority, command.source_transaction
    return command.command_id


def together(commands: Sequence[RepairCommand], rows_max: int) -> list[list[int]]:
    """Return the places of commands by transaction: one target each, no row twice, `rows_max` rows at most.

    Commands on the same row stay in their order unless their units are brought together; a unit is cut only where it
    is larger than a transaction may be.
    """
    units: dict[Hashable, list[int]] = {}
    for place, command in enumerate(commands):
        units.setdefault(unit_of(command), []).append(place)
    open_now: dict[str, list[int]] = {}
    found = []
    for unit in units.values():
        for part in (unit[at : at + rows_max] for at in range(0, len(unit), rows_max)):
            target = commands[part[0]].target
            begun = open_now.setdefault(target, [])
            if begun and (len(begun) + len(part) > rows_max or _share_a_row(commands, begun, part)):
                found.append(begun)
                begun = open_now[target] = []
            for place in part:
                if _share_a_row(commands, begun, [place]):
                    found.append(begun)
                    begun = open_now[target] = []
                begun.append(place)
    return found + [begun for begun in open_now.values() if begun]


def _share_a_row(commands: Sequence[RepairCommand], some: Sequence[int], others: Sequence[int]) -> bool:
    rows = {(commands[n].entity, commands[n].key_hash) for n in some}
    ids = {commands[n].command_id for n in some}
    return any((commands[n].entity, commands[n].key_hash) in rows or commands[n].command_id in ids for n in others)


def halves(commands: Sequence[RepairCommand]) -> tuple[Sequence[RepairCommand], Sequence[RepairCommand]]:
    """Part commands that were refused together: between two units if there are several, else within the one.

    A unit stands in a row, as `together` leaves it. Both parts have at least one of two commands or more.
    """
    borders = [n for n in range(1, len(commands)) if unit_of(commands[n]) != unit_of(commands[n - 1])]
    middle = len(commands) // 2
    at = min(borders, key=lambda border: abs(border - middle), default=middle)
    return commands[:at], commands[at:]
