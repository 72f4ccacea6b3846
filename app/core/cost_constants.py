"""What one record, one row and one worker cost: every constant of the cost model, with its unit and what measures it.

`app.core.cost` computes with them. `driftline bench --json FILE` measures them anew, and `driftline cost --measured
FILE` takes them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.core.store import Converter


@dataclass(frozen=True, slots=True)
class PerFields:
    """Something that grows with the compared fields: `fixed`, and `field` more for each of them."""

    fixed: float
    field: float

    def of(self, fields: int) -> float:
        """Return it for so many fields."""
        return self.fixed + self.field * fields


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured. A record is one change of one store's table; CPU is microseconds of one core.

    Where nothing else is said, `driftline bench --part whole-path` measures it, and the loads are those of its JSON.
    """

    ingest_us: Mapping[Converter, PerFields]
    """CPU of ingest for a record: loads of 10 and 40 columns, less the fold's share."""
    record_bytes: Mapping[Converter, PerFields]
    """Bytes of a record on the wire, compressed by its producer: `input_bytes_per_change` of the same loads."""
    fold_us: float
    """CPU of the fold for a record, uniform keys, `measured_rows` rows in the state."""
    fold_zipf_us: float
    """The same where few keys change most: a load on Zipf keys against the one on uniform keys."""
    measured_rows: int
    """Rows in the state when the two were measured."""
    decade_us: float
    """CPU more for a record with ten times the rows, uniform keys: loads of different `keys`."""
    decade_zipf_us: float
    """The same on Zipf keys."""
    drift_us: float
    """CPU for a drift from its finding to its end, less that of an ordinary change: a load with drifts. As
    shipped an assumption."""
    observation_bytes: float
    """Bytes between the hops for a record: `observations_bytes_per_change`."""
    changelog_bytes: float
    """Bytes of the changelog for a record of a row in two stores, uniform keys: `changelog_bytes_per_change`."""
    changelog_zipf_bytes: float
    """The same on Zipf keys, where one commit holds many changes of one row."""
    state_bytes: float
    """Bytes on disk for a row in two stores, compacted: the slope of `state_bytes_per_key` x `keys`."""
    uncompacted_bytes: float
    """Bytes on disk of RocksDB's log and what it has not compacted yet, whatever the rows: where that line begins. In
    single runs it is 35 to 95 MB, by when RocksDB compacted last."""
    base_bytes: float
    """Resident bytes of a worker that has read next to nothing: `peak_rss_bytes` of a load of some thousand rows."""
    live_row_bytes: float
    """Resident bytes for a row that waits for its verdict: what `peak_rss_bytes` grows by over `base_bytes`, by all
    rows. All of them wait at the end of the bench's stretches, and records that were fetched are counted in."""
    idle_cores: float
    """Cores of a worker to which nothing comes but beacons: where the line through the two loads of `driftline bench
    --part latency` meets no load."""
    recovered_per_s: float
    """Records of the changelog that a second of CPU takes in again: `driftline bench --part recovery`."""
    recovered_records_per_row: float
    """Records that the changelog holds for a row when it is read: Kafka compacts closed segments only."""
    restart_s: float
    """Seconds from a `kill -9` to the next verdict, the state at hand: `driftline bench --part recovery`."""


_JSON_US: Final = PerFields(fixed=18.2, field=2.25)
_JSON_BYTES: Final = PerFields(fixed=30.3, field=45.3)
SHIPPED: Final = Constants(
    ingest_us={Converter.JSON: _JSON_US, Converter.JSON_SCHEMA: _JSON_US, Converter.AVRO: PerFields(32.9, 1.5)},
    record_bytes={
        Converter.JSON: _JSON_BYTES,
        Converter.JSON_SCHEMA: _JSON_BYTES,
        Converter.AVRO: PerFields(26.0, 33.0),
    },
    fold_us=22.2,
    fold_zipf_us=11.4,
    measured_rows=200_000,
    decade_us=5.4,
    decade_zipf_us=11.4,
    drift_us=500.0,
    observation_bytes=40.6,
    changelog_bytes=83.4,
    changelog_zipf_bytes=59.2,
    state_bytes=70.0,
    uncompacted_bytes=56e6,
    base_bytes=120e6,
    live_row_bytes=1_690.0,
    idle_cores=0.06,
    recovered_per_s=338_000.0,
    recovered_records_per_row=3.0,
    restart_s=3.0,
)
