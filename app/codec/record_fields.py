"""Our core values as fields of our Avro records, and back. One pair of functions per schema, names as in the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any, Final, TypeVar

from app.core.command import Action, Approval, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.errors import Undecodable
from app.core.finding import DriftKind, Evidence, Finding, Shown, Stage, UnknownReason, Verdict
from app.core.published import Provenance, PublishedFinding, QuarantinedRecord
from app.core.rehearsal import Rehearsal, Touched
from app.core.status import Coverage, StatusReport

Fields = Mapping[str, Any]
_Word = TypeVar("_Word", bound=Enum)
_TRANSACTION_DIGITS_MAX: Final = 20
"""Of a number of 64 bits; Python refuses to read one of some thousands."""


def _word(words: type[_Word], text: str) -> _Word:
    """Return the word of a closed list; `Undecodable` for one that this version does not know."""
    try:
        return words(text)
    except ValueError:
        raise Undecodable(
            "unknown_word",
            f"{text[:40]!r} is no {words.__name__} that this version knows",
            hint="read the topic with a version at least as new as its writer's",
        ) from None


def _transaction_text(transaction: int) -> str:
    return str(transaction) if transaction else ""


def _transaction_number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= _TRANSACTION_DIGITS_MAX else 0


def provenance_fields(deployment: str, provenance: Provenance) -> dict[str, object]:
    """Return the fields that every record begins with."""
    return {
        "deployment": deployment,
        "shard": provenance.shard,
        "source_transaction": provenance.source_transaction,
        "connector_task": provenance.connector_task,
        "checker": provenance.checker,
        "checker_version": provenance.checker_version,
        "trace_id": provenance.trace_id,
    }


def _shown_fields(shown: Shown) -> dict[str, object]:
    return {
        "digest": shown.digest,
        "position": shown.position,
        "since_ms": shown.since_ms,
        "until_ms": shown.until_ms,
        "topic": shown.topic,
        "partition": shown.partition,
        "offset": shown.offset,
        "transaction": _transaction_text(shown.transaction),
    }


def _shown(fields: Fields) -> Shown:
    return Shown(
        digest=fields["digest"],
        position=fields["position"],
        since_ms=fields["since_ms"],
        until_ms=fields["until_ms"],
        topic=fields["topic"],
        partition=fields["partition"],
        offset=fields["offset"],
        transaction=_transaction_number(fields["transaction"]),
    )


def _evidence_fields(evidence: Evidence) -> dict[str, object]:
    return {
        "authority_stays": [_shown_fields(s) for s in evidence.authority_stays],
        "replica_stays": [_shown_fields(s) for s in evidence.replica_stays],
        "authority_watermark_ms": evidence.authority_watermark_ms,
        "replica_watermark_ms": evidence.replica_watermark_ms,
        "vouched_until_ms": evidence.vouched_until_ms,
        "judged_at_ms": evidence.judged_at_ms,
        "window_ms": evidence.window_ms,
    }


def _evidence(fields: Fields) -> Evidence:
    return Evidence(
        authority_stays=tuple(_shown(s) for s in fields["authority_stays"]),
        replica_stays=tuple(_shown(s) for s in fields["replica_stays"]),
        authority_watermark_ms=fields["authority_watermark_ms"],
        replica_watermark_ms=fields["replica_watermark_ms"],
        vouched_until_ms=fields["vouched_until_ms"],
        judged_at_ms=fields["judged_at_ms"],
        window_ms=fields["window_ms"],
    )


def finding_fields(published: PublishedFinding) -> dict[str, object]:
    """Return a finding's fields, all but the deployment. The key in plain is left out."""
    finding = published.finding
    checker, _, checker_version = finding.checker.partition("/")
    return {
        "finding_id": finding.finding_id,
        "shard": finding.shard,
        "source_transaction": _transaction_text(finding.transaction),
        "connector_task": published.connector_task,
        "checker": checker,
        "checker_version": int(checker_version or 1),
        "trace_id": finding.trace_id,
        "stage": finding.stage.value,
        "verdict": finding.verdict.value,
        "kind": finding.kind.value if finding.kind else None,
        "reason": finding.reason.value if finding.reason else None,
        "contract_version": finding.contract_version,
        "entity": finding.entity,
        "authority": finding.authority,
        "replica": finding.replica,
        "sealed_key": published.sealed_key,
        "key_hash": published.key_hash,
        "observations_partition": finding.observations_partition,
        "evidence": _evidence_fields(finding.evidence),
        "expected_digest": finding.expected_digest,
        "intended_digest": finding.intended_digest,
        "authority_position": finding.authority_position,
        "replica_position": finding.replica_position,
        "incident_id": finding.incident_id,
        "incident_rows": finding.incident_rows,
        "command_id": finding.command_id,
        "differing_columns": list(finding.differing_columns),
    }


