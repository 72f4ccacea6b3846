"""What a contract says, as values. Read from YAML by `app.codec.contract_file`; nothing here knows YAML.

Store names are the deployment's; column names are each store's own; field names are the contract's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any

from app.core.limits import AGGREGATE_ENTRIES


class FieldKind(Enum):
    """The canonical types. A type outside this list is refused, never compared as text."""

    BOOL = "bool"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    DECIMAL = "decimal"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    BYTES = "bytes"
    DATE = "date"
    TIME = "time"
    LOCAL_TIMESTAMP = "local_timestamp"
    INSTANT = "instant"
    INTERVAL = "interval"
    UUID = "uuid"
    ENUM = "enum"
    JSON = "json"
    ARRAY = "array"
    INET = "inet"
    BITS = "bits"


@dataclass(frozen=True, slots=True)
class FieldType:
    """A canonical type with its parameters.

    `scale`: digits after the point that a decimal keeps (None: all). `precision`: digits of a second that a time keeps
    (0 to 6). `collation`: `exact`, `trim` (trailing blanks do not count), `ci` (case-insensitive) or `ci_trim`, for
    strings. `zone`: the IANA zone or `UTC` in which a local timestamp is to be read. `element`: the type of an array's
    elements.
    """

    kind: FieldKind
    scale: int | None = None
    precision: int = 6
    collation: str = "exact"
    zone: str = "UTC"
    element: FieldType | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One compared field.

    `columns` maps a store to its column. `normalise` names the pure functions applied in order on every store, `large`
    says that a log may leave the value out (TOAST, NOBLOB): it forms a digest group of its own in every store.
    `encodings` maps a store to what its schemaless records do not tell of the column
    (`app.core.types.canonical.ENCODINGS`), such as `millis` for a PostgreSQL timestamp(3); most columns need none.
    """

    name: str
    type: FieldType
    columns: dict[str, str]
    normalise: tuple[str, ...] = ()
    large: bool = False
    nullable: bool = True
    encodings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyField:
    """One part of the key; its type has a canonical, order-preserving encoding. `encodings` as in `Field`."""

    name: str
    type: FieldType
    columns: dict[str, str]
    encodings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What fills a replica: its consumer group and the topic that it reads, for telling loss from lag."""

    group: str
    topic: str
    tolerates_foreign_rows: bool = False


class RepairMode(Enum):
    """How far repairs of a replica may go."""

    OBSERVE = "observe"  # nothing is planned
    PROPOSE = "propose"  # commands are planned and wait for a person
    APPLY = "apply"  # commands are planned and applied, except those that always wait


class RehearsalRule(Enum):
    """Whether a batch is rehearsed before a person says yes to it."""

    OPTIONAL = "optional"
    REQUIRED = "required"  # a yes that was said before does not count


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of the week: from `start_minute` of each of the days to `end_minute`, of the next day if not after it.

    `days` are 0 (Monday) to 6, `zone` is an IANA zone or `UTC`.
    """

    days: frozenset[int]
    start_minute: int
    end_minute: int
    zone: str = "UTC"


