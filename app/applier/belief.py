"""Whose signatures the applier believes, asked anew for every command: a key that was taken away counts no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.core.approval import refusal_of
from app.core.command import Approval, RefusalReason
from app.core.signing import Signed
from app.core.trust import SignerRole, Signers, Verify, distrust


@dataclass(frozen=True, slots=True)
class Belief:
    """The deployment's name, whom it trusts now (`Unready` while nobody can say), and what checks a signature."""

    deployment: str
    signers: Callable[[], Signers]
    verify: Verify

    def distrust(self, role: SignerRole, value: Signed, now_wall_ms: int) -> RefusalReason | None:
        """Return why something is not believed to come from this role; None where it is."""
        return distrust(self.signers(), self.verify, role, self.deployment, value, now_wall_ms)

    def refusal_of(self, word: Approval, now_wall_ms: int) -> RefusalReason | None:
        """Return why a person's word is not heard; None where it is."""
        return refusal_of(self.signers(), self.verify, self.deployment, word, now_wall_ms)
