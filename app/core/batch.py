"""Proposals that wait for a person, put together in batches that a person can read and answer.

A batch holds commands for one entity in one store that do the same for the same reason, and were planned within the
same minute or belong to one incident. Nobody decides what belongs together: whoever has the same commands makes the
same batches, under the same ids. Rows of one source transaction are never parted, and in a list of batches parents are
written before their children, and children are deleted before their parents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from app.core.command import Action, RepairCommand
from app.core.contract import EntityContract
from app.core.kinship import generation
from app.core.limits import BATCH_COMMANDS_MAX, BATCH_GATHERS_MS
from app.core.signing import batch_id, member_of


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands that are answered together. `members` are the commands as they are signed, in the same order."""

    batch_id: bytes
    members: tuple[bytes, ...]
    commands: tuple[RepairCommand, ...]

    @property
    def first(self) -> RepairCommand:
        """The first command: entity, target, action, reason and incident are the same in all."""
        return self.commands[0]

    @property
    def expires_at_ms(self) -> int:
        """When the first of its commands expires."""
        return min(command.expires_at_ms for command in self.commands)

    @property
    def gathers_until_ms(self) -> int:
        """Until when more may be planned into it: its id is another one then."""
        return max(_minute(command) + 1 for command in self.commands) * BATCH_GATHERS_MS

    @property
    def kinds(self) -> Mapping[str, int]:
        """How many of its drifts are of which kind."""
        return dict(Counter(command.kind for command in self.commands).most_common())

    @property
    def columns(self) -> Mapping[str, int]:
        """In how many of its rows a field is known to differ."""
        return dict(Counter(name for command in self.commands for name in command.columns).most_common())

    @property
    def transactions(self) -> int:
        """How many source transactions its rows are known to come from."""
        return len({command.source_transaction for command in self.commands} - {""})


def batch_of(deployment: str, commands: Iterable[RepairCommand]) -> Batch:
    """Return the batch of exactly these commands, in this order."""
    held = tuple(commands)
    members = tuple(member_of(deployment, command) for command in held)
    return Batch(batch_id(deployment, members), members, held)


def batches_of(
    deployment: str, commands: Iterable[RepairCommand], contracts: Mapping[str, EntityContract]
) -> list[Batch]:
    """Return the batches that these commands make, in the order in which they should be carried out."""
    ordered = sorted(commands, key=lambda command: (*_kinship(command, contracts), *_group(command)))
    return [
        batch_of(deployment, part)
        for _, group in groupby(ordered, key=_group)
        for part in _parted(list(group), BATCH_COMMANDS_MAX)
    ]


def _minute(command: RepairCommand) -> int:
    return command.planned_at_ms // BATCH_GATHERS_MS


def _group(command: RepairCommand) -> tuple[str, str, str, str, bytes, int]:
    return (
        command.entity,
        command.target,
        command.action.value,
        command.reason,
        command.incident_id,
        0 if command.incident_id else _minute(command),
    )


def _kinship(command: RepairCommand, contracts: Mapping[str, EntityContract]) -> tuple[int, int]:
    """Return what to order by: writes before deletes, and among them by generations."""
    if command.action is Action.DELETE:
        return 1, -generation(command.entity, command.target, contracts)
    return 0, generation(command.entity, command.target, contracts)


def _parted(commands: list[RepairCommand], most: int) -> Iterator[list[RepairCommand]]:
    """Part a group where it is too large, between transactions; rows without a known one stand alone."""
    began: dict[object, int] = {}
    for command in commands:
        name = command.source_transaction or command.command_id
        began[name] = min(began.get(name, command.planned_at_ms), command.planned_at_ms)

    def place(command: RepairCommand) -> tuple[int, str, bytes]:
        name = command.source_transaction or command.command_id
        return began[name], command.source_transaction, command.command_id

    part: list[RepairCommand] = []
    for _, together in groupby(sorted(commands, key=place), key=lambda c: c.source_transaction or c.command_id):
        rows = list(together)
        while rows:
            room = most - len(part)
            if part and (len(rows) <= most < len(part) + len(rows) or room == 0):
                yield part
                part, room = [], most
            part, rows = part + rows[:room], rows[room:]
    if part:
        yield part
