"""Our own records between core values and bytes: Avro in the Confluent wire format (zero byte, schema id, body).

A `SchemaBook` says under which id a schema of ours is written and which schema stands behind an id that was read.
Records are read with their writer's schema and resolved to ours, so that a newer writer's added fields do no harm.
"""

from __future__ import annotations

import io
import json
from typing import Any, Final, Protocol

import fastavro

from app.codec import record_fields as fields
from app.codec.schema_files import schema_text
from app.codec.wire import Reason, check_size, frame, undecodable, unframe
from app.core.command import Approval, CommandOutcome, RepairCommand
from app.core.published import Provenance, PublishedFinding, QuarantinedRecord
from app.core.rehearsal import Rehearsal
from app.core.status import StatusReport

Schema = Any
"""A schema as fastavro parsed it."""

FIXED_IDS: Final[dict[str, int]] = {
    "finding": 1,
    "repair_command": 8,
    "approval": 3,
    "outcome": 4,
    "status": 5,
    "quarantine": 6,
    "rehearsal": 7,
}
"""Every schema of ours, and its id in a deployment without a registry. An id is never given to another schema."""

_EARLIER_IDS: Final[dict[int, str]] = {2: "repair_command"}
"""Under which ids earlier versions wrote; their schemas are kept as they were."""

_WHO_WRITES: Final = "who else writes this topic?"
_NOWHERE: Final = Provenance(checker="", checker_version=0)


def own_schema(name: str) -> Schema:
    """Return a shipped schema, parsed."""
    return fastavro.parse_schema(json.loads(schema_text(f"{name}.avsc")))


class SchemaBook(Protocol):
    """Which id a schema has, and which schema an id."""

    def id_of(self, name: str) -> int:
        """Return the id under which our schema `name` is written; `Unready` while the registry cannot say."""
        ...

    def writer_schema(self, schema_id: int) -> Schema:
        """Return the schema behind an id; `Undecodable` if there is none, `Unready` while the registry cannot say."""
        ...


class FixedSchemas:
    """The book of a deployment without a registry: the shipped schemas under constant ids."""

    def __init__(self) -> None:
        self._by_id = {number: own_schema(name) for name, number in FIXED_IDS.items()}
        self._by_id |= {number: own_schema(f"previous/{name}") for number, name in _EARLIER_IDS.items()}

    def id_of(self, name: str) -> int:
        """Return the constant id."""
        return FIXED_IDS[name]

    def writer_schema(self, schema_id: int) -> Schema:
        """Return the shipped schema of that id."""
        try:
            return self._by_id[schema_id]
        except KeyError:
            what = f"schema id {schema_id} is none of ours"
            hint = "was the record written with a registry? then set `registry_url`"
            raise undecodable(Reason.UNKNOWN_SCHEMA, what, hint) from None


class RecordCodec:
    """Encodes and decodes the records of one deployment."""

    def __init__(self, deployment: str, book: SchemaBook) -> None:
        self._deployment = deployment
        self._book = book
        self._own: dict[str, Schema] = {name: own_schema(name) for name in FIXED_IDS}

    def _encode(self, name: str, record: dict[str, object]) -> bytes:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._own[name], record)
        return frame(self._book.id_of(name), body.getvalue())

    def decode(self, name: str, value: bytes | None) -> dict[str, Any]:
        """Return the fields of a record of the schema `name`; `Undecodable` says why it cannot be read."""
        if value is None:
            raise undecodable(Reason.BAD_FRAME, f"a record without value is no {name}", _WHO_WRITES)
        check_size(value)
        schema_id, payload = unframe(value)
        written = self._book.writer_schema(schema_id)
        body = io.BytesIO(payload)
        try:
            record = fastavro.schemaless_reader(body, written, self._own[name])
        except Exception as fault:
            # fastavro raises whatever it stumbles over: hostile bytes are no reason to stop.
            what = f"schema id {schema_id} does not read as {name} ({type(fault).__name__})"
            raise undecodable(Reason.BAD_AVRO, what, _WHO_WRITES) from fault
        if body.read(1) or not isinstance(record, dict):
            raise undecodable(Reason.BAD_AVRO, f"bytes are left over behind the {name}", _WHO_WRITES)
        return record

    def _with_provenance(self, own: dict[str, object], provenance: Provenance) -> dict[str, object]:
        return fields.provenance_fields(self._deployment, provenance) | own

    def finding(self, published: PublishedFinding) -> bytes:
        """Encode a finding; its key goes out sealed, never in plain."""
        return self._encode("finding", {"deployment": self._deployment, **fields.finding_fields(published)})

    def read_finding(self, value: bytes | None) -> PublishedFinding:
        """Decode a finding."""
        return fields.finding_of(self.decode("finding", value))

    def command(self, command: RepairCommand, provenance: Provenance = _NOWHERE) -> bytes:
        """Encode a repair command."""
        return self._encode("repair_command", self._with_provenance(fields.command_fields(command), provenance))

    def read_command(self, value: bytes | None) -> RepairCommand:
        """Decode a repair command."""
        return fields.command_of(self.decode("repair_command", value))

    def approval(self, approval: Approval, provenance: Provenance = _NOWHERE) -> bytes:
        """Encode a person's word."""
        return self._encode("approval", self._with_provenance(fields.approval_fields(approval), provenance))

    def read_approval(self, value: bytes | None) -> Approval:
        """Decode a person's word."""
        return fields.approval_of(self.decode("approval", value))

    def outcome(self, outcome: CommandOutcome, provenance: Provenance = _NOWHERE) -> bytes:
        """Encode what became of a command."""
        return self._encode("outcome", self._with_provenance(fields.outcome_fields(outcome), provenance))

    def read_outcome(self, value: bytes | None) -> CommandOutcome:
        """Decode what became of a command."""
        return fields.outcome_of(self.decode("outcome", value))

    def rehearsal(self, rehearsal: Rehearsal, provenance: Provenance = _NOWHERE) -> bytes:
        """Encode what came of trying a command."""
        return self._encode("rehearsal", self._with_provenance(fields.rehearsal_fields(rehearsal), provenance))

    def read_rehearsal(self, value: bytes | None) -> Rehearsal:
        """Decode what came of trying a command."""
        return fields.rehearsal_of(self.decode("rehearsal", value))

    def status(self, report: StatusReport, provenance: Provenance = _NOWHERE) -> bytes:
        """Encode a status report."""
        return self._encode("status", self._with_provenance(fields.status_fields(report), provenance))

    def read_status(self, value: bytes | None) -> StatusReport:
        """Decode a status report."""
        return fields.status_of(self.decode("status", value))

    def quarantine(self, record: QuarantinedRecord, provenance: Provenance = _NOWHERE) -> bytes:
        """Encode a record that could not be read, cut to what fits a record."""
        told = fields.quarantine_fields(record.bounded())
        return self._encode("quarantine", self._with_provenance(told, provenance))

    def read_quarantine(self, value: bytes | None) -> QuarantinedRecord:
        """Decode a record that could not be read."""
        return fields.quarantine_of(self.decode("quarantine", value))
