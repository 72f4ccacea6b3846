"""Whom a deployment believes: the keys of planners and of approvers, and why a signature is not believed.

Several keys of one role may be valid at once, so that they are changed without a pause: the new one is trusted first,
then used, and the old one goes last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from app.core.command import RefusalReason, RepairCommand
from app.core.signing import Signed, signed_form

Verify = Callable[[bytes, bytes, bytes], bool]
"""Tells whether a public key made this signature over this message: (key, message, signature)."""


class Claim(NamedTuple):
    """What a `Verify` is asked."""

    public_key: bytes
    message: bytes
    signature: bytes


class SignerRole(Enum):
    """What a key may sign."""

    PLANNER = "planner"  # commands
    APPROVER = "approver"  # words on batches


@dataclass(frozen=True, slots=True)
class Signer:
    """One trusted key. `until_ms` is the wall-clock time at which its trust ends, None where it does not."""

    role: SignerRole
    person: str
    public_key: bytes
    until_ms: int | None = None


def role_for(command: RepairCommand) -> SignerRole:
    """Return whose signature a command needs: a person may only do what people ask for, and the planner all else."""
    return SignerRole.APPROVER if command.is_asked_for else SignerRole.PLANNER


Signers = Mapping[bytes, Signer]
"""The trusted keys by their ids (`app.core.signing.key_id_of`)."""


def distrust(
    signers: Signers, verify: Verify, role: SignerRole, deployment: str, value: Signed, now_wall_ms: int
) -> RefusalReason | None:
    """Return why what was signed is not believed to come from `role`; None where it is."""
    signer = signers.get(value.key_id)
    if not value.signature:
        return RefusalReason.FORGED
    if signer is None:
        return RefusalReason.UNKNOWN_KEY
    if signer.role is not role:
        return RefusalReason.WRONG_ROLE
    if signer.until_ms is not None and now_wall_ms >= signer.until_ms:
        return RefusalReason.OUTDATED_KEY
    if not verify(signer.public_key, signed_form(deployment, value), value.signature):
        return RefusalReason.FORGED
    return None
