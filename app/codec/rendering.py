"""Our records as plain values for the command line and for programs: bytes as hex, times as numbers, no row value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from app.core.command import Approval
from app.core.finding import Evidence, Shown
from app.core.position import POSITION_BYTES, STREAM, epoch_of, phase_of, place_of
from app.core.published import PublishedFinding
from app.core.rehearsal import UNCOUNTED, Rehearsal, Touched
from app.core.status import StoreStatus

_YEAR_10000_MS: Final = 253_402_300_800_000


def wall_text(wall_ms: int) -> str:
    """Return a wall-clock time as RFC 3339 in UTC, to the millisecond; empty where there is none, or no such year."""
    if not 0 < wall_ms < _YEAR_10000_MS:
        return ""
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def position_text(position: bytes) -> str:
    """Return a position as `epoch/phase/place`, the place in hex without what says nothing."""
    if len(position) != POSITION_BYTES:
        return position.hex()
    phase = "stream" if phase_of(position) == STREAM else "snapshot"
    return f"{epoch_of(position)}/{phase}/{place_of(position).hex().lstrip('0') or '0'}"


def digest_text(digest: bytes) -> str:
    """Return a digest in hex; `absent` for no row, `unknown` for a state that is not known."""
    if not digest:
        return "absent"
    return digest.hex() if len(digest) > 1 else "unknown"


def _shown_document(shown: Shown) -> dict[str, object]:
    return {
        "digest": digest_text(shown.digest),
        "position": position_text(shown.position),
        "since_ms": shown.since_ms,
        "until_ms": shown.until_ms,
        "topic": shown.topic,
        "partition": shown.partition,
        "offset": shown.offset,
        "transaction": shown.transaction,
    }


def evidence_document(evidence: Evidence) -> dict[str, object]:
    """Return what a verdict was judged on."""
    return {
        "authority_stays": [_shown_document(s) for s in evidence.authority_stays],
        "replica_stays": [_shown_document(s) for s in evidence.replica_stays],
        "authority_watermark_ms": evidence.authority_watermark_ms,
        "replica_watermark_ms": evidence.replica_watermark_ms,
        "vouched_until_ms": evidence.vouched_until_ms,
        "judged_at_ms": evidence.judged_at_ms,
        "window_ms": evidence.window_ms,
    }


def finding_document(published: PublishedFinding, at_wall_ms: int) -> dict[str, object]:
    """Return a finding as its topic has it."""
    finding = published.finding
    return {
        "at": wall_text(at_wall_ms),
        "finding_id": finding.finding_id.hex(),
        "stage": finding.stage.value,
        "verdict": finding.verdict.value,
        "kind": finding.kind.value if finding.kind else None,
        "reason": finding.reason.value if finding.reason else None,
        "entity": finding.entity,
        "authority": finding.authority,
        "replica": finding.replica,
        "key_hash": published.key_hash.hex(),
        "sealed_key": published.sealed_key.hex(),
        "columns": list(finding.differing_columns),
        "expected_digest": digest_text(finding.expected_digest),
        "intended_digest": digest_text(finding.intended_digest),
        "authority_position": position_text(finding.authority_position),
        "replica_position": position_text(finding.replica_position),
        "source_transaction": str(finding.transaction) if finding.transaction else "",
        "connector_task": published.connector_task,
        "incident_id": finding.incident_id.hex(),
        "incident_rows": finding.incident_rows,
        "command_id": finding.command_id.hex(),
        "checker": finding.checker,
        "contract_version": finding.contract_version,
        "deployment": published.deployment,
        "shard": finding.shard,
        "partition": finding.observations_partition,
        "trace_id": finding.trace_id.hex(),
        "evidence": evidence_document(finding.evidence),
    }


def status_document(status: StoreStatus) -> dict[str, Any]:
    """Return how far one entity in one store is proven, over all partitions."""
    newest, through = status.newest_beacon_ms, status.verified_through_ms
    return {
        "entity": status.entity,
        "store": status.store,
        "role": "authority" if status.is_authority else "replica",
        "coverage": status.coverage.value,
        "watermark_ms": status.watermark_ms,
        "verified_through_ms": through,
        "newest_beacon_ms": newest,
        "behind_ms": None if newest is None or through is None else max(0, newest - through),
        "open_drifts": {kind.value: count for kind, count in status.open_drifts.items()},
        "unknown_keys": {reason.value: count for reason, count in status.unknown_keys.items()},
        "waiting_keys": status.waiting_keys,
        "partitions": status.partitions,
        "reported_at": wall_text(status.oldest_report_wall_ms),
    }


def word_text(word: Approval) -> str:
    """Say what a person's word says."""
    if word.rehearses:
        return "asked for a rehearsal"
    return "approved" if word.approved else "rejected"


def touched_text(touched: Touched) -> str:
    """Say what was written to one table."""
    counts = (("inserted", touched.inserted), ("updated", touched.updated), ("deleted", touched.deleted))
    told = ", ".join(f"{'some' if count == UNCOUNTED else count} {verb}" for verb, count in counts if count)
    through = f" through {touched.through}" if touched.through else ""
    return f"{touched.table or 'tables that the store does not name'}: {told or 'nothing'}{through}"


def would_text(rehearsal: Rehearsal) -> str:
    """Say what would become of a command that was tried."""
    return f"{rehearsal.reason.value} {rehearsal.detail}".strip() if rehearsal.reason else "write"