@dataclass(frozen=True)
class RepairPolicy:
    """What may be repaired in one replica, and what waits for a person. `app.core.policy` says how it is read.

    `kinds` and `columns` narrow the mode for kinds of drift and for fields; they never widen it. Deletes wait unless
    `deletes_wait` is switched off; repairs of one incident (a truncated table) or of more than `mass_rows` open drifts
    of an entity wait too. `transform` are the fields whose spelling a person may have aligned (`app.core.transform`).
    A shard is quarantined where more than `quarantine_rows` of its rows, or `quarantine_percent` of them, drift within
    an hour (`app.core.quarantine`). Without a person at most `automatic_per_minute` rows of the
    entity and `automatic_percent_per_minute` of its table are written in a minute. Repairs are made within `allow`
    (always, where it is empty) and never within `deny`. `parents` are the entities whose rows come first
    (`app.core.kinship`). `persons` must say yes, and a yes counts for `approval_life_ms`; `rehearsal` says whether what
    they say yes to must have been tried. `expires_after_ms` is how long a command may be applied.
    """

    mode: RepairMode = RepairMode.OBSERVE
    kinds: Mapping[str, RepairMode] = field(default_factory=dict)
    columns: Mapping[str, RepairMode] = field(default_factory=dict)
    transform: frozenset[str] = frozenset()
    upserts: bool = True
    deletes: bool = False
    deletes_wait: bool = True
    mass_rows: int = 1_000
    quarantine_rows: int | None = None
    quarantine_percent: float | None = None
    automatic_per_minute: int | None = None
    automatic_percent_per_minute: float | None = None
    allow: tuple[Hours, ...] = ()
    deny: tuple[Hours, ...] = ()
    parents: tuple[str, ...] = ()
    persons: int = 1
    approval_life_ms: int = 3_600_000
    rehearsal: RehearsalRule = RehearsalRule.OPTIONAL
    expires_after_ms: int = 3_600_000

    @property
    def text(self) -> str:
        """The policy as JSON, in one form.

        What is at its default is left out: a key that a later version adds gives no policy another name.
        """
        defaults = RepairPolicy()
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        told = {name: value for name, value in values if value != getattr(defaults, name)}
        return json.dumps(told, default=_plain, sort_keys=True)

    @cached_property
    def policy_id(self) -> bytes:
        """What names the policy by its content (16 bytes)."""
        return hashlib.blake2b(self.text.encode(), digest_size=16, person=b"driftline-policy").digest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - a part of a policy that JSON has no form for
    if isinstance(value, Enum):
        return value.value
    return sorted(value) if isinstance(value, frozenset) else asdict(value)


@dataclass(frozen=True, slots=True)
class StoreTable:
    """Where an entity lives in one store: the store's name, the table as the store names it, and its CDC topic.

    `has_snapshot`: a snapshot tells which rows were there when the log began. MongoDB's tells no place in the log, so
    that there a pass over the whole table, read within the log, takes its place.
    """

    store: str
    table: str
    topic: str
    partitions: int = 3
    has_snapshot: bool = True


@dataclass(frozen=True, slots=True)
class Replica:
    """A store that should follow the authority within `window_ms`."""

    store: str
    window_ms: int
    quiet_for_ms: int
    pipeline: Pipeline | None = None
    repair: RepairPolicy = field(default_factory=RepairPolicy)


class Measure(Enum):
    """What an aggregate says of a group of rows."""

    COUNT = "count"
    SUM = "sum"
    DISTINCT = "distinct"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A figure on which the stores should agree for every group of rows.

    `field` is what is summed, or told apart; empty for a count. Rows are grouped by the fields `by` and, where `at`
    names a field that is a time, by the window of `every_ms` in which that falls. A replica's figure may be off by
    `absolute`, or by `percent` of the authority's where that is more. At most `entries_max` groups are held of a store,
    and of what is told apart at most that many values: beyond it the aggregate is unknown.
    """

    name: str
    measure: Measure
    field: str = ""
    by: tuple[str, ...] = ()
    at: str = ""
    every_ms: int = 0
    absolute: Decimal = Decimal(0)
    percent: Decimal = Decimal(0)
    entries_max: int = AGGREGATE_ENTRIES

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it reads of a row."""
        return tuple(dict.fromkeys(name for name in (*self.by, self.at, self.field) if name))


@dataclass(frozen=True, slots=True)
class Tolerated:
    """How much drift of an entity raises no alarm. Each bound that is given must hold; drifts are told all the same.

    `open_rows` bounds how many drifts are open, `open_per_million` how many of a million rows, `opened_per_hour` how
    many were found within the last hour.
    """

    open_rows: int | None = None
    open_per_million: int | None = None
    opened_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class EntityContract:
    """One entity that several stores should agree on. `stores[0]` is the authority's, the others the replicas'."""

    entity: str
    version: int
    number: int
    key: tuple[KeyField, ...]
    fields: tuple[Field, ...]
    authority: str
    stores: tuple[StoreTable, ...]
    replicas: tuple[Replica, ...]
    priority: int = 0  # how much sooner than others it is read again, 0 to 100
    aggregates: tuple[Aggregate, ...] = ()
    tolerated: Tolerated | None = None  # None: no drift is

    def table_of(self, store: str) -> StoreTable:
        """Return where the entity lives in a store; `KeyError` if it does not."""
        for table in self.stores:
            if table.store == store:
                return table
        raise KeyError(store)

    @property
    def large_fields(self) -> tuple[Field, ...]:
        """The fields that a log may leave out, in the contract's order: digest groups 1 to n after the main group 0."""
        return tuple(f for f in self.fields if f.large)
