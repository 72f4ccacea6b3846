"""What is signed: one unambiguous form of commands and words, and the hashes that bind a batch to its content.

Every field but the key's id and the signature itself goes in, with its name, its type and its length, in the order of
the fields' names: a field that is added later is signed without anybody remembering it. The deployment goes in too, so
that nothing signed for one counts in another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from enum import Enum
from typing import Final

from app.core.command import Approval, RepairCommand

_ID_BYTES: Final = 16
DIGEST_BYTES: Final = 32
MEMBER_BYTES: Final = _ID_BYTES + DIGEST_BYTES
_UNSIGNED: Final = frozenset({"key_id", "signature"})

Signed = RepairCommand | Approval


def _packed(value: object) -> bytes:
    """Return type, length and bytes of a value; `TypeError` for a type that has no form here."""
    match value:
        case Enum():
            return _packed(str(value.value))
        case bool():
            body, tag = bytes([value]), b"t"
        case int():
            body, tag = str(value).encode(), b"i"
        case str():
            body, tag = value.encode(), b"s"
        case bytes():
            body, tag = value, b"b"
        case tuple():
            body, tag = b"".join(_packed(each) for each in value), b"l"
        case _:
            raise TypeError(f"{type(value).__name__} has no signed form")
    return tag + len(body).to_bytes(4, "big") + body


def _digest(purpose: bytes, deployment: str, parts: Sequence[object]) -> bytes:
    h = hashlib.blake2b(digest_size=DIGEST_BYTES, person=purpose)
    h.update(_packed(deployment))
    for part in parts:
        h.update(_packed(part))
    return h.digest()


def _told(value: Signed) -> list[object]:
    names = sorted(field.name for field in fields(value) if field.name not in _UNSIGNED)
    return [each for name in names for each in (name, getattr(value, name))]


def signed_form(deployment: str, value: Signed) -> bytes:
    """Return what a signature over a command or a word is made over (32 bytes)."""
    purpose = b"driftline-cmd" if isinstance(value, RepairCommand) else b"driftline-word"
    return _digest(purpose, deployment, _told(value))


def member_of(deployment: str, command: RepairCommand) -> bytes:
    """Return a command as a batch has it: its id, and the digest of all its content (48 bytes)."""
    return command.command_id + signed_form(deployment, command)


def id_of_member(member: bytes) -> bytes:
    """Return the id of the command that a member is."""
    return member[:_ID_BYTES]


def batch_id(deployment: str, members: Sequence[bytes]) -> bytes:
    """Name a batch (32 bytes): by its members in their order, so that another content is another batch."""
    return _digest(b"driftline-batch", deployment, members)


def key_id_of(public_key: bytes) -> bytes:
    """Name a public key (8 bytes)."""
    return hashlib.blake2b(public_key, digest_size=8, person=b"driftline-keyid").digest()
