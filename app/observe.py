"""Every name under which the product can be observed, declared once, with its meaning.

Metrics follow Prometheus' own rules: base units, `_total` on counters, moments as Unix timestamps and not as ages, a
few closed labels and never a key, an offset, an id, a user or the text of an error. Logs have the fields below and no
others, so that no row value can slip into one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from app.core.breaker import Trip
from app.core.canary import KINDS as PLANTED_KINDS
from app.core.canary import Ending, Result
from app.core.canary_proof import Doubt
from app.core.command import DISTRUSTED, RefusalReason
from app.core.conducting import Outcome as SliceOutcome
from app.core.finding import DriftKind, UnknownReason, Verdict


class MetricType(Enum):
    """What a metric counts like."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Label(Enum):
    """The labels that there are. `entity` and `store` have the configured names as values, the others a closed list."""

    ENTITY = "entity"
    STORE = "store"
    VERDICT = "verdict"
    KIND = "kind"
    OUTCOME = "outcome"
    REASON = "reason"
    STATE = "state"
    ROLE = "role"
    VERSION = "version"
    REVISION = "revision"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `values` closes the values of labels that are not configured names."""

    name: str
    type: MetricType
    meaning: str
    labels: tuple[Label, ...] = ()
    values: tuple[tuple[Label, tuple[str, ...]], ...] = ()
    buckets: tuple[float, ...] = ()

    def closed_values(self, label: Label) -> tuple[str, ...] | None:
        """Return the values that a label may have, None where they are configured names."""
        return dict(self.values).get(label)


def _words(words: type[Enum]) -> tuple[str, ...]:
    return tuple(str(word.value) for word in words)


_REJECTIONS: Final = (
    "bad_json",
    "bad_avro",
    "bad_frame",
    "unknown_schema",
    "bad_envelope",
    "no_key",
    "wrong_key",
    "too_large",
    "too_deep",
    "unknown_word",
    "unmappable",
)
_LATENCY_S: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0)
"""The usual contract windows (3, 10, 60 s) are bounds of their own."""
_COUNTER, _GAUGE, _HISTOGRAM = MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM

BUILD_INFO: Final = Metric("driftline_build_info", _GAUGE, "1; which build this is.", (Label.VERSION, Label.REVISION))
EVENTS_CONSUMED: Final = Metric(
    "driftline_events_consumed_total",
    _COUNTER,
    "CDC records that were read and taken further.",
    (Label.STORE, Label.ENTITY),
)
EVENTS_REJECTED: Final = Metric(
    "driftline_events_rejected_total",
    _COUNTER,
    "CDC records that could not be read.",
    (Label.STORE, Label.REASON),
    ((Label.REASON, _REJECTIONS),),
)
EVENTS_QUARANTINED: Final = Metric(
    "driftline_quarantined_events_total",
    _COUNTER,
    "CDC records that were put into quarantine with their bytes.",
    (Label.STORE, Label.REASON),
    ((Label.REASON, _REJECTIONS),),
)
VERDICTS: Final = Metric(
    "driftline_verdicts_total",
    _COUNTER,
    "Verdicts on keys, counted when a verdict becomes another.",
    (Label.ENTITY, Label.VERDICT),
    ((Label.VERDICT, tuple(v.value for v in Verdict)),),
)
KEYS: Final = Metric(
    "driftline_keys",
    _GAUGE,
    "Keys that are not in settled agreement: within their window, drifted, unknown, or with a record in quarantine.",
    (Label.ENTITY, Label.STATE),
    ((Label.STATE, ("in_flight", "drifted", "unknown", "quarantined")),),
)
DRIFTS_OPEN: Final = Metric(
    "driftline_drifts_open",
    _GAUGE,
    "Drifts that are confirmed and neither resolved nor refuted.",
    (Label.ENTITY, Label.KIND),
    ((Label.KIND, _words(DriftKind)),),
)
DRIFTS_TOLERATED: Final = Metric(
    "driftline_drifts_tolerated",
    _GAUGE,
    "Bounds of drift up to which the contract wants no alarm; absent where it tolerates none.",
    (Label.ENTITY, Label.KIND),
    ((Label.KIND, ("open_rows", "open_per_million", "opened_per_hour")),),
)
AGGREGATES: Final = Metric(
    "driftline_aggregates",
    _GAUGE,
    "Aggregates in replicas, by their verdict.",
    (Label.ENTITY, Label.VERDICT),
    ((Label.VERDICT, ("agree", "drift", "unknown")),),
)
AGGREGATE_GROUPS_OPEN: Final = Metric(
    "driftline_aggregate_drifts_open", _GAUGE, "Groups of aggregates whose figure is wrong.", (Label.ENTITY,)
)
UNKNOWN_KEYS: Final = Metric(
    "driftline_unknown_keys",
    _GAUGE,
    "Keys of which nothing is proven.",
    (Label.ENTITY, Label.REASON),
    ((Label.REASON, _words(UnknownReason)),),
)
DETECTION_LATENCY: Final = Metric(
    "driftline_detection_latency_seconds",
    _HISTOGRAM,
    "From the end of a drift's window to its record, on the beacons' clock.",
    (Label.ENTITY,),
    buckets=_LATENCY_S,
)
VERIFIED_THROUGH: Final = Metric(
    "driftline_verified_through_timestamp_seconds",
    _GAUGE,
    "Up to here, on the beacons' clock, every key of the entity has agree or drift.",
    (Label.ENTITY,),
)
SOURCE_POSITION: Final = Metric(
    "driftline_source_position_timestamp_seconds",
    _GAUGE,
    "The watermark of a store, on the beacons' clock: everything up to here has arrived.",
    (Label.STORE,),
)
SOURCE_HEARTBEAT: Final = Metric(
    "driftline_source_heartbeat_timestamp_seconds",
    _GAUGE,
    "Wall-clock time at which the newest beacon of a store was read.",
    (Label.STORE,),
)
STORE_STALLED: Final = Metric(
    "driftline_store_stalled",
    _GAUGE,
    "1 while a store's watermark has not advanced for `stall_after`.",
    (Label.STORE,),
)
BEACONS_WRITTEN: Final = Metric(
    "driftline_beacons_written_total", _COUNTER, "Beacons that a store committed.", (Label.STORE,)
)
BEACONS_FAILED: Final = Metric(
    "driftline_beacons_failed_total",
    _COUNTER,
    "Times that a store could not be read or written for its beacon.",
    (Label.STORE,),
)
BEACON_WRITTEN_AT: Final = Metric(
    "driftline_beacon_written_timestamp_seconds",
    _GAUGE,
    "Wall-clock time at which a store last committed a beacon.",
    (Label.STORE,),
)
BEACON_ROLE: Final = Metric(
    "driftline_beacon_role",
    _GAUGE,
    "1 for the role that this beacon writer has.",
    (Label.ROLE,),
    ((Label.ROLE, ("watching", "writing")),),
)
REPAIRS: Final = Metric(
    "driftline_repairs_total",
    _COUNTER,
    "Repair commands by what became of them.",
    (Label.ENTITY, Label.OUTCOME),
    (
        (
            Label.OUTCOME,
            ("planned", "approved", "refused", "held", "applied", "inverted", "verified", "failed", "reversed"),
        ),
    ),
)
REPAIR_REFUSALS: Final = Metric(
    "driftline_repair_refusals_total",
    _COUNTER,
    "Repair commands that were refused or held, by the first check that said no.",
    (Label.REASON,),
    ((Label.REASON, _words(RefusalReason)),),
)
REHEARSALS: Final = Metric(
    "driftline_rehearsals_total",
    _COUNTER,
    "Commands that were tried and rolled back, by the first check that said no; empty where they would be written.",
    (Label.REASON,),
    ((Label.REASON, ("", *_words(RefusalReason))),),
)
REPAIR_ALARMS: Final = Metric(
    "driftline_repair_alarms_total",
    _COUNTER,
    "Commands and words of people that are not what they claim to be: forged, altered, replayed. Look.",
    (Label.REASON,),
    ((Label.REASON, tuple(sorted(reason.value for reason in DISTRUSTED))),),
)
REPAIR_LATENCY: Final = Metric(
    "driftline_repair_latency_seconds",
    _HISTOGRAM,
    "From a command's reading to its outcome.",
    (Label.ENTITY,),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
BREAKER_TRIPS: Final = Metric(
    "driftline_breaker_trips_total",
    _COUNTER,
    "Times that the applier stopped itself because what it met looked wrong as a whole.",
    (Label.REASON,),
    ((Label.REASON, _words(Trip)),),
)
QUARANTINES: Final = Metric(
    "driftline_quarantines_total",
    _COUNTER,
    "Shards that the applier quarantined because more of their rows drifted than their policy bears.",
    (Label.ENTITY,),
)
SHARDS_QUARANTINED: Final = Metric(
    "driftline_shards_quarantined",
    _GAUGE,
    "Shards where repairs stop until they were read again and an approver has said so.",
    (Label.ENTITY,),
)
REPAIR_PACE: Final = Metric(
    "driftline_repair_pace_ratio",
    _GAUGE,
    "Share of its full rate at which a target is repaired: less while it answers slowly, or what follows it is behind.",
    (Label.STORE,),
)
APPLIER_PAUSED: Final = Metric("driftline_applier_paused", _GAUGE, "1 while the applier writes nothing.")
STATE_BYTES: Final = Metric("driftline_state_bytes", _GAUGE, "Size of the state on disk.")
STATE_RECOVERY: Final = Metric(
    "driftline_state_recovery_seconds",
    _HISTOGRAM,
    "How long it took to bring the state of newly assigned partitions up to date.",
    buckets=(0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0),
)
STATE_RECOVERY_LEFT: Final = Metric(
    "driftline_state_recovery_left_records",
    _GAUGE,
    "Records of the changelog that must be read before the work goes on; 0 while it does.",
)
STATE_COPIES_LEFT: Final = Metric(
    "driftline_state_copies_left_records",
    _GAUGE,
    "Records that the copies of other workers' state lack of what their changelog held when they began to be read; "
    "while there are any, a take-over waits for them.",
)
STATE_REBUILDS: Final = Metric(
    "driftline_state_rebuilds_total",
    _COUNTER,
    "Partitions whose folder was deleted, to be read again from the changelog.",
    (Label.REASON,),
    ((Label.REASON, ("damaged", "foreign")),),  # app.ports.Rebuild
)
DISK_HEADROOM: Final = Metric("driftline_disk_headroom_bytes", _GAUGE, "Free space where the state lives.")

ROWS_REREAD: Final = Metric(
    "driftline_rows_reread_total",
    _COUNTER,
    "Rows of slices that were read again, or should have been.",
    (Label.STORE, Label.ENTITY),
)
SLICES: Final = Metric(
    "driftline_slices_total",
    _COUNTER,
    "Slices of tables that were to be read again, by what became of them.",
    (Label.STORE, Label.ENTITY, Label.OUTCOME),
    ((Label.OUTCOME, _words(SliceOutcome)),),
)
CAPTURE_GAPS: Final = Metric(
    "driftline_capture_gaps_total",
    _COUNTER,
    "Rows of a store that were read and were not as its own log said.",
    (Label.STORE, Label.ENTITY),
)
CANARY_PLANTINGS: Final = Metric(
    "driftline_canary_plantings_total",
    _COUNTER,
    "Drifts that the canary planted in a replica, by kind and by what came of them.",
    (Label.STORE, Label.KIND, Label.OUTCOME),
    ((Label.KIND, tuple(kind.value for kind in PLANTED_KINDS)), (Label.OUTCOME, _words(Result))),
)
CANARY_ENDINGS: Final = Metric(
    "driftline_canary_endings_total",
    _COUNTER,
    "Drifts of the canary's that were told and mended, by whether they were told to be over.",
    (Label.STORE, Label.OUTCOME),
    ((Label.OUTCOME, _words(Ending)),),
)
CANARY_INCONCLUSIVE: Final = Metric(
    "driftline_canary_inconclusive_total",
    _COUNTER,
    "Plantings and endings of the canary's that proved nothing, by why the system could not know.",
    (Label.REASON,),
    ((Label.REASON, (*_words(UnknownReason), *_words(Doubt))),),
)
CANARY_FALSE_ALARMS: Final = Metric(
    "driftline_canary_false_alarms_total",
    _COUNTER,
    "Drifts that were told of the canary's table and that it had not planted.",
    (Label.STORE, Label.KIND),
    ((Label.KIND, _words(DriftKind)),),
)
CANARY_LATENCY: Final = Metric(
    "driftline_canary_detection_latency_seconds",
    _HISTOGRAM,
    "From the end of a planted drift's window to the reading of its record, on the canary's clock.",
    (Label.STORE,),
    buckets=_LATENCY_S,
)

ALL_METRICS: Final[tuple[Metric, ...]] = (
    BUILD_INFO,
    EVENTS_CONSUMED,
    EVENTS_REJECTED,
    EVENTS_QUARANTINED,
    VERDICTS,
    KEYS,
    DRIFTS_OPEN,
    DRIFTS_TOLERATED,
    AGGREGATES,
    AGGREGATE_GROUPS_OPEN,
    UNKNOWN_KEYS,
    DETECTION_LATENCY,
    VERIFIED_THROUGH,
    SOURCE_POSITION,
    SOURCE_HEARTBEAT,
    STORE_STALLED,
    BEACONS_WRITTEN,
    BEACONS_FAILED,
    BEACON_WRITTEN_AT,
    BEACON_ROLE,
    REPAIRS,
    REPAIR_REFUSALS,
    REHEARSALS,
    REPAIR_ALARMS,
    REPAIR_LATENCY,
    BREAKER_TRIPS,
    QUARANTINES,
    SHARDS_QUARANTINED,
    REPAIR_PACE,
    APPLIER_PAUSED,
    STATE_BYTES,
    STATE_RECOVERY,
    STATE_RECOVERY_LEFT,
    STATE_COPIES_LEFT,
    STATE_REBUILDS,
    DISK_HEADROOM,
    ROWS_REREAD,
    SLICES,
    CAPTURE_GAPS,
    CANARY_PLANTINGS,
    CANARY_ENDINGS,
    CANARY_INCONCLUSIVE,
    CANARY_FALSE_ALARMS,
    CANARY_LATENCY,
)


class Meter(Protocol):
    """What the shells count with. Labels are given by name and must be those of the declaration."""

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        ...


class NoMeter:
    """Counts nothing: for tools and tests."""

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Count nothing."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set nothing."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Observe nothing."""


