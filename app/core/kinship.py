"""Which rows come before which: parents are written before their children, and children deleted before their parents.

Who is whose parent, the repair policies of a store say (`parents`), and nothing else is known of it here: a foreign key
of the store may say the same, or there may be none. Order can be had only among commands that one applier has in hand.

What a transaction of the target does is seen as a whole, so there are two orders. Between transactions all deletes come
first: they free unique values, and an upsert that finds its value taken is refused for good after a minute. A delete
that comes too early, since a child is yet to be handed to another parent, is only held, as far as the store tells of
it. Within a transaction a delete of what has children comes last instead. The store names a value that is taken, and
the row is tried again behind the others; of a child that a cascade took away before it was handed on it says nothing,
and no row could be written then of a whole source transaction (two customers were made one). A row of what has no
children takes nobody with it, and frees its value first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.core.command import RepairCommand
from app.core.contract import EntityContract
from app.core.guard import repair_policy

Contracts = Mapping[str, EntityContract]
Rank = tuple[int, int]
_DELETES, _UPSERTS, _DELETES_OF_PARENTS = range(3)


def generation(entity: str, target: str, contracts: Contracts, below: frozenset[str] = frozenset()) -> int:
    """Return how many parents stand above an entity; the check of contracts has seen that there is no circle."""
    above = [parent for parent in _parents(entity, target, contracts) if parent not in below]
    return max((1 + generation(parent, target, contracts, below | {entity}) for parent in above), default=0)


def tables_below(entities: Iterable[str], target: str, contracts: Contracts) -> frozenset[str]:
    """Return the tables, as the store names them, of the children of some entities and of all that stand below them."""
    found, left = set[str](), set(entities)
    while left:
        left = {name for name in contracts if not left.isdisjoint(_parents(name, target, contracts))} - found
        found |= left
    return frozenset(contracts[entity].table_of(target).table for entity in found)


def _parents(entity: str, target: str, contracts: Contracts) -> tuple[str, ...]:
    policy = repair_policy(contracts.get(entity), target)
    return policy.parents if policy else ()


def deletes(command: RepairCommand) -> bool:
    """Tell whether a command leaves no row, as a delete does, and the undo of an insert."""
    return not command.intended_digest


def ranks(commands: Sequence[RepairCommand], contracts: Contracts) -> list[Rank]:
    """Return what to order commands by between transactions of their target."""
    names = {(command.entity, command.target) for command in commands}
    generations = {name: generation(*name, contracts) for name in names}
    found = []
    for command in commands:
        mine = generations[command.entity, command.target]
        found.append((_DELETES, -mine) if deletes(command) else (_UPSERTS, mine))
    return found


def ranks_within(commands: Sequence[RepairCommand], contracts: Contracts) -> list[Rank]:
    """Return what to order commands by within one transaction of their target."""
    above = {
        (parent, target)
        for target in {command.target for command in commands}
        for name in contracts
        for parent in _parents(name, target, contracts)
    }
    return [
        (_DELETES_OF_PARENTS, rank[1]) if deletes(command) and (command.entity, command.target) in above else rank
        for command, rank in zip(commands, ranks(commands, contracts), strict=True)
    ]
