"""One YAML file per entity becomes an `EntityContract`; every fault of every file is told at once.

The shape (keys, types, bounds) is `app.codec.contract_shape`. Here stands what a shape cannot say: which parameter
belongs to which type, which store exists, what a store can have for a name, and what two contracts may not share.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from app.codec.canary_contract import canary_shape
from app.codec.contract_checks import faults_between, faults_within
from app.codec.contract_shape import (
    NOT_BUILT,
    AggregateShape,
    Authority,
    ComparedField,
    ContractShape,
    Day,
    Element,
    HoursShape,
    KeyPart,
    ReplicaShape,
)
from app.core.contract import (
    Aggregate,
    EntityContract,
    Field,
    FieldType,
    Hours,
    KeyField,
    Measure,
    Pipeline,
    RepairPolicy,
    Replica,
    StoreTable,
    Tolerated,
)
from app.core.hours import minute_of
from app.core.store import StoreKind
from app.declared.document import Node, parse_document, read_document
from app.declared.fault import Fault, Place, Refused
from app.declared.shape import Shaper
from app.settings import Settings, StoreSettings

QUIET_WINDOWS: Final = 10
_UNSAFE_IN_TOPIC: Final = re.compile(r"[^A-Za-z0-9._-]")


def number_of(entity: str) -> int:
    """Return the number under which an entity stands in packed blocks and keys."""
    return int.from_bytes(hashlib.blake2b(entity.encode()).digest()[:4], "big")


def load_contracts(directory: Path, settings: Settings) -> tuple[EntityContract, ...]:
    """Read every `*.yaml` of a folder, in the order of names; raise `Refused` with all faults of all files.

    The canary's contract, which is made from the settings, comes last.
    """
    faults: list[Fault] = []
    loaded: list[tuple[EntityContract, Node]] = []
    paths = sorted(p for p in directory.glob("*") if p.suffix in {".yaml", ".yml"} and p.is_file())
    if not paths:
        what = "holds no contract" if directory.is_dir() else "is not a folder"
        raise Refused([Fault(Place(str(directory)), what, "point contracts_dir at the folder of *.yaml contracts")])
    for path in paths:
        try:
            root = read_document(path)
            loaded.append((contract_of(root, settings.stores), root))
        except Refused as refused:
            faults += refused.faults
    faults += faults_between(loaded)
    canary = canary_shape(settings)
    if canary is not None:
        faults += [
            Fault(root.at("entity"), f'the entity "{canary.entity}" is Driftline\'s own', "choose another name")
            for contract, root in loaded
            if contract.entity == canary.entity
        ]
    if faults:
        raise Refused(faults)
    own = () if canary is None else (_contract(canary, settings.stores),)
    return (*(contract for contract, _ in loaded), *own)


def read_contract(source: str, text: str, stores: Mapping[str, StoreSettings]) -> EntityContract:
    """Read one contract from text; `source` names it in faults."""
    return contract_of(parse_document(source, text.encode()), stores)


def contract_of(root: Node, stores: Mapping[str, StoreSettings]) -> EntityContract:
    """Return the contract that a document declares; raise `Refused` with every fault in it."""
    shaper = Shaper(not_built=NOT_BUILT)
    parts = shaper.parts(ContractShape, root)
    faults = [*shaper.faults, *faults_within(root, parts, stores)]
    if faults:
        raise Refused(faults)
    return _contract(ContractShape(**parts), stores)


def topic_of(prefix: str, table: str) -> str:
    """Return the CDC topic that Debezium derives: characters that a topic cannot have become underscores."""
    return f"{prefix}.{_UNSAFE_IN_TOPIC.sub('_', table)}"


def _contract(shape: ContractShape, stores: Mapping[str, StoreSettings]) -> EntityContract:
    sides: list[Authority | ReplicaShape] = [shape.authority, *shape.replicas]
    names = [side.store for side in sides]
    return EntityContract(
        entity=shape.entity,
        version=shape.version,
        number=number_of(shape.entity),
        key=tuple(
            KeyField(name, _type(part), _columns(name, part, names), _encodings(part))
            for name, part in shape.key.items()
        ),
        fields=tuple(
            Field(
                name=name,
                type=_type(part),
                columns=_columns(name, part, names),
                normalise=tuple(part.normalise),
                large=part.large,
                nullable=part.nullable,
                encodings=_encodings(part),
            )
            for name, part in shape.fields.items()
        ),
        authority=shape.authority.store,
        stores=tuple(
            StoreTable(
                store=side.store,
                table=side.table,
                topic=side.topic or topic_of(stores[side.store].topic_prefix, side.table),
                partitions=side.partitions,
                has_snapshot=stores[side.store].kind is not StoreKind.MONGODB,
            )
            for side in sides
        ),
        replicas=tuple(_replica(replica) for replica in shape.replicas),
        priority=shape.priority,
        aggregates=tuple(_aggregate(name, part) for name, part in shape.aggregates.items()),
        tolerated=None if shape.tolerate is None else Tolerated(**msgspec.structs.asdict(shape.tolerate)),
    )


def _aggregate(name: str, shape: AggregateShape) -> Aggregate:
    measure = Measure.COUNT if shape.count else Measure.SUM if shape.sum else Measure.DISTINCT
    return Aggregate(
        name=name,
        measure=measure,
        field=shape.sum or shape.distinct or "",
        by=tuple(shape.by),
        at=shape.at or "",
        every_ms=shape.every_ms or 0,
        absolute=Decimal(shape.tolerance.absolute),
        percent=Decimal(shape.tolerance.percent),
        entries_max=shape.entries_max,
    )


def _columns(name: str, part: KeyPart | ComparedField, stores: list[str]) -> dict[str, str]:
    return {store: part.columns.get(store, name) for store in stores}


def _encodings(part: KeyPart | ComparedField) -> dict[str, str]:
    return {store: encoding.value for store, encoding in part.encodings.items()}


def _replica(shape: ReplicaShape) -> Replica:
    quiet = shape.window_ms * QUIET_WINDOWS if shape.quiet_for_ms is None else shape.quiet_for_ms
    pipeline = shape.pipeline
    repair = shape.repair
    return Replica(
        store=shape.store,
        window_ms=shape.window_ms,
        quiet_for_ms=quiet,
        pipeline=Pipeline(pipeline.group, pipeline.topic, pipeline.tolerates_foreign_rows) if pipeline else None,
        repair=RepairPolicy(
            mode=repair.mode,
            kinds=repair.kinds,
            columns=repair.columns,
            transform=frozenset(repair.transform),
            upserts=repair.upserts,
            deletes=repair.deletes,
            deletes_wait=repair.deletes_wait,
            mass_rows=repair.mass_rows,
            quarantine_rows=repair.quarantine_rows,
            quarantine_percent=repair.quarantine_percent,
            automatic_per_minute=repair.automatic_per_minute,
            automatic_percent_per_minute=repair.automatic_percent_per_minute,
            allow=tuple(_hours(hours) for hours in repair.allow),
            deny=tuple(_hours(hours) for hours in repair.deny),
            parents=tuple(repair.parents),
            persons=repair.persons,
            approval_life_ms=repair.approval_life_ms,
            rehearsal=repair.rehearsal,
            expires_after_ms=repair.expires_after_ms,
        ),
    )


def _hours(shape: HoursShape) -> Hours:
    days = frozenset(list(Day).index(day) for day in shape.days or Day)
    return Hours(days, minute_of(shape.start), minute_of(shape.end), shape.zone)


def _type(shape: KeyPart | ComparedField | Element) -> FieldType:
    element = shape.element if isinstance(shape, ComparedField) else None
    defaults = FieldType(shape.type)
    return dataclasses.replace(
        defaults,
        scale=shape.scale,
        precision=defaults.precision if shape.precision is None else shape.precision,
        collation=shape.collation.value if shape.collation else defaults.collation,
        zone=shape.zone or defaults.zone,
        element=_type(element) if element else None,
    )
