"""Whose signatures the applier believes, asked anew for every command: a key that was taken away counts no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.core.approval import refusal_of
from app.core.command import Approval, RefusalReason
from app.core.errors import Unready
from app.core.signing import Signed, signed_form
from app.core.trust import Claim, SignerRole, Signers, Verify, distrust


def nobody_ahead(_claims: Iterable[Claim]) -> None:
    """Check each signature when it is asked for."""


@dataclass(frozen=True, slots=True)
class Belief:
    """The deployment's name, whom it trusts now (`Unready` while nobody can say), and what checks a signature.

    `ahead` is told which signatures will be asked for soon.
    """

    deployment: str
    signers: Callable[[], Signers]
    verify: Verify
    ahead: Callable[[Iterable[Claim]], None] = nobody_ahead

    def expect(self, values: Iterable[Signed]) -> None:
        """Have signatures checked that will be asked for; it decides nothing."""
        try:
            signers = self.signers()
        except Unready:
            # Whoever asks for the first of them waits, and says so.
            return
        self.ahead(
            Claim(signers[value.key_id].public_key, signed_form(self.deployment, value), value.signature)
            for value in values
            if value.key_id in signers
        )

    def distrust(self, role: SignerRole, value: Signed, now_wall_ms: int) -> RefusalReason | None:
        """Return why something is not believed to come from this role; None where it is."""
        return distrust(self.signers(), self.verify, role, self.deployment, value, now_wall_ms)

    def refusal_of(self, word: Approval, now_wall_ms: int) -> RefusalReason | None:
        """Return why a person's word is not heard; None where it is."""
        return refusal_of(self.signers(), self.verify, self.deployment, word, now_wall_ms)