def finding_of(fields: Fields) -> PublishedFinding:
    """Return the finding that the fields of a record say."""
    kind, reason = fields["kind"], fields["reason"]
    finding = Finding(
        finding_id=fields["finding_id"],
        stage=_word(Stage, fields["stage"]),
        verdict=_word(Verdict, fields["verdict"]),
        kind=None if kind is None else _word(DriftKind, kind),
        checker=f"{fields['checker']}/{fields['checker_version']}",
        contract_version=fields["contract_version"],
        entity=fields["entity"],
        authority=fields["authority"],
        replica=fields["replica"],
        canonical_key=b"",
        shard=fields["shard"],
        observations_partition=fields["observations_partition"],
        evidence=_evidence(fields["evidence"]),
        expected_digest=fields["expected_digest"],
        intended_digest=fields["intended_digest"],
        authority_position=fields["authority_position"],
        replica_position=fields["replica_position"],
        transaction=_transaction_number(fields["source_transaction"]),
        incident_id=fields["incident_id"],
        incident_rows=fields["incident_rows"],
        command_id=fields["command_id"],
        trace_id=fields["trace_id"],
        differing_columns=tuple(fields["differing_columns"]),
        reason=None if reason is None else _word(UnknownReason, reason),
    )
    return PublishedFinding(
        finding=finding,
        sealed_key=fields["sealed_key"],
        key_hash=fields["key_hash"],
        connector_task=fields["connector_task"],
        deployment=fields["deployment"],
    )


def command_fields(command: RepairCommand) -> dict[str, object]:
    """Return a command's own fields."""
    return {
        "command_id": command.command_id,
        "finding_id": command.finding_id,
        "incident_id": command.incident_id,
        "entity": command.entity,
        "contract_version": command.contract_version,
        "authority": command.authority,
        "target": command.target,
        "action": command.action.value,
        "kind": command.kind,
        "sealed_key": command.sealed_key,
        "key_hash": command.key_hash,
        "partition": command.partition,
        "expected_digest": command.expected_digest,
        "intended_digest": command.intended_digest,
        "authority_position": command.authority_position,
        "needs_approval": command.needs_approval,
        "reason": command.reason,
        "expires_at_ms": command.expires_at_ms,
        "fence_token": command.fence_token,
        "trace_id": command.trace_id,
        "columns": list(command.columns),
        "source_transaction": command.source_transaction,
        "planned_at_ms": command.planned_at_ms,
        "undoes": command.undoes,
        "policy_id": command.policy_id,
        "key_id": command.key_id,
        "signature": command.signature,
    }


def command_of(fields: Fields) -> RepairCommand:
    """Return the command that the fields of a record say."""
    return RepairCommand(
        command_id=fields["command_id"],
        finding_id=fields["finding_id"],
        incident_id=fields["incident_id"],
        entity=fields["entity"],
        contract_version=fields["contract_version"],
        authority=fields["authority"],
        target=fields["target"],
        action=_word(Action, fields["action"]),
        kind=fields["kind"],
        sealed_key=fields["sealed_key"],
        key_hash=fields["key_hash"],
        partition=fields["partition"],
        expected_digest=fields["expected_digest"],
        intended_digest=fields["intended_digest"],
        authority_position=fields["authority_position"],
        needs_approval=fields["needs_approval"],
        reason=fields["reason"],
        expires_at_ms=fields["expires_at_ms"],
        fence_token=fields["fence_token"],
        trace_id=fields["trace_id"],
        columns=tuple(fields["columns"]),
        source_transaction=fields["source_transaction"],
        planned_at_ms=fields["planned_at_ms"],
        undoes=fields["undoes"],
        # Of a record without it fastavro gives the default as the schema spells it: as text.
        policy_id=fields["policy_id"] or b"",
        key_id=fields["key_id"],
        signature=fields["signature"],
    )


def approval_fields(approval: Approval) -> dict[str, object]:
    """Return an approval's own fields."""
    return {
        "batch_id": approval.batch_id,
        "members": list(approval.members),
        "approved": approval.approved,
        "said_at_ms": approval.said_at_ms,
        "expires_at_ms": approval.expires_at_ms,
        "why": approval.why,
        "rehearses": approval.rehearses,
        "key_id": approval.key_id,
        "signature": approval.signature,
    }


def approval_of(fields: Fields) -> Approval:
    """Return the approval that the fields of a record say."""
    return Approval(
        batch_id=fields["batch_id"],
        members=tuple(fields["members"]),
        approved=fields["approved"],
        said_at_ms=fields["said_at_ms"],
        expires_at_ms=fields["expires_at_ms"],
        why=fields["why"],
        rehearses=fields["rehearses"],
        key_id=fields["key_id"],
        signature=fields["signature"],
    )


def outcome_fields(outcome: CommandOutcome) -> dict[str, object]:
    """Return an outcome's own fields."""
    return {
        "command_id": outcome.command_id,
        "finding_id": outcome.finding_id,
        "entity": outcome.entity,
        "target": outcome.target,
        "outcome": outcome.outcome.value,
        "reason": outcome.reason.value if outcome.reason else None,
        "at_ms": outcome.at_ms,
        "transaction": outcome.transaction,
        "partition": outcome.partition,
        "trace_id": outcome.trace_id,
        "detail": outcome.detail,
    }


