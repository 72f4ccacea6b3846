"""Findings as the worker publishes them."""

from __future__ import annotations

from collections.abc import Iterable

from app.adapters.logs import log
from app.adapters.seal import KeySeals
from app.codec.records import RecordCodec
from app.core.aggregate_judging import Told
from app.core.contract import EntityContract
from app.core.digest import keyed_hash
from app.core.finding import Finding, Stage
from app.core.published import PublishedFinding
from app.settings import StoreSettings


class FindingRecords:
    """Makes the record of a finding: its key sealed and hashed, and by which connector its change came."""

    def __init__(
        self,
        contracts: Iterable[EntityContract],
        stores: Iterable[StoreSettings],
        codec: RecordCodec,
        seals: KeySeals,
        digest_key: bytes,
    ) -> None:
        self._numbers = {contract.entity: contract.number for contract in contracts}
        self._tasks = {store.name: store.connector_task for store in stores}
        self._codec = codec
        self._seals = seals
        self._digest_key = digest_key

    def record(self, finding: Finding) -> bytes:
        """Return a finding's record; a dispute is a fault of ours, and said in the log too."""
        if finding.stage is Stage.DISPUTED:
            _log_dispute(finding)
        entity, key = finding.entity, finding.canonical_key
        key_hash = keyed_hash(self._digest_key, self._numbers[entity], key)
        task = self._tasks[finding.replica]
        return self._codec.finding(PublishedFinding(finding, self._seals.seal_key(entity, key), key_hash, task))

    def aggregate_record(self, told: Told) -> bytes:
        """Return the record of a finding on a group: its figures sealed, its name hashed."""
        finding = told.finding
        key_hash = keyed_hash(self._digest_key, self._numbers[finding.entity], finding.canonical_key)
        sealed = self._seals.seal_key(finding.entity, told.figures)
        return self._codec.finding(PublishedFinding(finding, sealed, key_hash, self._tasks[finding.replica]))


def _log_dispute(finding: Finding) -> None:
    log().error(
        "the applier read another row than the log tells",
        entity=finding.entity,
        target=finding.replica,
        drift_id=finding.finding_id.hex(),
        repair_id=finding.command_id.hex(),
        reason=finding.reason.value if finding.reason else "",
        trace_id=finding.trace_id.hex(),
        hint="a type that is read in two ways, or a write that the log does not carry: run driftline check",
    )
