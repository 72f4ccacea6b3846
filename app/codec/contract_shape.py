"""The shape of a contract's YAML. `schemas/contract.schema.json` is made from these types, with what they mean."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from app.core.contract import FieldKind, RehearsalRule, RepairMode, RepairPolicy
from app.core.limits import AGGREGATE_ENTRIES, APPROVAL_LIFE_MS_MAX

WINDOW_MS_MAX: Final = 86_400_000
QUIET_MS_MAX: Final = 10 * WINDOW_MS_MAX


class Collation(Enum):
    """Which texts are the same: `exact` ones, or also without trailing blanks, without case, or without both."""

    EXACT = "exact"
    TRIM = "trim"
    CI = "ci"
    CI_TRIM = "ci_trim"


class Encoding(Enum):
    """What a store's schemaless records do not tell of a column."""

    SECONDS = "seconds"
    MILLIS = "millis"
    MICROS = "micros"
    NANOS = "nanos"
    UTC = "utc"
    BITS = "bits"
    HEX = "hex"


_KIND = "the canonical type: " + ", ".join(kind.value for kind in FieldKind)
_DEFAULTS: Final = RepairPolicy()

Kind = Annotated[FieldKind, Meta(description=_KIND)]
Scale = Annotated[int, Meta(ge=0, le=38, description="digits after the point that a decimal keeps, 0 to 38")] | None
Precision = Annotated[int, Meta(ge=0, le=6, description="digits of a second that a time keeps, 0 to 6")] | None
CollationOf = Annotated[Collation, Meta(description="for strings: exact, trim, ci or ci_trim")] | None
Zone = (
    Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="the IANA zone in which a column without zone is read, as Europe/Zurich",
        ),
    ]
    | None
)
Columns = Annotated[dict[str, str], Meta(description="store: column, where the column is not named as the field")]
Encodings = Annotated[
    dict[str, Encoding],
    Meta(description="store: encoding, where the log's records do not tell it, as millis for a timestamp(3)"),
]
Table = Annotated[str, Meta(min_length=3, max_length=200, description="as schema.table or database.table")]
Topic = (
    Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9._-]{1,249}\Z", description="the CDC topic; without it <topic_prefix>.<table>"),
    ]
    | None
)
Partitions = Annotated[int, Meta(ge=1, le=10_000, description="the partitions of the CDC topic")]
StoreName = Annotated[str, Meta(min_length=1, max_length=40, description="a store of driftline.yaml")]
Milliseconds = Annotated[int, Meta(ge=0, le=WINDOW_MS_MAX)]


class Element(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The type of an array's elements."""

    type: Kind
    scale: Scale = None
    precision: Precision = None
    collation: CollationOf = None
    zone: Zone = None


class KeyPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part of the key."""

    type: Kind
    scale: Scale = None
    precision: Precision = None
    collation: CollationOf = None
    zone: Zone = None
    columns: Columns = {}
    encodings: Encodings = {}


class ComparedField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One compared field."""

    type: Kind
    scale: Scale = None
    precision: Precision = None
    collation: CollationOf = None
    zone: Zone = None
    element: Annotated[Element | None, Meta(description="the type of an array's elements")] = None
    columns: Columns = {}
    encodings: Encodings = {}
    normalise: Annotated[list[str], Meta(max_length=8, description="pure functions, applied in this order")] = []
    large: Annotated[bool, Meta(description="true if a log may leave the value out (TOAST, NOBLOB)")] = False
    nullable: Annotated[bool, Meta(description="false if the value is never NULL")] = True


class Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The store that is right."""

    store: StoreName
    table: Table
    topic: Topic = None
    partitions: Partitions = 3


class PipelineShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What fills a replica; with it, loss is told from lag by its committed offsets."""

    group: Annotated[str, Meta(min_length=1, max_length=249, description="the pipeline's consumer group")]
    topic: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}\Z", description="the topic that it reads for this entity")
    ]
    tolerates_foreign_rows: Annotated[
        bool, Meta(description="true if the pipeline does not mind rows that it did not write")
    ] = False


