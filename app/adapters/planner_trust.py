"""The planner's signature on its commands, and its belief in people's words, from the deployment's files of keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from app.adapters.signing import PLANNER_KEY, KeyFile, SignersFile, verify
from app.core.approval import refusal_of
from app.core.command import Approval, RepairCommand
from app.core.errors import Unready
from app.core.signing import signed_form


@dataclass(frozen=True, slots=True)
class PlannerTrust:
    """Signs commands with `planner.key`, and hears the words of those in `signers`."""

    deployment: str
    key: KeyFile
    signers: SignersFile
    now_wall_ms: Callable[[], int]

    @classmethod
    def from_folder(cls, deployment: str, keys_dir: Path, now_wall_ms: Callable[[], int]) -> PlannerTrust:
        """Return what the deployment's folder of keys makes."""
        return cls(deployment, KeyFile(keys_dir / PLANNER_KEY), SignersFile(keys_dir), now_wall_ms)

    def check(self) -> None:
        """Raise `Unready` if a file is missing or wrong, or if nobody would believe what is signed here."""
        if self.key.now().key_id not in self.signers.now():
            what, hint = (
                "the planner's key is not in the list of signers",
                "`driftline keys make planner NAME --replace`",
            )
            raise Unready(what, where="planner.key", hint=hint)

    def signed(self, command: RepairCommand) -> RepairCommand:
        """Return a command with the planner's signature."""
        key = self.key.now()
        return replace(command, key_id=key.key_id, signature=key.sign(signed_form(self.deployment, command)))

    def hears(self, word: Approval) -> bool:
        """Tell whether a word is an approver's, and is said in time."""
        return refusal_of(self.signers.now(), verify, self.deployment, word, self.now_wall_ms()) is None