LOG_FIELDS: Final[dict[str, str]] = {
    "ts": "when, UTC, RFC 3339",
    "level": "debug, info, warning, error or critical",
    "event": "what happened, in fixed words",
    "service": "worker, applier, beacon or another command",
    "version": "of the product",
    "instance": "which process of the service",
    "logger": "the library that speaks, where it is not ours",
    "trace_id": "leads from a change to its verification (32 hex digits)",
    "span_id": "one step of a trace",
    "entity": "the contract's entity",
    "store": "the store",
    "target": "the store that is written",
    "key_digest": "keyed hash of a key (hex); never the key",
    "position": "place in a store's log (hex)",
    "contract": "version of the contract",
    "verdict": "agree, wait, drift or unknown",
    "kind": "of a drift",
    "stage": "of a drift's life",
    "drift_id": "of a drift (hex)",
    "repair_id": "of a command (hex)",
    "incident_id": "of an incident (hex)",
    "actor": "the person who acted",
    "decision": "what was decided",
    "reason": "why, a closed word",
    "error_type": "the class of an error",
    "what": "an error's text; errors carry no row value",
    "where": "where an error happened",
    "hint": "what to do",
    "topic": "Kafka topic",
    "partition": "Kafka partition",
    "offset": "Kafka offset",
    "count": "how many",
    "elapsed_ms": "how long it took",
    "left_ms": "how long it will still take at this pace",
    "total": "how many of them there are",
    "again_in_ms": "when it is tried again",
    "epoch": "a beacon writer's epoch",
    "sequence": "a beacon's sequence",
    "role": "what a process does among its kind",
    "port": "where it listens",
    "signal": "that ended it",
    "security": "1 to 5: an event that matters to security, 5 the worst",
    "cwe": "the kind of weakness that it touches",
    "dropped_fields": "fields that a line had and that are not declared",
}
"""Every field of a log line, with its meaning."""