class Day(Enum):
    """A day of the week."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


Clock = Annotated[
    str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z", description='a time of day in quotes, as "08:30"')
]


class HoursShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the week. An end that is not after the start is on the next day."""

    start: Clock
    end: Clock
    days: Annotated[list[Day], Meta(max_length=7, description="mon to sun; without it every day")] = []
    zone: Annotated[
        str, Meta(min_length=1, max_length=64, description="the IANA zone of the times, as Europe/Zurich")
    ] = "UTC"


class Repair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be repaired in a replica, and what waits for a person."""

    mode: Annotated[
        RepairMode, Meta(description="observe: nothing is planned; propose: all waits for approval; apply: what may go")
    ] = _DEFAULTS.mode
    kinds: Annotated[
        dict[str, RepairMode], Meta(description="kind of drift: a stricter mode for it, as extra: propose")
    ] = {}
    columns: Annotated[
        dict[str, RepairMode],
        Meta(description="field: a stricter mode wherever it would be written, as amount: propose"),
    ] = {}
    transform: Annotated[
        list[str],
        Meta(
            max_length=1_000,
            description="fields whose spelling `driftline transform` may align to the authority's",
        ),
    ] = []
    upserts: Annotated[bool, Meta(description="may rows be inserted and updated")] = _DEFAULTS.upserts
    deletes: Annotated[bool, Meta(description="may rows be deleted")] = _DEFAULTS.deletes
    deletes_wait: Annotated[bool, Meta(description="do deletes wait for `driftline approve`")] = _DEFAULTS.deletes_wait
    mass_rows: Annotated[
        int, Meta(ge=1, le=1_000_000_000, description="open drifts beyond which every repair waits for approval")
    ] = _DEFAULTS.mass_rows
    quarantine_rows: (
        Annotated[
            int, Meta(ge=1, le=1_000_000, description="rows of one shard that drift in an hour, beyond which it stops")
        ]
        | None
    ) = None
    quarantine_percent: (
        Annotated[
            float,
            Meta(ge=0, le=100, description="per cent of a shard's rows that drift in an hour, beyond which it stops"),
        ]
        | None
    ) = None
    automatic_per_minute: (
        Annotated[int, Meta(ge=0, le=1_000_000, description="rows a minute that are written without a person")] | None
    ) = None
    automatic_percent_per_minute: (
        Annotated[
            float,
            Meta(ge=0, le=100, description="per cent of the table a minute beyond which repairs wait for approval"),
        ]
        | None
    ) = None
    allow: Annotated[
        list[HoursShape], Meta(max_length=20, description="the hours in which repairs are made; without it always")
    ] = []
    deny: Annotated[
        list[HoursShape], Meta(max_length=20, description="the hours in which none are made, whatever else allows it")
    ] = []
    parents: Annotated[
        list[str], Meta(max_length=20, description="entities whose rows are written before this one's")
    ] = []
    persons: Annotated[int, Meta(ge=1, le=2, description="how many persons must approve")] = _DEFAULTS.persons
    approval_life_ms: Annotated[
        int, Meta(ge=1_000, le=APPROVAL_LIFE_MS_MAX, description="milliseconds for which an approval counts")
    ] = _DEFAULTS.approval_life_ms
    rehearsal: Annotated[
        RehearsalRule, Meta(description="required: a batch must be rehearsed before a person says yes to it")
    ] = _DEFAULTS.rehearsal
    expires_after_ms: Annotated[
        int, Meta(ge=1_000, le=WINDOW_MS_MAX * 7, description="milliseconds in which a command may be applied")
    ] = _DEFAULTS.expires_after_ms


class ReplicaShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A store that should follow the authority."""

    store: StoreName
    table: Table
    window_ms: Annotated[
        int,
        Meta(ge=0, le=WINDOW_MS_MAX, description="milliseconds in which a change has to arrive; 0: at once"),
    ]
    topic: Topic = None
    partitions: Partitions = 3
    quiet_for_ms: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=QUIET_MS_MAX,
                description="milliseconds after which a missing change counts as lost; without it 10 windows",
            ),
        ]
        | None
    ) = None
    pipeline: Annotated[PipelineShape | None, Meta(description="what fills the replica")] = None
    repair: Annotated[Repair, Meta(description="without it nothing is repaired")] = Repair()


