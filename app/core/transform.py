"""Aligning how a row is spelled, where the contract holds it equal to the authority's: no drift, and yet not the same.

A contract may ignore blanks, letter case or digits (`normalise`, `collation`), so two rows can have one digest and be
spelled in two ways. A person may have named columns of a replica written as the authority spells them: its values, not
the normalised ones, which exist only to be compared and which no application ever wrote. What the contract's types hold
equal by themselves (the scale of a decimal, the spelling of a UUID, the zone of an instant) has one canonical value, in
which nothing is left to align.

Such a command names rows by digests of their spelling (`RowDigester.spelling`): the row must still be spelled as it was
when the person asked, and only the named columns may come out otherwise. So it is a compare-and-set like any repair,
and so is its undo, though the row's own digest never changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from app.core.command import Action, RepairCommand, command_id
from app.core.contract import EntityContract
from app.core.packing import packed


def unlike(target: Mapping[str, object], authority: Mapping[str, object], columns: Iterable[str]) -> tuple[str, ...]:
    """Return those columns that two rows spell differently; both rows must be there."""
    return tuple(name for name in columns if target[name] != authority[name])


def chosen(authority: Mapping[str, object], columns: Iterable[str]) -> dict[str, object]:
    """Return what is to be written: the authority's values of the columns, none where it has no row."""
    return {name: authority[name] for name in columns if name in authority}


def aligned(
    target: Mapping[str, object], authority: Mapping[str, object], columns: Iterable[str]
) -> Mapping[str, object]:
    """Return the target's values with the authority's in these columns."""
    return {**target, **chosen(authority, columns)}


def transform_of(
    contract: EntityContract,
    target: str,
    *,
    key_hash: bytes,
    sealed_key: bytes,
    partition: int,
    columns: tuple[str, ...],
    expected_spelling: bytes,
    intended_spelling: bytes,
    now_wall_ms: int,
    life_ms: int,
) -> RepairCommand:
    """Return the unsigned command that leaves `columns` of a row as the authority spells them.

    There is no drift that it repairs, so what names it is the asking: each is a command of its own.
    """
    asked = hashlib.blake2b(
        b"".join(map(packed, (target, contract.entity, key_hash, now_wall_ms))),
        digest_size=16,
        person=b"driftline-align",
    ).digest()
    return RepairCommand(
        command_id=command_id(asked, target, expected_spelling, intended_spelling),
        finding_id=asked,
        incident_id=b"",
        entity=contract.entity,
        contract_version=contract.version,
        authority=contract.authority,
        target=target,
        action=Action.TRANSFORM,
        kind="",
        sealed_key=sealed_key,
        key_hash=key_hash,
        partition=partition,
        expected_digest=expected_spelling,
        intended_digest=intended_spelling,
        authority_position=b"",
        needs_approval=True,
        reason="a person aligns how the row is spelled",
        expires_at_ms=now_wall_ms + life_ms,
        fence_token=0,
        trace_id=b"",
        columns=columns,
        planned_at_ms=now_wall_ms,
    )
