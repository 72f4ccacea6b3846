"""What the workers told: the topic of drifts, read with the schema that the project ships."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro

from engine_judge.topics import Record

FRAME_BYTES = 5  # a zero byte and the schema's id
OVER = frozenset({"resolved", "verified", "refuted"})


@dataclass(frozen=True, slots=True)
class Told:
    """One record about one row: which drift, in which stage, and what it was judged as."""

    drift_id: bytes
    key_hash: bytes
    stage: str
    kind: str
    deadline_ms: int


@dataclass
class ToldDrift:
    """All records of one id, in the order of the topic. A record sent again is there twice."""

    drift_id: bytes
    key_hash: bytes
    kind: str
    deadline_ms: int
    stages: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether no record says that it is over."""
        return not OVER & set(self.stages)


class Findings:
    """Reads findings; `broken` tells records that contradict others of the same drift."""

    def __init__(self, schema_file: Path) -> None:
        self._schema = fastavro.parse_schema(json.loads(schema_file.read_text(encoding="utf-8")))
        self.drifts: dict[bytes, ToldDrift] = {}
        self.broken: list[str] = []
        self.records = 0

    def read(self, records: Iterable[Record]) -> None:
        """Take in the records of the topic."""
        for record in records:
            if record.value is not None:
                body: Any = fastavro.schemaless_reader(io.BytesIO(record.value[FRAME_BYTES:]), self._schema, None)
                if not body["incident_rows"]:
                    self.take(
                        Told(
                            body["finding_id"],
                            body["key_hash"],
                            body["stage"],
                            body["kind"],
                            body["evidence"]["judged_at_ms"],
                        )
                    )

    def take(self, told: Told) -> None:
        """Take in one record."""
        self.records += 1
        drift = self.drifts.get(told.drift_id)
        if drift is None:
            drift = ToldDrift(told.drift_id, told.key_hash, told.kind, told.deadline_ms)
            self.drifts[told.drift_id] = drift
            if told.stage != "confirmed":
                self.broken.append(f"drift {told.drift_id.hex()} begins with {told.stage}")
        if (told.key_hash, told.kind, told.deadline_ms) != (drift.key_hash, drift.kind, drift.deadline_ms):
            self.broken.append(f"drift {told.drift_id.hex()} is told in two ways")
        drift.stages.append(told.stage)