Decimals = Annotated[
    str, Meta(pattern=r"^[0-9]{1,30}(\.[0-9]{1,38})?\Z", description='a number in quotes, as "0.01"; it is exact')
]


class AggregateTolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By how much a replica's figure may be off: the larger of the two."""

    absolute: Decimals = "0"
    percent: Decimals = "0"


class AggregateShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure on which the stores should agree for every group of rows: one of count, sum and distinct."""

    count: Annotated[bool, Meta(description="true: how many rows there are")] = False
    sum: Annotated[str, Meta(description="the field that is summed")] | None = None
    distinct: Annotated[str, Meta(description="the field whose different values are counted")] | None = None
    by: Annotated[list[str], Meta(max_length=8, description="fields: each of their values is a group")] = []
    at: Annotated[str, Meta(description="a field that is a time: each window of it is a group")] | None = None
    every_ms: (
        Annotated[int, Meta(ge=1_000, le=WINDOW_MS_MAX * 366, description="milliseconds of such a window")] | None
    ) = None
    tolerance: Annotated[AggregateTolerance, Meta(description="without it the figures must be the same")] = (
        AggregateTolerance()
    )
    entries_max: Annotated[
        int, Meta(ge=1, le=1_000_000, description="groups (or values told apart) that are held; of more, it is unknown")
    ] = AGGREGATE_ENTRIES


Rows = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Tolerate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much drift raises no alarm. Each bound that is given must hold; every drift is told all the same."""

    open_rows: Annotated[Rows, Meta(description="drifts that may be open")] | None = None
    open_per_million: (
        Annotated[int, Meta(ge=0, le=1_000_000, description="of a million rows, those whose drift may be open")] | None
    ) = None
    opened_per_hour: Annotated[Rows, Meta(description="drifts that may have been found within an hour")] | None = None


class ContractShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contract: one entity that several stores should agree on."""

    entity: Annotated[
        str,
        Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z", description="the entity's name: lower-case letters, digits and _"),
    ]
    version: Annotated[
        int, Meta(ge=1, le=2_000_000_000, description="a number from 1; raise it whenever the meaning changes")
    ]
    authority: Annotated[Authority, Meta(description="the store that is right: store and table")]
    replicas: Annotated[
        list[ReplicaShape], Meta(min_length=1, max_length=16, description="the stores that should follow it")
    ]
    key: Annotated[
        dict[str, KeyPart], Meta(min_length=1, max_length=16, description="the parts of the key by name, in order")
    ]
    fields: Annotated[
        dict[str, ComparedField], Meta(min_length=1, max_length=1_000, description="the compared fields by name")
    ]
    description: Annotated[str, Meta(max_length=2_000, description="for people")] = ""
    priority: Annotated[
        int, Meta(ge=0, le=100, description="how much sooner than others its rows are read again by the conductor")
    ] = 0
    aggregates: Annotated[
        dict[str, AggregateShape], Meta(max_length=32, description="figures over groups of rows, by name")
    ] = {}
    tolerate: Annotated[Tolerate | None, Meta(description="how much drift raises no alarm; without it none")] = None


NOT_BUILT: Final[dict[str, str]] = {
    "tolerance": "remove it and compare the field exactly, or leave the field out of the contract",
    "tolerances": "remove it and compare the fields exactly, or leave them out of the contract",
    "shard_key": "remove it; rows are spread by their keys",
    "rate": "say under tolerate how much drift raises no alarm",
    "authority": "remove it; one store is the authority for the whole entity",
}
"""Keys that the design has and this version has not, with what to do without them."""


def contract_schema() -> dict[str, Any]:
    """Return the JSON Schema of a contract (draft 2020-12), for editors."""
    schema = msgspec.json.schema(ContractShape)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Driftline contract"}
    made: dict[str, Any] = _with_plain_patterns({**head, **schema})
    return made


def _with_plain_patterns(part: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Write the end of a pattern as JSON Schema has it, where a dollar sign never stands before a last line end."""
    if isinstance(part, dict):
        return {
            key: value.replace(r"\Z", "$")
            if key == "pattern" and isinstance(value, str)
            else _with_plain_patterns(value)
            for key, value in part.items()
        }
    return [_with_plain_patterns(item) for item in part] if isinstance(part, list) else part
