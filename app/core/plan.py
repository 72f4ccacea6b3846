"""Turn an overtaken drift into one repair command, or into a stated refusal, by the contract's policy.

Pure and deterministic: the same finding under the same contract gives the same command under the same id. What the
row ought to hold is not in here: the applier reads it from the authority, and the digests say what it must find.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.core.command import Action, RepairCommand, command_id
from app.core.contract import EntityContract, RepairMode, RepairPolicy
from app.core.finding import Finding, Stage, Verdict
from app.core.guard import repair_policy
from app.core.policy import mode_of


class NotPlanned(Enum):
    """Why a finding leads to no command."""

    NOT_OVERTAKEN = "not_overtaken"  # the pipeline may still bring the change
    OUTDATED_CONTRACT = "outdated_contract"  # judged under another version: digests of unlike versions never meet
    NOT_A_REPLICA = "not_a_replica"
    OBSERVE_ONLY = "observe_only"  # the replica, the kind of drift, or a field that differs
    UPSERTS_OFF = "upserts_off"
    DELETES_OFF = "deletes_off"
    NOTHING_TO_DO = "nothing_to_do"  # both stores show the same, or the record is an incident's summary


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stated refusal to plan."""

    finding_id: bytes
    reason: NotPlanned


def _columns(finding: Finding) -> tuple[str, ...] | None:
    """Return the fields that a repair would change; None where nobody knows."""
    return finding.differing_columns if finding.differing_columns and finding.expected_digest else None


def _mode(finding: Finding, policy: RepairPolicy) -> RepairMode:
    # A delete leaves no field to be chosen: only its kind decides.
    columns = _columns(finding) if finding.intended_digest else ()
    return mode_of(policy, finding.kind.value if finding.kind else "", columns)


def _why_not(finding: Finding, contract: EntityContract, policy: RepairPolicy | None) -> NotPlanned | None:
    """Return the first reason that holds, in this order."""
    mine = policy or RepairPolicy()
    is_upsert = bool(finding.intended_digest)
    reasons = (
        (NotPlanned.NOT_OVERTAKEN, finding.stage is not Stage.OVERTAKEN or finding.verdict is not Verdict.DRIFT),
        (
            NotPlanned.OUTDATED_CONTRACT,
            finding.contract_version != contract.version or finding.entity != contract.entity,
        ),
        (NotPlanned.NOT_A_REPLICA, policy is None or finding.authority != contract.authority),
        (NotPlanned.OBSERVE_ONLY, _mode(finding, mine) is RepairMode.OBSERVE),
        (
            NotPlanned.NOTHING_TO_DO,
            finding.incident_rows > 0 or finding.expected_digest == finding.intended_digest,
        ),
        (NotPlanned.UPSERTS_OFF, is_upsert and not mine.upserts),
        (NotPlanned.DELETES_OFF, not is_upsert and not mine.deletes),
    )
    return next((reason for reason, holds in reasons if holds), None)


def _approval(finding: Finding, policy: RepairPolicy, action: Action, *, is_mass: bool) -> str:
    """Return why a person must approve, empty where nobody needs to."""
    if policy.mode is RepairMode.PROPOSE:
        return "the policy proposes only"
    if _mode(finding, policy) is RepairMode.PROPOSE:
        return "the kind or a field waits for a person"
    if action is Action.DELETE and policy.deletes_wait:
        return "deletes wait for a person"
    if finding.incident_id:
        return "part of an incident"
    return "more drifts than the policy repairs alone" if is_mass else ""


def _source_transaction(finding: Finding) -> str:
    """Return the authority's transaction that made the state to be copied; empty where it is not known."""
    newest = finding.evidence.authority_stays[-1:]
    found = [s.transaction for s in newest if s.digest == finding.intended_digest and s.transaction]
    return str(found[0]) if found else ""


def plan(
    finding: Finding,
    contract: EntityContract,
    key_hash: bytes,
    sealed_key: bytes,
    now_wall_ms: int,
    *,
    is_mass: bool = False,
    fence_token: int = 0,
) -> RepairCommand | Refusal:
    """Plan the repair of one drift.

    `key_hash` is the keyed hash of the row's key and `sealed_key` the key itself, sealed. `now_wall_ms` only sets when
    it was planned and expires. `is_mass` says that the entity has more open drifts than the policy lets be repaired
    without a person.
    """
    policy = repair_policy(contract, finding.replica)
    why_not = _why_not(finding, contract, policy)
    if why_not is not None or policy is None:
        return Refusal(finding.finding_id, why_not or NotPlanned.NOT_A_REPLICA)
    action = Action.UPSERT if finding.intended_digest else Action.DELETE
    waits_because = _approval(finding, policy, action, is_mass=is_mass)
    kind = finding.kind.value if finding.kind else ""
    return RepairCommand(
        command_id=command_id(finding.finding_id, finding.replica, finding.expected_digest, finding.intended_digest),
        finding_id=finding.finding_id,
        incident_id=finding.incident_id,
        entity=finding.entity,
        contract_version=finding.contract_version,
        authority=finding.authority,
        target=finding.replica,
        action=action,
        kind=kind,
        sealed_key=sealed_key,
        key_hash=key_hash,
        partition=finding.observations_partition,
        expected_digest=finding.expected_digest,
        intended_digest=finding.intended_digest,
        authority_position=finding.authority_position,
        needs_approval=bool(waits_because),
        reason=waits_because or f"{kind}, and the pipeline has gone past it",
        expires_at_ms=now_wall_ms + policy.expires_after_ms,
        fence_token=fence_token,
        trace_id=finding.trace_id,
        columns=_columns(finding) or (),
        source_transaction=_source_transaction(finding),
        planned_at_ms=now_wall_ms,
        policy_id=policy.policy_id,
    )
