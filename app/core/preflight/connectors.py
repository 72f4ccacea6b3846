"""Whether a Debezium source connector tells the whole truth, by its configuration.

A setting that is absent has Debezium's default, and some defaults lie: truncates are skipped, NULL becomes the default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from app.core.contract import EntityContract, FieldKind
from app.core.preflight.databases import OWN_TABLES, StoreUnderCheck
from app.core.preflight.facts import ConnectorFacts
from app.core.preflight.problems import Found, Problem
from app.core.store import Converter, StoreKind

DEFAULT_PLACEHOLDER: Final = "__debezium_unavailable_value"
_CLASS_WORD: Final = {
    StoreKind.POSTGRES: "postgres",
    StoreKind.MARIADB: "mariadb",
    StoreKind.MYSQL: "mysql",
    StoreKind.MONGODB: "mongodb",
}
_HARMLESS_TRANSFORMS: Final = frozenset({"InsertHeader", "DropHeaders"})
_ALTERING: Final = re.compile(
    r"column\.(mask|truncate)\..*|message\.key\.columns|.*\.delete\.handling\.mode|field\.renames"
)
_SNAPSHOT_PART: Final = re.compile(r"snapshot\.(select\.statement\.overrides|include\.collection\.list)")
_WHOLE_UPDATES: Final = frozenset({"change_streams_update_full", "change_streams_update_full_with_pre_image"})
# Where the server tells it (from MongoDB 6 on), Debezium puts this in place of the seconds of the log's own time.
_BY_CLUSTER_TIME: Final = [{"$set": {"wallTime": {"$toDate": "$clusterTime"}}}]
_DROPPING: Final = (
    ("event.processing.failure.handling.mode", "fail", {"skip", "warn", "ignore"}),
    ("inconsistent.schema.handling.mode", "fail", {"skip", "warn"}),
    ("errors.tolerance", "none", {"all"}),
)
_CHUNK_ROWS: Final = 1_024  # of an incremental snapshot, by default
_SNAPSHOTS: Final = frozenset({"initial", "always", "when_needed"})
_SECRET: Final = re.compile(r".*(password|passphrase|secret|sasl\.jaas\.config)$")
_REFERENCE: Final = re.compile(r"\$\{[^}]*\}")


def connector_problems(
    store: StoreUnderCheck, facts: ConnectorFacts, prefix: str, placeholder: str, contracts: Iterable[EntityContract]
) -> Iterator[Found]:
    """Find what is wrong with a store's connector. `placeholder` is the deployment's own; empty: not known."""
    concerned = [c for c in contracts if any(table.store == store.name for table in c.stores)]
    rules = _Rules(store, facts, concerned)
    yield from rules.state()
    yield from rules.identity(prefix)
    yield from rules.converters()
    yield from rules.changes()
    yield from rules.log()
    yield from rules.modes()
    yield from rules.placeholder(placeholder)
    yield from rules.captured()


def is_listed(value: str, name: str) -> bool:
    """Tell whether a name is matched by a list of expressions as Debezium matches: whole, in any case."""
    for expression in re.split(r"(?<!\\),", value):
        text = expression.strip()
        if not text:
            continue
        try:
            if re.fullmatch(text, name, re.IGNORECASE):
                return True
        except re.error:  # an expression of Java that Python does not know
            if text.lower() == name.lower():
                return True
    return False


def _stages(pipeline: str) -> object:
    """Return the stages of a pipeline; None where it is no JSON."""
    try:
        return json.loads(pipeline)
    except ValueError:
        return None


class _Rules:
    """The rules for one connector; each method is one group of them."""

    def __init__(self, store: StoreUnderCheck, facts: ConnectorFacts, contracts: list[EntityContract]) -> None:
        self.store = store
        self.facts = facts
        self.config: Mapping[str, str] = facts.config
        self.contracts = contracts
        self.where = f"connector {facts.name}"
        self.is_binlog = store.kind in {StoreKind.MARIADB, StoreKind.MYSQL}

    def found(self, problem: Problem, setting: str, default: str = "not set") -> Found:
        """Return a problem with a setting, and what it is set to."""
        return Found(problem, self.where, f"{setting} is {self.config.get(setting, default)}")

    def state(self) -> Iterator[Found]:
        """Tell whether it runs."""
        states = (self.facts.state, *self.facts.task_states)
        if "FAILED" in states or not self.facts.task_states:
            yield Found(Problem.CONNECTOR_FAILED, self.where, ", ".join(states))
        elif any(state in {"PAUSED", "STOPPED"} for state in states):
            yield Found(Problem.CONNECTOR_PAUSED, self.where, ", ".join(states))

    def identity(self, prefix: str) -> Iterator[Found]:
        """Tell whether it is the store's connector."""
        if _CLASS_WORD[self.store.kind] not in self.config.get("connector.class", "").lower():
            yield self.found(Problem.CONNECTOR_CLASS, "connector.class")
        if self.config.get("topic.prefix") != prefix:
            yield self.found(Problem.CONNECTOR_PREFIX, "topic.prefix")
        for name, value in self.config.items():
            if _SECRET.fullmatch(name) and value and not _REFERENCE.search(value):
                yield Found(Problem.SECRET_IN_CONFIG, self.where, name)

    def converters(self) -> Iterator[Found]:
        """Tell whether records are written as they will be read."""
        for side in ("key", "value"):
            name = f"{side}.converter"
            class_name = self.config.get(name, "")
            if not class_name:
                yield Found(Problem.CONVERTER_INHERITED, self.where, name)
            elif self._converter_of(name, class_name) is not self.store.converter:
                yield self.found(Problem.CONNECTOR_CONVERTER, name)
        value = self.config.get("value.converter", "")
        if value.endswith("JsonConverter") or not value:
            setting = "value.converter.replace.null.with.default"
            if self.config.get(setting, "true").lower() != "false":
                yield self.found(Problem.REPLACES_NULL, setting, "true by default")
        else:
            yield Found(Problem.REPLACES_NULL_ALWAYS, self.where, value)

    def _converter_of(self, name: str, class_name: str) -> Converter | None:
        if class_name.endswith("JsonConverter"):
            has_schema = self.config.get(f"{name}.schemas.enable", "true").lower() == "true"
            return Converter.JSON_SCHEMA if has_schema else Converter.JSON
        return Converter.AVRO if class_name.endswith("AvroConverter") else None

    def changes(self) -> Iterator[Found]:
        """Tell whether every change comes, once, and from the beginning."""
        if self.config.get("skipped.operations", "t").strip() != "none":
            yield self.found(Problem.SKIPS_OPERATIONS, "skipped.operations", "t by default: truncates are skipped")
        yield from self._alterations()
        for name, default, bad in _DROPPING:
            if self.config.get(name, default).lower() in bad:
                yield self.found(Problem.DROPS_EVENTS, name)
        converting = "event.converting.failure.handling.mode"
        if self.store.kind is not StoreKind.MONGODB and self.config.get(converting, "warn").lower() != "fail":
            yield self.found(Problem.NULL_FOR_FAULT, converting, "warn by default")
        if not self.facts.requires_exactly_once:
            yield self.found(Problem.NOT_EXACTLY_ONCE, "exactly.once.support", "not required by default")
        elif self.facts.exactly_once_refusal:
            yield Found(Problem.NOT_EXACTLY_ONCE, self.where, self.facts.exactly_once_refusal)
        yield from self._snapshots()
        channels = self.config.get("signal.enabled.channels", "source")
        if "signal.data.collection" not in self.config or "source" not in channels:
            yield self.found(Problem.NO_SIGNALS, "signal.data.collection")
        chunk = "incremental.snapshot.chunk.size"
        size = self.config.get(chunk, "")
        if self.store.slice_rows > (int(size) if size.isdecimal() else _CHUNK_ROWS):
            yield self.found(Problem.SMALL_CHUNKS, chunk, f"{_CHUNK_ROWS} by default")

    def _snapshots(self) -> Iterator[Found]:
        if self.store.kind is StoreKind.MONGODB:
            if self.config.get("snapshot.mode", "initial") != "no_data":
                yield self.found(Problem.INITIAL_READ, "snapshot.mode", "initial by default")
        elif self.config.get("snapshot.mode", "initial") not in _SNAPSHOTS:
            yield self.found(Problem.NO_SNAPSHOT, "snapshot.mode")
        for name in filter(_SNAPSHOT_PART.fullmatch, sorted(self.config)):
            yield self.found(Problem.NO_SNAPSHOT, name)

    def _alterations(self) -> Iterator[Found]:
        for alias in filter(None, (a.strip() for a in self.config.get("transforms", "").split(","))):
            class_name = self.config.get(f"transforms.{alias}.type", "")
            if class_name.partition("$")[0].rpartition(".")[2] not in _HARMLESS_TRANSFORMS:
                yield Found(Problem.ALTERS_VALUES, self.where, f"transform {alias}: {class_name or 'of no type'}")
        for name in sorted(self.config):
            if _ALTERING.fullmatch(name):
                yield Found(Problem.ALTERS_VALUES, self.where, name)

    def log(self) -> Iterator[Found]:
        """Tell whether it reads all of its store's log, and notices where it cannot."""
        match self.store.kind:
            case StoreKind.POSTGRES:
                yield from self._slot()
            case StoreKind.MONGODB:
                if self.config.get("capture.mode", "change_streams_update_full") not in _WHOLE_UPDATES:
                    yield self.found(Problem.LOOKED_UP, "capture.mode")
                elif self.config.get("capture.mode.full.update.type", "lookup") != "post_image":
                    yield self.found(Problem.LOOKED_UP, "capture.mode.full.update.type", "lookup by default")
                if _stages(self.config.get("cursor.pipeline", "")) != _BY_CLUSTER_TIME:
                    yield self.found(Problem.ORDERED_BY_CLOCK, "cursor.pipeline")
            case _:
                for name in ("gtid.source.includes", "gtid.source.excludes"):
                    if self.config.get(name):
                        yield self.found(Problem.GTID_FILTERED, name)

    def _slot(self) -> Iterator[Found]:
        """A slot that stands behind what was delivered must be an error of the connector, for nothing else tells."""
        seeks = self.config.get("slot.seek.to.known.offset.on.start", "false").lower() == "true"
        strategy = self.config.get("offset.mismatch.strategy", "trust_offset" if seeks else "no_validation")
        if strategy.lower() != "trust_offset":
            yield self.found(Problem.SLOT_UNGUARDED, "offset.mismatch.strategy", "no_validation by default")
        if self.config.get("lsn.flush.mode", "connector").lower() == "connector_and_driver":
            yield self.found(Problem.SLOT_UNGUARDED, "lsn.flush.mode")
        if self.config.get("slot.drop.on.stop", "false").lower() == "true":
            yield self.found(Problem.SLOT_UNGUARDED, "slot.drop.on.stop")

    def modes(self) -> Iterator[Found]:
        """Tell whether values come in the form in which they are read."""
        if self.store.kind is StoreKind.MONGODB:
            return
        decimals = self.config.get("decimal.handling.mode", "precise")
        allowed = {"string"} if self.store.converter is Converter.JSON else {"string", "precise"}
        if decimals not in allowed:
            yield self.found(Problem.DECIMAL_MODE, "decimal.handling.mode", "precise by default")
        if self.config.get("time.precision.mode", "adaptive") != "adaptive_time_microseconds":
            yield self.found(Problem.TIME_MODE, "time.precision.mode", "adaptive by default")
        kinds = {f.type.kind for contract in self.contracts for f in contract.fields}
        if FieldKind.INTERVAL in kinds and self.config.get("interval.handling.mode", "numeric") != "string":
            yield self.found(Problem.INTERVAL_MODE, "interval.handling.mode", "numeric by default")
        yield from self._binary_mode()
        if self.is_binlog:
            uses_uint64 = FieldKind.UINT64 in kinds or any(
                part.type.kind is FieldKind.UINT64 for contract in self.contracts for part in contract.key
            )
            if uses_uint64 and self.config.get("bigint.unsigned.handling.mode", "long") != "precise":
                yield self.found(Problem.UNSIGNED_MODE, "bigint.unsigned.handling.mode", "long by default")
            if self.config.get("enable.time.adjuster", "true").lower() != "false":
                yield self.found(Problem.TIME_ADJUSTED, "enable.time.adjuster", "true by default")

    def _binary_mode(self) -> Iterator[Found]:
        mode = self.config.get("binary.handling.mode", "bytes")
        if mode == "bytes":
            return
        # PostgreSQL's connector sends NULL for large bytes that an update left untouched, unless sent as bytes.
        loses_large = self.store.kind is StoreKind.POSTGRES
        for contract in self.contracts:
            for f in contract.fields:
                told = mode == "base64" or (mode == "hex" and f.encodings.get(self.store.name) == "hex")
                if f.type.kind is FieldKind.BYTES and not (told and not (f.large and loses_large)):
                    yield Found(
                        Problem.BINARY_MODE, self.where, f"binary.handling.mode is {mode}: {contract.entity}.{f.name}"
                    )

    def placeholder(self, ours: str) -> Iterator[Found]:
        """Tell whether the text for a value left out is one that no row holds by chance."""
        if self.store.kind is StoreKind.MONGODB:
            return
        text = self.config.get("unavailable.value.placeholder", DEFAULT_PLACEHOLDER)
        if _REFERENCE.fullmatch(text):
            return  # Connect does not tell what a reference stands for
        if text == DEFAULT_PLACEHOLDER:
            yield Found(Problem.PLACEHOLDER, self.where, "it is Debezium's default, a text like any other")
        elif ours and text != ours:
            yield Found(Problem.PLACEHOLDER, self.where, "it is not the deployment's own")

    def captured(self) -> Iterator[Found]:
        """Tell whether our own tables and the contracts' are captured whole, and before-images are not."""
        own = self.store.own_schema
        for table in OWN_TABLES[:3]:
            if not self._is_captured(f"{own}.{table}"):
                yield Found(Problem.NOT_CAPTURED, self.where, f"table {own}.{table}")
        if self._is_captured(f"{own}.driftline_ledger") and self._has_column(f"{own}.driftline_ledger.before_image"):
            yield Found(Problem.BEFORE_IMAGE_CAPTURED, self.where)
        for contract in self.contracts:
            table = contract.table_of(self.store.name).table
            if not self._is_captured(table):
                yield Found(Problem.NOT_CAPTURED, self.where, f"table {table}")
            columns = [f.columns[self.store.name] for f in contract.fields]
            columns += [part.columns[self.store.name] for part in contract.key]
            for column in columns:
                if not self._has_column(f"{table}.{column}"):
                    yield Found(Problem.LEAVES_COLUMN_OUT, self.where, f"column {table}.{column}")

    def _is_captured(self, table: str) -> bool:
        above = table.partition(".")[0]
        whole = "collection" if self.store.kind is StoreKind.MONGODB else "table"
        lists = [(whole, table), ("schema" if self.store.kind is StoreKind.POSTGRES else "database", above)]
        return all(self._passes(kind, name) for kind, name in lists)

    def _has_column(self, column: str) -> bool:
        return self._passes("field" if self.store.kind is StoreKind.MONGODB else "column", column)

    def _passes(self, kind: str, name: str) -> bool:
        include = self.config.get(f"{kind}.include.list", "")
        exclude = self.config.get(f"{kind}.exclude.list", "")
        return (not include or is_listed(include, name)) and not (exclude and is_listed(exclude, name))
