"""What is wrong with a contract beyond its shape: within one, and between two.

Every check works on the parts whose shape is right, so that one mistake hides no other.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.codec.aggregate_checks import aggregate_faults
from app.codec.contract_shape import ComparedField, Element, KeyPart, Repair, ReplicaShape
from app.core.canonical_key import KEY_KINDS
from app.core.contract import EntityContract, FieldKind, FieldType, RepairMode
from app.core.errors import ContractViolation
from app.core.finding import DriftKind
from app.core.normalise import folding, normalisation
from app.core.store import StoreKind
from app.declared.document import Node
from app.declared.fault import Fault, Place, nearest, shown
from app.settings import StoreSettings

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")

LARGE_KINDS: Final = frozenset({FieldKind.STRING, FieldKind.BYTES, FieldKind.JSON, FieldKind.ARRAY, FieldKind.DECIMAL})
"""Kinds whose values a log may leave out; all others are stored in the row itself."""

_PARAMETERS: Final[Mapping[str, frozenset[FieldKind]]] = {
    "scale": frozenset({FieldKind.DECIMAL}),
    "precision": frozenset({FieldKind.TIME, FieldKind.LOCAL_TIMESTAMP, FieldKind.INSTANT}),
    "collation": frozenset({FieldKind.STRING, FieldKind.ENUM}),
    "zone": frozenset({FieldKind.LOCAL_TIMESTAMP, FieldKind.INSTANT}),
    "element": frozenset({FieldKind.ARRAY}),
}


def faults_within(root: Node, parts: Mapping[str, Any], stores: Mapping[str, StoreSettings]) -> Iterator[Fault]:
    """Yield what is wrong with one contract; `parts` is what is right in shape of the document `root`."""
    yield from _Checks(root, parts, stores).all()
    yield from aggregate_faults(root, parts)


class _Checks:
    """What a shape cannot say of one contract. Works on the parts that are right in shape."""

    def __init__(self, root: Node, parts: Mapping[str, Any], stores: Mapping[str, StoreSettings]) -> None:
        self.root = root
        self.parts = parts
        self.stores = stores
        self.key: Mapping[str, KeyPart] = parts.get("key", {})
        self.fields: Mapping[str, ComparedField] = parts.get("fields", {})
        self.sides = list(self._sides())

    def all(self) -> Iterator[Fault]:
        """Yield every fault."""
        yield from self._stores()
        yield from self._repairs()
        for section, members in (("key", self.key), ("fields", self.fields)):
            for name, member in members.items():
                yield from self._name(section, name)
                yield from self._type(member, (section, name))
                yield from self._columns(member, (section, name))
        for name in self.key:
            yield from self._key_part(name)
        yield from self._document_keys()
        for name in self.fields:
            yield from self._field(name)
        yield from self._shared_columns()

    def _sides(self) -> Iterator[tuple[tuple[str | int, ...], str, str | None]]:
        """Yield path, store and table of each side whose store can be read, even if the rest of it is broken."""
        paths: list[tuple[str | int, ...]] = [("authority",)]
        replicas = self.root.below("replicas")
        if replicas is not None and isinstance(replicas.value, list):
            paths += [("replicas", index) for index in range(len(replicas.value))]
        for path in paths:
            node: Node | None = self.root
            for step in path:
                node = node.below(step) if node is not None else None
            store = node.below("store") if node is not None else None
            table = node.below("table") if node is not None else None
            if store is not None and isinstance(store.value, str):
                yield path, store.value, table.value if table is not None and isinstance(table.value, str) else None

    def _stores(self) -> Iterator[Fault]:
        seen: set[str] = set()
        for path, store, table in self.sides:
            place = self.root.at(*path, "store")
            if store not in self.stores:
                yield Fault(place, f"unknown store {shown(store)}", nearest(store, self.stores))
            elif store in seen:
                yield Fault(place, f'store "{store}" is named twice', "an entity lives once in a store: remove one")
            seen.add(store)
            if table is not None and store in self.stores:
                yield from self._table(self.stores[store], table, self.root.at(*path, "table"))

    def _table(self, store: StoreSettings, table: str, place: Place) -> Iterator[Fault]:
        above, dot, name = table.partition(".")
        if not dot or not above or not name:
            first = {StoreKind.POSTGRES: "public"}.get(store.kind, store.database)
            yield Fault(place, f"{shown(table)} names no schema or database", f'write "{first}.{name or above}"')
            return
        if above == store.schema:
            yield Fault(place, f"{shown(table)} is one of Driftline's own tables", "choose a table of yours")
        for part in (above, name):
            yield from _identifier(store.kind, part, place)

    def _name(self, section: str, name: str) -> Iterator[Fault]:
        if not _NAME.match(name):
            hint = "use letters, digits and _, and say the column under columns"
            yield Fault(self.root.key_at(section, name), f"{shown(name)} cannot name a field", hint)

    def _type(self, member: KeyPart | ComparedField | Element, path: tuple[str | int, ...]) -> Iterator[Fault]:
        for parameter, kinds in _PARAMETERS.items():
            if getattr(member, parameter, None) is not None and member.type not in kinds:
                belongs = ", ".join(sorted(kind.value for kind in kinds))
                what = f'"{parameter}" does not belong to the type {member.type.value}'
                yield Fault(self.root.key_at(*path, parameter), what, f"remove it; it belongs to {belongs}")
        if member.zone is not None and member.zone not in zoneinfo.available_timezones():
            hint = nearest(member.zone, zoneinfo.available_timezones())
            yield Fault(self.root.at(*path, "zone"), f"unknown time zone {shown(member.zone)}", hint)
        element = getattr(member, "element", None)
        if member.type is FieldKind.ARRAY and element is None:
            hint = "add element: {type: ...}" if isinstance(member, ComparedField) else "compare such values as json"
            yield Fault(self.root.at(*path, "type"), "an array needs the type of its elements", hint)
        if element is not None:
            yield from self._type(element, (*path, "element"))

    def _columns(self, member: KeyPart | ComparedField, path: tuple[str, str]) -> Iterator[Fault]:
        known = {store for _, store, _ in self.sides if store in self.stores}
        for part in ("columns", "encodings"):
            for store in getattr(member, part):
                if store not in known:
                    place = self.root.key_at(*path, part, store)
                    yield Fault(place, f"{shown(store)} is no store of this contract", nearest(store, known))
        for store, column in member.columns.items():
            if store in self.stores:
                yield from _identifier(self.stores[store].kind, column, self.root.at(*path, "columns", store))

    def _key_part(self, name: str) -> Iterator[Fault]:
        part = self.key[name]
        if name in self.fields:
            place = self.root.key_at("fields", name)
            yield Fault(
                place, f'"{name}" is part of the key already', "remove it from fields: keys are always compared"
            )
        if part.type not in KEY_KINDS:
            place = self.root.at("key", name, "type")
            hint = "name another unique column as the key"
            yield Fault(place, f"the type {part.type.value} cannot be part of a key", hint)

    def _document_keys(self) -> Iterator[Fault]:
        """Find keys that are not what a change of a document is told by, which is its `_id` alone."""
        for _, store, _ in self.sides:
            if store not in self.stores or self.stores[store].kind is not StoreKind.MONGODB:
                continue
            columns = {name: part.columns.get(store, name) for name, part in self.key.items()}
            if list(columns.values()) != ["_id"]:
                place = self.root.at("key", *([] if len(columns) != 1 else list(columns)))
                hint = f"write one field, with columns: {{{store}: _id}}"
                yield Fault(place, f"a key in store {shown(store)} of kind mongodb is the _id alone", hint)

    def _field(self, name: str) -> Iterator[Fault]:
        member = self.fields[name]
        if member.large and member.type not in LARGE_KINDS:
            what = f"no log leaves out a value of type {member.type.value}"
            yield Fault(self.root.key_at("fields", name, "large"), what, "remove large")
        for index, function in enumerate(member.normalise):
            try:
                normalisation(function, FieldType(member.type))
            except ContractViolation as refused:
                hint = refused.hint or "remove it"
                yield Fault(self.root.at("fields", name, "normalise", index), refused.what, hint)

    def _shared_columns(self) -> Iterator[Fault]:
        for _, store, _ in self.sides:
            owner: dict[str, str] = {}
            for section, members in (("key", self.key), ("fields", self.fields)):
                for name, member in members.items():
                    column = member.columns.get(store, name)
                    if column in owner and owner[column] != name:
                        place = self.root.at(section, name, "columns", store)
                        what = f'column {shown(column)} of store "{store}" is field "{owner[column]}" already'
                        yield Fault(place, what, "give each field its own column")
                    owner.setdefault(column, name)

    def _repairs(self) -> Iterator[Fault]:
        replicas: list[ReplicaShape] = self.parts.get("replicas", [])
        places = {store: path for path, store, _ in self.sides}
        for replica in replicas:
            path = places.get(replica.store)
            if path is None:
                continue
            repair = replica.repair
            if repair.mode is not RepairMode.OBSERVE and not (repair.upserts or repair.deletes):
                what = f"mode {repair.mode.value} allows neither upserts nor deletes"
                yield Fault(self.root.at(*path, "repair", "mode"), what, "allow one of them or write mode: observe")
            yield from self._policy(repair, (*path, "repair"))
            yield from self._transform(repair, (*path, "repair"))
            if replica.quiet_for_ms is not None and replica.quiet_for_ms < replica.window_ms:
                what = "quiet_for_ms is shorter than the window, so late changes would count as lost"
                place = self.root.at(*path, "quiet_for_ms")
                yield Fault(place, what, f"make it at least window_ms ({replica.window_ms})")

    def _policy(self, repair: Repair, path: tuple[str | int, ...]) -> Iterator[Fault]:
        """Find what a policy says of kinds, fields and hours that there are not, or that would have no effect."""
        kinds = [kind.value for kind in DriftKind]
        for part, known in (("kinds", kinds), ("columns", list(self.fields))):
            for name, mode in getattr(repair, part).items():
                place = self.root.key_at(*path, part, name)
                if name not in known:
                    what = "kind of drift" if part == "kinds" else "field of this contract"
                    yield Fault(place, f"{shown(name)} is no {what}", nearest(name, known))
                elif _strictness(mode) > _strictness(repair.mode):
                    what = f"{name}: {mode.value} goes further than mode: {repair.mode.value}"
                    yield Fault(place, what, "kinds and columns make a mode stricter: widen mode and narrow the others")
        for part in ("allow", "deny"):
            for index, hours in enumerate(getattr(repair, part)):
                if hours.zone not in zoneinfo.available_timezones():
                    hint = nearest(hours.zone, zoneinfo.available_timezones())
                    place = self.root.at(*path, part, index, "zone")
                    yield Fault(place, f"unknown time zone {shown(hours.zone)}", hint)

    def _transform(self, repair: Repair, path: tuple[str | int, ...]) -> Iterator[Fault]:
        """Find fields that there are not, or of which nothing could be aligned."""
        for index, name in enumerate(repair.transform):
            place = self.root.at(*path, "transform", index)
            if name not in self.fields:
                yield Fault(place, f"{shown(name)} is no field of this contract", nearest(name, self.fields))
            elif not _ignores_something(self.fields[name]):
                what = f'field "{name}" has one spelling only: nothing of it could be aligned'
                yield Fault(place, what, "remove it, or say under normalise or collation what does not count")


def _ignores_something(member: ComparedField) -> bool:
    """Tell whether values that are spelled differently may count as equal."""
    collation = member.collation.value if member.collation else FieldType(member.type).collation
    return bool(member.normalise) or folding(FieldType(member.type, collation=collation)) is not None


def _strictness(mode: RepairMode) -> int:
    return list(RepairMode).index(mode)


def _identifier(kind: StoreKind, name: str, place: Place) -> Iterator[Fault]:
    """Find why a store could not have such a table or column. Adapters quote, so any printable character may stand."""
    if not name or not all(character.isprintable() for character in name):
        yield Fault(place, f"{shown(name)} cannot be a name", "write at least one character, all of them printable")
    elif kind is StoreKind.POSTGRES and len(name.encode()) > 63:  # noqa: PLR2004 - NAMEDATALEN
        yield Fault(
            place, f"{shown(name)} is longer than PostgreSQL's 63 bytes", "write the name as the catalogue has it"
        )
    elif kind in {StoreKind.MARIADB, StoreKind.MYSQL} and (len(name) > 64 or name.endswith(" ")):  # noqa: PLR2004
        hint = "write the name as SHOW TABLES has it: at most 64 characters, no blank at the end"
        yield Fault(place, f"{shown(name)} cannot be a name in {kind.value}", hint)
    elif kind is StoreKind.MONGODB and any(not part or part.startswith("$") for part in name.split(".")):
        hint = "use names without a leading $, with a dot between that of a document and that of its field"
        yield Fault(place, f"{shown(name)} cannot be named in MongoDB", hint)


def faults_between(loaded: list[tuple[EntityContract, Node]]) -> Iterator[Fault]:
    """Find what two contracts may not share."""
    entities: dict[str, Place] = {}
    numbers: dict[int, str] = {}
    topics: dict[str, str] = {}
    for contract, root in loaded:
        place = root.at("entity")
        if contract.entity in entities:
            what = f'entity "{contract.entity}" is declared already in {entities[contract.entity]}'
            yield Fault(place, what, "give each contract its own entity")
            continue
        if contract.number in numbers:
            what = f'the names "{contract.entity}" and "{numbers[contract.number]}" have the same number by chance'
            yield Fault(place, what, "rename one of the entities")
        entities[contract.entity] = place
        numbers[contract.number] = contract.entity
        for index, table in enumerate(contract.stores):
            path: tuple[str | int, ...] = ("authority", "table") if index == 0 else ("replicas", index - 1, "table")
            if table.topic in topics:
                what = f'the topic {table.topic} belongs to entity "{topics[table.topic]}" already'
                yield Fault(root.at(*path), what, "one contract a table: remove one, or say another topic")
            topics.setdefault(table.topic, contract.entity)
    yield from _parent_faults(loaded)


def _parent_faults(loaded: list[tuple[EntityContract, Node]]) -> Iterator[Fault]:
    """Find parents that there are not, and entities that are their own ancestors."""
    parents = {c.entity: {p for replica in c.replicas for p in replica.repair.parents} for c, _ in loaded}
    for contract, root in loaded:
        for index, replica in enumerate(contract.replicas):
            for number, parent in enumerate(replica.repair.parents):
                place = root.at("replicas", index, "repair", "parents", number)
                if parent not in parents:
                    yield Fault(place, f"{shown(parent)} is no entity of this deployment", nearest(parent, parents))
                elif contract.entity in _ancestors(parent, parents):
                    yield Fault(place, f'"{contract.entity}" would be its own parent', "remove one of the parents")


def _ancestors(entity: str, parents: Mapping[str, set[str]]) -> set[str]:
    """Return an entity and all that stand above it."""
    found, left = set[str](), [entity]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += parents.get(one, ())
    return found
