"""Which repairs wait for people, and what people have said of them so far, from the deployment's topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.core.approval import Said, Word, all_words_on, refusal_of, said
from app.core.batch import Batch, batches_of
from app.core.command import DISTRUSTED, WAITS_FOR_WORD, Approval, CommandOutcome, Outcome, RepairCommand
from app.core.contract import EntityContract, RehearsalRule, RepairPolicy
from app.core.errors import ContractViolation
from app.core.guard import repair_policy
from app.core.rehearsal import Rehearsal, yes_counts_from_ms
from app.core.signing import member_of
from app.core.trust import Signers, Verify
from app.topics import APPROVALS, OUTCOMES, REHEARSALS, REPAIRS

if TYPE_CHECKING:
    from app.cli.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Rehearsals:
    """The first and the last rehearsal of each member of a batch."""

    first: Mapping[bytes, Rehearsal]
    last: Mapping[bytes, Rehearsal]

    @classmethod
    def of(cls, told: Iterable[Rehearsal]) -> Rehearsals:
        """Put rehearsals together, in the order in which they were told."""
        first: dict[bytes, Rehearsal] = {}
        last: dict[bytes, Rehearsal] = {}
        for each in told:
            first.setdefault(each.member, each)
            last[each.member] = each
        return cls(first, last)


@dataclass(frozen=True, slots=True)
class Proposals:
    """The commands that wait for people, with what was said of each and what rehearsals have shown."""

    deployment: str
    contracts: Mapping[str, EntityContract]
    commands: Sequence[RepairCommand]
    said: Mapping[bytes, Said]
    rehearsals: Rehearsals

    def batches(self) -> list[Batch]:
        """Return the batches that all of them make."""
        return batches_of(self.deployment, self.commands, self.contracts)

    def batches_among(self, chosen: Iterable[RepairCommand]) -> list[Batch]:
        """Return the batches that some of them make."""
        return batches_of(self.deployment, chosen, self.contracts)

    def policy_of(self, batch: Batch) -> RepairPolicy:
        """Return the policy that a batch's commands were planned by."""
        return repair_policy(self.contracts.get(batch.first.entity), batch.first.target) or RepairPolicy()

    def is_rehearsed(self, batch: Batch) -> bool:
        """Tell whether all of a batch was tried."""
        return all(member in self.rehearsals.last for member in batch.members)

    def says_yes_from_ms(self, batch: Batch, now_wall_ms: int) -> int:
        """Return the time of a yes that is said now; `ContractViolation` where the policy wants a rehearsal first.

        Not before the rehearsal, whose clock may be ahead of this one.
        """
        if self.policy_of(batch).rehearsal is not RehearsalRule.REQUIRED or batch.first.is_asked_for:
            return now_wall_ms
        if not self.is_rehearsed(batch):
            name = batch.batch_id.hex()[:16]
            what = "the policy wants this batch rehearsed before it is approved"
            raise ContractViolation(what, where=f"batch {name}", hint=f"driftline rehearse {name}")
        return max(now_wall_ms, *(self.rehearsals.first[member].at_ms for member in batch.members))

    def persons(self, batch: Batch) -> list[str]:
        """Return who has said yes to something in a batch already."""
        return sorted({person for command in batch.commands for person in self.said[command.command_id].persons})


@dataclass(frozen=True, slots=True)
class Hearing:
    """Hears people's words as the applier does."""

    deployment: str
    contracts: Mapping[str, EntityContract]
    signers: Signers
    verify: Verify
    now_wall_ms: int

    def by_member(self, words: Iterable[Approval]) -> dict[bytes, list[Word]]:
        """Return the words that count, by what they speak of."""
        found: dict[bytes, list[Word]] = {}
        for word in words:
            no = refusal_of(self.signers, self.verify, self.deployment, word, self.now_wall_ms)
            if no is None and not word.rehearses:
                heard = Word(word.key_id, word.approved, word.said_at_ms, word.expires_at_ms)
                for member in word.members:
                    if heard not in found.setdefault(member, []):
                        found[member].append(heard)
        return found

    def proposals(
        self,
        commands: Iterable[RepairCommand],
        outcomes: Iterable[CommandOutcome],
        words: Iterable[Approval],
        rehearsals: Iterable[Rehearsal],
    ) -> Proposals:
        """Return the commands that need a word and have not enough, are not done, and have not expired."""
        last = {outcome.command_id: outcome for outcome in outcomes if outcome.reason not in DISTRUSTED}
        spoken, shown = self.by_member(words), Rehearsals.of(rehearsals)
        waiting: dict[bytes, RepairCommand] = {}
        heard: dict[bytes, Said] = {}
        for command in commands:
            policy = repair_policy(self.contracts.get(command.entity), command.target)
            outcome = last.get(command.command_id)
            is_done = outcome is not None and outcome.outcome is not Outcome.HELD
            asks = command.needs_approval or (outcome is not None and outcome.reason in WAITS_FOR_WORD)
            if policy is None or is_done or not asks or command.expires_at_ms <= self.now_wall_ms:
                continue
            member = member_of(self.deployment, command)
            tried = shown.first.get(member)
            what = said(
                all_words_on(command, spoken.get(member, ())),
                self.signers,
                policy.persons,
                policy.approval_life_ms,
                self.now_wall_ms,
                not_before_ms=yes_counts_from_ms(policy, command, tried.at_ms if tried else None),
            )
            waiting.pop(command.command_id, None)
            if what.refusal in WAITS_FOR_WORD:
                waiting[command.command_id] = command
                heard[command.command_id] = what
        return Proposals(self.deployment, self.contracts, list(waiting.values()), heard, shown)


def read_proposals(deployment: Deployment) -> Proposals:
    """Read what waits now. A command that neither the planner nor a person who may ask for it signed is left out."""
    from app.adapters.signing import SIGNERS, read_signers, verify
    from app.adapters.system_clock import wall_ms
    from app.cli.row_keys import contracts_of
    from app.core.trust import distrust, role_for

    settings, codec, now_ms = deployment.settings, deployment.codec, wall_ms()
    signers = read_signers(settings.keys_dir / SIGNERS)
    hearing = Hearing(settings.deployment, contracts_of(deployment), signers, verify, now_ms)
    # Only what has not expired is worth a look at its signature.
    alive = (c for _, c in deployment.records(REPAIRS, codec.read_command) if c.expires_at_ms > now_ms)
    return hearing.proposals(
        (
            command
            for command in alive
            if distrust(signers, verify, role_for(command), settings.deployment, command, now_ms) is None
        ),
        (found for _, found in deployment.records(OUTCOMES, codec.read_outcome)),
        (found for _, found in deployment.records(APPROVALS, codec.read_approval)),
        (found for _, found in deployment.records(REHEARSALS, codec.read_rehearsal)),
    )
