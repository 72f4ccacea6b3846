"""Shows what a repair would change in its row, by reading both stores, for the person who answers for it.

Values are read when they are asked for and go to that person's terminal alone: no topic, log or file ever has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

from app.core.command import Action, RepairCommand
from app.core.errors import ContractViolation, Undecodable
from app.core.transform import aligned
from app.ports import UNREADABLE

if TYPE_CHECKING:
    from app.ports import RowName, RowRead, RowStore

_READ_AT_ONCE: Final = 200
_NO_ROW: Final = "no row"
_SEALED: Final = "as it was before the repair"


class Rows(Enum):
    """How both rows stand now to what a command was planned on."""

    AS_JUDGED = "as judged"
    MOVED = "moved since"  # one of them is another than the command names: it would be refused
    UNREADABLE = "not readable"  # a row does not fit the contract, or the key's seal does not open here


def changes(
    commands: Sequence[RepairCommand], stores: Mapping[str, RowStore], open_key: Callable[[str, bytes], bytes]
) -> Iterator[dict[str, object]]:
    """Yield for each command of a batch which fields it would change, as `now -> then`, and how the rows stand to it.

    `open_key` opens the sealed key of an entity's row; `Undecodable` where it cannot. `ContractViolation` where a store
    is none that is read row by row.
    """
    for at in range(0, len(commands), _READ_AT_ONCE):
        part = commands[at : at + _READ_AT_ONCE]
        keys = [_key(command, open_key) for command in part]
        named = [(c.entity, key) for c, key in zip(part, keys, strict=True) if key is not None]
        first = part[0]
        there = dict(zip(named, _store(stores, first.authority).read(named), strict=True))
        here = dict(zip(named, _store(stores, first.target).read(named), strict=True))
        for command, key in zip(part, keys, strict=True):
            if key is None:
                yield {"changes": [], "rows_stand": Rows.UNREADABLE.value}
                continue
            name: RowName = (command.entity, key)
            yield _document(command, here[name], there[name], _store(stores, first.target))


def _store(stores: Mapping[str, RowStore], name: str) -> RowStore:
    if name not in stores:
        raise ContractViolation("only SQL stores are read row by row", where=f"store {name}")
    return stores[name]


def _key(command: RepairCommand, open_key: Callable[[str, bytes], bytes]) -> bytes | None:
    try:
        return open_key(command.entity, command.sealed_key)
    except Undecodable:
        return None


def _document(command: RepairCommand, target: RowRead, authority: RowRead, store: RowStore) -> dict[str, object]:
    if UNREADABLE in {target.digest, authority.digest}:
        return {"changes": [], "rows_stand": Rows.UNREADABLE.value}
    goal = authority.values
    names = (target.digest, authority.digest)
    if command.action is Action.TRANSFORM:
        goal = aligned(target.values, authority.values, command.columns)
        names = (store.spelling(command.entity, target.values), store.spelling(command.entity, goal))
    if command.undoes:
        # What it puts back is sealed in the target's ledger, for appliers alone.
        return {"changes": [_SEALED], "rows_stand": _stands(names[0] == command.expected_digest)}
    if command.action is Action.DELETE:
        return {
            "changes": [f"{name}: {_text(value)} -> {_NO_ROW}" for name, value in target.values.items()],
            "rows_stand": _stands(names == (command.expected_digest, b"")),
        }
    return {
        "changes": [
            f"{name}: {_text(target.values[name]) if name in target.values else _NO_ROW} -> {_text(value)}"
            for name, value in goal.items()
            if name not in target.values or target.values[name] != value
        ],
        "rows_stand": _stands(names == (command.expected_digest, command.intended_digest)),
    }


def _stands(is_as_judged: bool) -> str:  # noqa: FBT001 - one question, asked thrice
    stands = Rows.AS_JUDGED if is_as_judged else Rows.MOVED
    return stands.value


def _text(value: object) -> str:
    if value is None:
        return "NULL"
    return value.hex() if isinstance(value, bytes) else str(value)
