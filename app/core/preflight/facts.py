"""What adapters tell of databases, connectors and topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ColumnFact:
    """A column as the catalogue has it.

    `type` is PostgreSQL's own name (`int8`, `varchar`, `timestamptz`; an array has its element's, with `is_array`) or
    MariaDB's and MySQL's DATA_TYPE (`bigint`, `longtext`). `length` counts characters or bits, `precision` the digits
    of a second or of a number; None where the type has no bound. `is_case_blind` tells that its collation holds letters
    of both cases equal.
    """

    name: str
    type: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    is_unsigned: bool = False
    is_nullable: bool = True
    has_default: bool = False
    is_generated: bool = False
    is_array: bool = False
    is_enum: bool = False
    is_case_blind: bool = False
    charset: str = ""


@dataclass(frozen=True, slots=True)
class TableFact:
    """A table as the catalogue has it; `replica_identity` and what is published are PostgreSQL's, `engine` is not."""

    table: str
    columns: tuple[ColumnFact, ...]
    primary_key: tuple[str, ...]
    replica_identity: str = ""  # d: primary key, f: whole row, n: nothing, i: an index
    engine: str = ""
    is_transactional: bool = True
    is_published: bool = True
    published_columns: tuple[str, ...] | None = None  # None: all
    has_row_filter: bool = False

    def column(self, name: str) -> ColumnFact | None:
        """Return a column by its name."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class PublicationFact:
    """What a publication of PostgreSQL lets through."""

    name: str
    inserts: bool
    updates: bool
    deletes: bool
    truncates: bool


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """One database: server settings by lower-case name, the tables asked for that exist, and the publication if any.

    `functions` are PostgreSQL's that are named as Driftline's own, with their schema.
    """

    settings: Mapping[str, str]
    tables: Mapping[str, TableFact]
    publication: PublicationFact | None = None
    functions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """One store of MongoDB: the collections asked for that exist, and whether each keeps pre- and post-images."""

    has_change_streams: bool
    has_images: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class ConnectorFacts:
    """A connector as Connect's REST API tells it; `config` holds references to secrets, never secrets.

    `exactly_once_refusal` is what Connect says against exactly-once support under this configuration: the worker's own
    setting can be told by no other way. Empty where it says nothing.
    """

    name: str
    config: Mapping[str, str]
    state: str = "RUNNING"
    task_states: tuple[str, ...] = ("RUNNING",)
    exactly_once_refusal: str = ""

    @property
    def requires_exactly_once(self) -> bool:
        """Whether Connect must refuse to run it otherwise."""
        return self.config.get("exactly.once.support", "requested").lower() == "required"


@dataclass(frozen=True, slots=True)
class TopicFact:
    """A topic of Kafka and its own settings."""

    name: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)
