"""What a deployment's workers said: which drifts they found, and how far everything is proven."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app import topics
from app.adapters.registry import schema_book
from app.adapters.topic_log import TopicLog
from app.bench.columns import KEY
from app.bench.deployment import Deployment
from app.bench.load import Change
from app.bench.store_log import PARTITIONS
from app.codec.contract_file import load_contracts
from app.codec.records import RecordCodec
from app.core.dialects import BY_LOG
from app.core.digest import RowDigester, keyed_hash
from app.core.errors import Unready
from app.core.finding import DriftKind, Stage
from app.settings import load_settings


class FoundDrift(NamedTuple):
    """A drift by the keyed hash of its key: of which kind, and when its record was written (the worker's clock)."""

    key_hash: bytes
    kind: DriftKind | None
    at_wall_ms: int


class Verdicts:
    """Reads what the workers of one deployment wrote."""

    def __init__(self, deployment: Deployment) -> None:
        settings = load_settings(next(deployment.folder.glob("worker-*.yaml")))
        (contract,) = load_contracts(settings.contracts_dir, settings)
        side = deployment.sides[0]
        self._digest_key = deployment.digest_key
        self._number = contract.number
        self._digester = RowDigester(contract, side.name, BY_LOG[side.kind], self._digest_key)
        self._codec = RecordCodec(deployment.name, schema_book(settings.registry_url, deployment.name))
        self._log = TopicLog(deployment.clients, "bench-verdicts")
        self._drifts = topics.DRIFTS.name(deployment.name)
        self._status = topics.STATUS.name(deployment.name)

    def key_hash(self, key: int) -> bytes:
        """Return the keyed hash under which a row stands in findings."""
        return keyed_hash(self._digest_key, self._number, self._digester.canonical_key({KEY: key}))

    def drifts(self) -> Iterator[FoundDrift]:
        """Yield every confirmed drift, in the order of each partition."""
        for record in self._log.until_now([self._drifts]):
            if record.value is not None:
                found = self._codec.read_finding(record.value)
                if found.finding.stage is Stage.CONFIRMED:
                    yield FoundDrift(found.key_hash, found.finding.kind, record.at_wall_ms)

    def check(self, planted: Iterable[Change]) -> int:
        """Return how many drifts were found; raise `Unready` unless they are exactly those that were planted."""
        wanted = {self.key_hash(change.key): change.planted for change in planted}
        found = {drift.key_hash: drift.kind for drift in self.drifts()}
        if found != wanted:
            missed, false = len(wanted.keys() - found.keys()), len(found.keys() - wanted.keys())
            misnamed = sum(1 for key in wanted.keys() & found.keys() if wanted[key] is not found[key])
            raise Unready(
                f"{len(wanted)} drifts were planted: {missed} missed, {misnamed} misnamed, {false} false",
                where=self._drifts,
                hint="a bench whose verdicts are wrong measures nothing",
            )
        return len(found)

    def unproven(self, due_ms: int) -> dict[int, int | None]:
        """Return the partitions with rows not proven up to a moment of the beacons' clock, and how far each is.

        A partition that is not covered, or of which nothing was told yet, stands at None.
        """
        newest: dict[int, int | None] = dict.fromkeys(range(PARTITIONS))
        for record in self._log.until_now([self._status]):
            report = self._codec.read_status(record.value)
            if not report.is_authority:
                newest[report.partition] = report.verified_through_ms
        return {partition: ms for partition, ms in newest.items() if ms is None or ms < due_ms}
