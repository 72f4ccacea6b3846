"""How findings and quarantined records stand on their topics: with where they come from, and without keys in plain."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.core.finding import Finding
from app.core.limits import QUARANTINED_KEY_BYTES_MAX, QUARANTINED_VALUE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a record comes from, as far as it is known. Empty text and 0 mean that it is not.

    `connector_task` is `connector/task` of the source connector that brought the change, as the settings name it: no
    record of a connector says which task wrote it. `connector` alone where it may have several tasks.
    """

    shard: int = 0
    source_transaction: str = ""
    connector_task: str = ""
    checker: str = "key"
    checker_version: int = 1
    trace_id: bytes = b""


@dataclass(frozen=True, slots=True)
class PublishedFinding:
    """A finding as subscribers read it.

    `connector_task` is that of the replica's source connector, whose change was judged (see `Provenance`).
    `finding.canonical_key` is never written, and empty when read: the key is in `sealed_key` for those who hold the
    seal's key, and `key_hash` names it for all. `deployment` is filled by the codec.
    """

    finding: Finding
    sealed_key: bytes
    key_hash: bytes
    connector_task: str = ""
    deployment: str = ""


@dataclass(frozen=True, slots=True)
class QuarantinedRecord:
    """A Kafka record that could not be read. `reason` is a closed word, `what` for a person; neither has a row value.

    `stage` says what could not be done (`decode`, `normalise`, `route`). `is_cut`: key or value was too large to
    keep whole.
    """

    topic: str
    partition: int
    offset: int
    stage: str
    reason: str
    what: str
    key: bytes | None
    value: bytes | None
    at_wall_ms: int
    entity: str = ""
    store: str = ""
    is_cut: bool = False
    trace_id: bytes = b""

    def bounded(self) -> QuarantinedRecord:
        """Return it as far as it is kept: whoever wrote it took all that a record may have, and more is said of it."""
        key, value = self.key, self.value
        if key is not None:
            key = key[:QUARANTINED_KEY_BYTES_MAX]
        if value is not None:
            value = value[:QUARANTINED_VALUE_BYTES_MAX]
        is_cut = (key, value) != (self.key, self.value)
        return replace(self, key=key, value=value, is_cut=True) if is_cut else self
