"""One key's history: its changes in every store, read from the CDC topics, and what was said and done about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from app.codec.envelope import Decoder, decoder_for
from app.codec.rendering import digest_text, finding_document, wall_text, word_text
from app.core.contract import EntityContract
from app.core.dialects import BY_LOG, by_sql
from app.core.digest import RowDigester, keyed_hash, row_digest
from app.core.errors import ContractViolation, Undecodable, Unmappable
from app.core.event import LEFT_OUT, ChangeEvent, Operation
from app.core.signing import id_of_member
from app.core.store import Converter, StoreKind
from app.topics import APPROVALS, DRIFTS, OUTCOMES, REPAIRS

if TYPE_CHECKING:
    from app.adapters.topic_log import LogRecord
    from app.cli.deployment import Deployment

UNKNOWN: Final = b"\0"
"""Stands for the digest of a row that a change does not tell; renders as unknown, and is nobody's equal."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the key in one store; `digest` is empty where the row is gone.

    It is `UNKNOWN` where the record cannot be read, does not fit the contract, or leaves a compared value out.
    """

    store: str
    operation: str
    digest: bytes
    place: bytes
    transaction: str
    record: LogRecord
    source_ts_ms: int


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """Everything that the topics tell of one key, each part in the order of its topic."""

    key_hash: bytes
    changes: list[Change]
    findings: list[dict[str, Any]]
    acts: list[dict[str, Any]]


def key_values(contract: EntityContract, text: str) -> dict[str, object]:
    """Return the key's parts by name: a plain value for a key of one part, a JSON object for one of several."""
    names = [part.name for part in contract.key]
    if len(names) == 1 and not text.lstrip().startswith("{"):
        return {names[0]: text}
    example = json.dumps(dict.fromkeys(names, "..."))
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict) or set(said) != set(names):
        raise ContractViolation(
            f"the key of {contract.entity} has the parts {', '.join(names)}", hint=f"say it as {example}"
        )
    return {name: value if isinstance(value, bool) else str(value) for name, value in said.items()}


def canonical_key(contract: EntityContract, values: Mapping[str, object], kind: StoreKind, digest_key: bytes) -> bytes:
    """Return the canonical key that a person's words name; `ContractViolation` if they do not fit."""
    digester = RowDigester(contract, contract.authority, by_sql(kind), digest_key)
    try:
        return digester.canonical_key({p.columns[contract.authority]: values[p.name] for p in contract.key})
    except Unmappable as misfit:
        raise ContractViolation(
            f"the key does not fit the contract: {misfit.what}",
            where=contract.entity,
            hint="write it as the authority's SQL shows it",
        ) from misfit


class _StoreReader:
    """Reads the changes of one key from one store's CDC topic."""

    def __init__(self, deployment: Deployment, contract: EntityContract, store: str, digest_key: bytes) -> None:
        settings = deployment.settings
        told = settings.stores[store]
        source = None
        if told.converter is Converter.AVRO and settings.registry_url is not None:
            from app.adapters.registry import Registry

            source = Registry(settings.registry_url)
        self._decoder: Decoder = decoder_for(told.kind, told.converter, settings.placeholder, source)
        self._digester = RowDigester(contract, store, BY_LOG[told.kind], digest_key)
        self._compared = [field.columns[store] for field in contract.fields]
        self._store = store

    def changes(self, records: Iterator[LogRecord], wanted_key: bytes) -> Iterator[Change]:
        """Yield the changes of the key, and truncates, which are changes of every key."""
        for record in records:
            if record.key is not None and not self._is_key(record.key, wanted_key):
                continue
            place = replace(record, key=None, value=None)
            try:
                event = self._decoder.decode(record.key, record.value)
            except (Undecodable, Unmappable):
                if record.key is not None:
                    yield Change(self._store, "unreadable", UNKNOWN, b"", "", place, record.at_wall_ms)
                continue
            if event is not None and (record.key is not None or event.operation is Operation.TRUNCATE):
                yield self._change(place, event)

    def _is_key(self, key: bytes, wanted_key: bytes) -> bool:
        try:
            raw = self._decoder.key_of(key)
            return raw is not None and self._digester.canonical_key(raw) == wanted_key
        except (Undecodable, Unmappable):
            return False

    def _digest(self, row: Mapping[str, object]) -> bytes:
        if any(row.get(column) is LEFT_OUT for column in self._compared):
            return UNKNOWN
        try:
            return row_digest(self._digester.groups(row))
        except Unmappable:
            return UNKNOWN

    def _change(self, place: LogRecord, event: ChangeEvent) -> Change:
        return Change(
            self._store,
            event.operation.name.lower(),
            b"" if event.after is None else self._digest(event.after),
            event.place,
            event.transaction,
            place,
            event.source_ts_ms,
        )


def read_history(
    deployment: Deployment, contract: EntityContract, key: bytes, digest_key: bytes, since_wall_ms: int | None
) -> KeyHistory:
    """Read the topics for one key, up to now."""
    key_hash = keyed_hash(digest_key, contract.number, key)
    changes: list[Change] = []
    for table in contract.stores:
        reader = _StoreReader(deployment, contract, table.store, digest_key)
        changes += reader.changes(deployment.log.until_now([table.topic], since_wall_ms), key)
    changes.sort(key=lambda change: change.record.at_wall_ms)
    findings = [
        finding_document(published, record.at_wall_ms)
        for record, published in deployment.records(DRIFTS, deployment.codec.read_finding, since_wall_ms)
        if published.key_hash == key_hash
    ]
    return KeyHistory(key_hash, changes, findings, list(_acts(deployment, key_hash, since_wall_ms)))


def _acts(deployment: Deployment, key_hash: bytes, since_wall_ms: int | None) -> Iterator[dict[str, Any]]:
    """Yield commands, words of people, and outcomes for this key."""
    ours: set[bytes] = set()
    codec = deployment.codec
    for record, command in deployment.records(REPAIRS, codec.read_command, since_wall_ms):
        if command.key_hash == key_hash:
            ours.add(command.command_id)
            yield {
                "at": wall_text(record.at_wall_ms),
                "what": f"command {command.action.value}",
                "store": command.target,
                "command_id": command.command_id.hex(),
                "why": command.reason + (", waits for approval" if command.needs_approval else ""),
            }
    for record, approval in deployment.records(APPROVALS, codec.read_approval, since_wall_ms):
        for command_id in ours.intersection(id_of_member(member) for member in approval.members):
            yield {
                "at": wall_text(record.at_wall_ms),
                "what": word_text(approval),
                "store": "",
                "command_id": command_id.hex(),
                "why": f"by key {approval.key_id.hex()}" + (f": {approval.why}" if approval.why else ""),
            }
    for record, outcome in deployment.records(OUTCOMES, codec.read_outcome, since_wall_ms):
        if outcome.command_id in ours:
            yield {
                "at": wall_text(record.at_wall_ms),
                "what": outcome.outcome.value,
                "store": outcome.target,
                "command_id": outcome.command_id.hex(),
                "why": (outcome.reason.value if outcome.reason else "")
                + (f" {outcome.detail}" if outcome.detail else ""),
            }


def change_document(change: Change) -> dict[str, Any]:
    """Return a change as it is printed; the row's values are not in it."""
    return {
        "at": wall_text(change.record.at_wall_ms),
        "store": change.store,
        "operation": change.operation,
        "digest": digest_text(change.digest),
        "place": change.place.hex().lstrip("0") or "0",
        "transaction": change.transaction,
        "topic": change.record.topic,
        "partition": change.record.partition,
        "offset": change.record.offset,
        "source_at": wall_text(change.source_ts_ms),
    }