def outcome_of(fields: Fields) -> CommandOutcome:
    """Return the outcome that the fields of a record say."""
    reason = fields["reason"]
    return CommandOutcome(
        command_id=fields["command_id"],
        finding_id=fields["finding_id"],
        entity=fields["entity"],
        target=fields["target"],
        outcome=_word(Outcome, fields["outcome"]),
        reason=None if reason is None else _word(RefusalReason, reason),
        at_ms=fields["at_ms"],
        transaction=fields["transaction"],
        partition=fields["partition"],
        trace_id=fields["trace_id"],
        detail=fields["detail"],
    )


def rehearsal_fields(rehearsal: Rehearsal) -> dict[str, object]:
    """Return a rehearsal's own fields."""
    return {
        "batch_id": rehearsal.batch_id,
        "command_id": rehearsal.command_id,
        "content": rehearsal.content,
        "entity": rehearsal.entity,
        "target": rehearsal.target,
        "reason": rehearsal.reason.value if rehearsal.reason else None,
        "detail": rehearsal.detail,
        "touched": [asdict(each) for each in rehearsal.touched],
        "is_complete": rehearsal.is_complete,
        "partition": rehearsal.partition,
        "at_ms": rehearsal.at_ms,
        "trace_id": rehearsal.trace_id,
    }


def rehearsal_of(fields: Fields) -> Rehearsal:
    """Return the rehearsal that the fields of a record say."""
    reason = fields["reason"]
    return Rehearsal(
        batch_id=fields["batch_id"],
        command_id=fields["command_id"],
        content=fields["content"],
        entity=fields["entity"],
        target=fields["target"],
        reason=None if reason is None else _word(RefusalReason, reason),
        detail=fields["detail"],
        touched=tuple(Touched(**each) for each in fields["touched"]),
        is_complete=fields["is_complete"],
        partition=fields["partition"],
        at_ms=fields["at_ms"],
        trace_id=fields["trace_id"],
    )


def status_fields(report: StatusReport) -> dict[str, object]:
    """Return a status report's own fields."""
    return {
        "entity": report.entity,
        "store": report.store,
        "is_authority": report.is_authority,
        "partition": report.partition,
        "coverage": report.coverage.value,
        "watermark_ms": report.watermark_ms,
        "verified_through_ms": report.verified_through_ms,
        "newest_beacon_ms": report.newest_beacon_ms,
        "reported_at_wall_ms": report.reported_at_wall_ms,
        "waiting_keys": report.waiting_keys,
        "open_drifts": {kind.value: count for kind, count in report.open_drifts.items()},
        "unknown_keys": {reason.value: count for reason, count in report.unknown_keys.items()},
        "records_read": report.records_read,
        "instance": report.instance,
        "contract_version": report.contract_version,
    }


def status_of(fields: Fields) -> StatusReport:
    """Return the status report that the fields of a record say."""
    return StatusReport(
        entity=fields["entity"],
        store=fields["store"],
        is_authority=fields["is_authority"],
        partition=fields["partition"],
        coverage=_word(Coverage, fields["coverage"]),
        watermark_ms=fields["watermark_ms"],
        verified_through_ms=fields["verified_through_ms"],
        newest_beacon_ms=fields["newest_beacon_ms"],
        reported_at_wall_ms=fields["reported_at_wall_ms"],
        waiting_keys=fields["waiting_keys"],
        open_drifts={_word(DriftKind, kind): count for kind, count in fields["open_drifts"].items()},
        unknown_keys={_word(UnknownReason, reason): count for reason, count in fields["unknown_keys"].items()},
        records_read=fields["records_read"],
        instance=fields["instance"],
        contract_version=fields["contract_version"],
    )


def quarantine_fields(record: QuarantinedRecord) -> dict[str, object]:
    """Return a quarantined record's own fields."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "entity": record.entity,
        "store": record.store,
        "stage": record.stage,
        "reason": record.reason,
        "what": record.what,
        "key": record.key,
        "value": record.value,
        "is_cut": record.is_cut,
        "at_wall_ms": record.at_wall_ms,
        "trace_id": record.trace_id,
    }


def quarantine_of(fields: Fields) -> QuarantinedRecord:
    """Return the quarantined record that the fields of a record say."""
    return QuarantinedRecord(
        topic=fields["topic"],
        partition=fields["partition"],
        offset=fields["offset"],
        stage=fields["stage"],
        reason=fields["reason"],
        what=fields["what"],
        key=fields["key"],
        value=fields["value"],
        at_wall_ms=fields["at_wall_ms"],
        entity=fields["entity"],
        store=fields["store"],
        is_cut=fields["is_cut"],
        trace_id=fields["trace_id"],
    )
