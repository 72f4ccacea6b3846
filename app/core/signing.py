"""What is signed: one unambiguous form of commands and words, and the hashes that bind a batch to its content.

Every field but the key's id and the signature itself goes in, with its name, its type and its length, in the order of
the fields' names: a field that is added later is signed without anybody remembering it. One that came after commands
had been signed without it is left out where it is empty, so that those stay signed as they were. The deployment goes in
too, so that nothing signed for one counts in another, and what it is signed for: a word that asks for a rehearsal is no
yes, whatever is made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Final

from app.core.command import ID_BYTES, Approval, RepairCommand
from app.core.heads import Heads
from app.core.packing import packed, packed_fields
from app.core.switch import Control

DIGEST_BYTES: Final = 32
MEMBER_BYTES: Final = ID_BYTES + DIGEST_BYTES
_UNSIGNED: Final = frozenset({"key_id", "signature", "rehearses"})
"""What is not among the fields: a word that rehearses is signed for another purpose instead."""

_CAME_LATER: Final = "policy_id"

Signed = RepairCommand | Approval | Control | Heads


def _digest(purpose: bytes, deployment: str, told: bytes) -> bytes:
    return hashlib.blake2b(packed(deployment) + told, digest_size=DIGEST_BYTES, person=purpose).digest()


def _names(value_type: type[Signed]) -> list[str]:
    """Return the names of the signed fields, in order."""
    return sorted(field.name for field in fields(value_type) if field.name not in _UNSIGNED)


_TYPES: Final = (RepairCommand, Approval, Control, Heads)
_NAMES: Final = {each: list(map(packed, _names(each))) for each in _TYPES}
_VALUES: Final = {each: attrgetter(*_names(each)) for each in _TYPES}
_FIRST_NAMES: Final = [name for name in _names(RepairCommand) if name != _CAME_LATER]
_FIRST_PACKED: Final = list(map(packed, _FIRST_NAMES))
_FIRST_VALUES: Final = attrgetter(*_FIRST_NAMES)
_PURPOSES: Final = {
    RepairCommand: b"driftline-cmd",
    Approval: b"driftline-word",
    Control: b"driftline-switch",
    Heads: b"driftline-heads",
}
_REHEARSES: Final = b"driftline-trial"


def signed_form(deployment: str, value: Signed) -> bytes:
    """Return what a signature over a command, a word or heads is made over (32 bytes)."""
    if isinstance(value, RepairCommand) and not value.policy_id:
        told = packed_fields(_FIRST_PACKED, _FIRST_VALUES(value))
    else:
        told = packed_fields(_NAMES[type(value)], _VALUES[type(value)](value))
    is_trial = isinstance(value, Approval) and value.rehearses
    return _digest(_REHEARSES if is_trial else _PURPOSES[type(value)], deployment, told)


def member_of(deployment: str, command: RepairCommand) -> bytes:
    """Return a command as a batch has it: its id, and the digest of all its content (48 bytes)."""
    return command.command_id + signed_form(deployment, command)


def id_of_member(member: bytes) -> bytes:
    """Return the id of the command that a member is."""
    return member[:ID_BYTES]


def batch_id(deployment: str, members: Sequence[bytes]) -> bytes:
    """Name a batch (32 bytes): by its members in their order, so that another content is another batch."""
    return _digest(b"driftline-batch", deployment, b"".join(map(packed, members)))


def key_id_of(public_key: bytes) -> bytes:
    """Name a public key (8 bytes)."""
    return hashlib.blake2b(public_key, digest_size=8, person=b"driftline-keyid").digest()
