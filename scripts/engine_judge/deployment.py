"""What the judge is told: where the broker is, which topics to read, which keys the digests were made with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "judged.json"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One entity in two stores, its authority in PostgreSQL and its replica in MariaDB, as the drill made it."""

    bootstrap: str
    name: str
    entity: str
    contract_version: int
    authority_topic: str
    replica_topic: str
    authority_beacons: str
    replica_beacons: str
    window_ms: int
    partitions: int
    digest_key_file: str
    finding_schema_file: str

    @property
    def group(self) -> str:
        """The consumer group of the workers, named by the format of their state."""
        return f"{self.name}-worker-1"

    @property
    def changelog(self) -> str:
        """The changelog of the workers' table."""
        return f"{self.group}-state-changelog"

    @property
    def observations(self) -> str:
        """The topic between the two hops."""
        return f"{self.name}.observations.v1"

    @property
    def drifts(self) -> str:
        """The topic of findings."""
        return f"{self.name}.drifts.v1"

    @property
    def change_topics(self) -> tuple[str, ...]:
        """Every topic of changes that the drill writes."""
        return (self.authority_topic, self.replica_topic, self.authority_beacons, self.replica_beacons)

    def write(self, folder: Path) -> None:
        """Write it where `read` finds it."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Deployment:
        """Read what `write` wrote."""
        return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
