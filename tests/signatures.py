"""Keys of a planner and of three people, and what they sign, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.adapters.signing import SigningKey, verify
from app.applier.apply import Applier
from app.applier.belief import Belief
from app.core.command import Approval, CommandOutcome, RepairCommand
from app.core.signing import batch_id, member_of, signed_form
from app.core.switch import Control, Said
from app.core.trust import Signer, SignerRole

DEPLOYMENT = "d"
PLANNER, NEXT_PLANNER = SigningKey(b"p" * 32), SigningKey(b"P" * 32)
ANNA, ANNAS_OTHER, BERT, STRANGER = (SigningKey(seed * 32) for seed in (b"a", b"A", b"b", b"s"))
SIGNERS = {
    key.key_id: Signer(role, person, key.public_key)
    for key, role, person in (
        (PLANNER, SignerRole.PLANNER, "worker-1"),
        (NEXT_PLANNER, SignerRole.PLANNER, "worker-1"),
        (ANNA, SignerRole.APPROVER, "anna"),
        (ANNAS_OTHER, SignerRole.APPROVER, "anna"),
        (BERT, SignerRole.APPROVER, "bert"),
    )
}
BELIEF = Belief(DEPLOYMENT, lambda: SIGNERS, verify)


def signed(command: RepairCommand, key: SigningKey = PLANNER, deployment: str = DEPLOYMENT) -> RepairCommand:
    """Sign a command, as the planner does."""
    unsigned = replace(command, key_id=key.key_id, signature=b"")
    return replace(unsigned, signature=key.sign(signed_form(deployment, unsigned)))


def signed_word(word: Approval, key: SigningKey = ANNA, deployment: str = DEPLOYMENT) -> Approval:
    """Sign a word, as a person does."""
    unsigned = replace(word, key_id=key.key_id, signature=b"")
    return replace(unsigned, signature=key.sign(signed_form(deployment, unsigned)))


def word_on(
    commands: Sequence[RepairCommand],
    key: SigningKey = ANNA,
    *,
    approved: bool = True,
    rehearses: bool = False,
    said_at_ms: int = 0,
    life_ms: int = 3_600_000,
    deployment: str = DEPLOYMENT,
) -> Approval:
    """Return a person's signed word on commands."""
    members = tuple(member_of(deployment, command) for command in commands)
    named = batch_id(deployment, members)
    word = Approval(
        named,
        members,
        approved=approved,
        said_at_ms=said_at_ms,
        expires_at_ms=said_at_ms + life_ms,
        rehearses=rehearses,
    )
    return signed_word(word, key, deployment)


def resume_word(lifts_through: int, key: SigningKey = ANNA, deployment: str = DEPLOYMENT) -> Control:
    """Return a person's signed word that lets repairs go on."""
    word = Control(Said.RESUME, "anna", 0, lifts_through=lifts_through, key_id=key.key_id)
    return replace(word, signature=key.sign(signed_form(deployment, word)))


class PlannedApplier(Applier):
    """An applier that is given what the planner signs."""

    __slots__ = ()

    def carry_out(self, command: RepairCommand) -> CommandOutcome:
        """Sign a command as it stands, put it into its own partition, and carry it out."""
        return self.apply(signed(command), command.partition)

    def carry_out_all(self, commands: Sequence[RepairCommand]) -> list[CommandOutcome]:
        """Sign commands as they stand, and carry them out together."""
        return self.apply_all([(signed(command), command.partition) for command in commands])
