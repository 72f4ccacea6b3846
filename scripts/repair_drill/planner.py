"""Signed commands in the planner's form, made from what both stores show now.

The planner itself stands behind a whole stream of changes; what it signs and sends is this.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from repair_judge.story import Kind, Repair

from app.adapters.kafka import KafkaClients
from app.adapters.mysql_rows import MysqlRows
from app.adapters.planner_trust import PlannerTrust
from app.adapters.postgres_rows import PostgresRows
from app.adapters.seal import KeySeals, read_key
from app.adapters.system_clock import wall_ms
from app.codec.contract_file import load_contracts
from app.codec.records import FixedSchemas, RecordCodec
from app.core.canonical_key import key_writer
from app.core.command import Action, RepairCommand, command_id
from app.core.contract import FieldKind, FieldType
from app.core.digest import keyed_hash, partition_of
from app.settings import load_settings
from app.topics import OUTCOMES, REPAIRS
from repair_drill.deployment import Deployment, Direction

_LIFE_MS: Final = 24 * 3_600_000
_KIND: Final = {Kind.CHANGED: "different", Kind.MISSING: "missing", Kind.EXTRA: "extra"}


def key_of(number: int) -> bytes:
    """Return a row's canonical key."""
    return key_writer(FieldType(FieldKind.INT64))(number)


class Planner:
    """Signs and sends the commands of one direction, and sends those again that were held."""

    def __init__(self, deployment: Deployment, way: Direction) -> None:
        settings = load_settings(deployment.config)
        contracts = load_contracts(settings.contracts_dir, settings)
        self._way = way
        self._contract = next(c for c in contracts if c.entity == way.entity)
        self._digest_key = read_key(settings.keys_dir / "digest.key")
        self._seals = KeySeals.from_folder(settings.keys_dir)
        self._trust = PlannerTrust.from_folder(deployment.name, settings.keys_dir, wall_ms)
        kinds = {"pg": PostgresRows, "my": MysqlRows}
        self._rows = {name: kinds[name](settings.stores[name], contracts, self._digest_key) for name in kinds}
        self._codec = RecordCodec(deployment.name, FixedSchemas())
        self._sink = KafkaClients(deployment.bootstrap, {}).producer("drill-repairs")
        self._topic = REPAIRS.name(deployment.name)
        self._partitions = settings.partitions
        self._sent: dict[str, RepairCommand] = {}
        self.outcomes = OUTCOMES.name(deployment.name)

    def plan(self, repairs: Sequence[Repair]) -> None:
        """Sign the command of each repair; it has its id from now on."""
        names = [(self._way.entity, key_of(repair.number)) for repair in repairs]
        now_ms = wall_ms()
        try:
            expected, intended = (self._rows[store].read(names) for store in (self._way.target, self._way.authority))
        finally:
            # A server may be killed before the next reading.
            for rows in self._rows.values():
                rows.close()
        for repair, (entity, key), here, there in zip(repairs, names, expected, intended, strict=True):
            finding_id = secrets.token_bytes(16)
            key_hash = keyed_hash(self._digest_key, self._contract.number, key)
            command = RepairCommand(
                command_id=command_id(finding_id, self._way.target, here.digest, there.digest),
                finding_id=finding_id,
                incident_id=b"",
                entity=entity,
                contract_version=self._contract.version,
                authority=self._way.authority,
                target=self._way.target,
                action=Action.UPSERT if there.digest else Action.DELETE,
                kind=_KIND[repair.kind],
                sealed_key=self._seals.seal_key(entity, key),
                key_hash=key_hash,
                partition=partition_of(key_hash, self._partitions),
                expected_digest=here.digest,
                intended_digest=there.digest,
                authority_position=b"",
                needs_approval=False,
                reason="",
                expires_at_ms=now_ms + _LIFE_MS,
                fence_token=0,
                trace_id=finding_id,
                planned_at_ms=now_ms,
            )
            repair.command_id = command.command_id.hex()
            self._sent[repair.command_id] = self._trust.signed(command)

    def send(self, command_ids: Sequence[str]) -> None:
        """Put commands on their topic, for the first time or again."""
        for command_id_ in command_ids:
            command = self._sent[command_id_]
            self._sink.send(self._topic, command.partition, command.command_id, self._codec.command(command))
        self._sink.flush()
