"""What is wrong with the aggregates and the tolerated drift of a contract, beyond their shape."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from app.codec.contract_shape import AggregateShape, ComparedField, KeyPart, Tolerate
from app.core.contribution import SUMMED_KINDS, WINDOWED_KINDS
from app.declared.document import Node
from app.declared.fault import Fault, nearest, shown

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_PERCENT_MAX: Final = 100


def aggregate_faults(root: Node, parts: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the aggregates of a contract, and with what it tolerates."""
    members: dict[str, KeyPart | ComparedField] = {**parts.get("key", {}), **parts.get("fields", {})}
    aggregates: Mapping[str, AggregateShape] = parts.get("aggregates", {})
    for name, aggregate in aggregates.items():
        yield from _Checks(root, name, aggregate, members).all()
    tolerate: Tolerate | None = parts.get("tolerate")
    if tolerate == Tolerate():
        what = "says no bound of tolerated drift"
        yield Fault(root.at("tolerate"), what, "write open_rows, open_per_million or opened_per_hour, or remove it")


class _Checks:
    def __init__(
        self, root: Node, name: str, aggregate: AggregateShape, members: Mapping[str, KeyPart | ComparedField]
    ) -> None:
        self.root = root
        self.path = ("aggregates", name)
        self.name = name
        self.aggregate = aggregate
        self.members = members

    def all(self) -> Iterator[Fault]:
        """Yield every fault of one aggregate."""
        aggregate = self.aggregate
        if not _NAME.match(self.name):
            place = self.root.key_at(*self.path)
            yield Fault(place, f"{shown(self.name)} cannot name an aggregate", "use lower-case letters, digits and _")
        if sum((aggregate.count, aggregate.sum is not None, aggregate.distinct is not None)) != 1:
            what = f'"{self.name}" is not one of count, sum and distinct'
            yield Fault(self.root.at(*self.path), what, "write count: true, or sum: FIELD, or distinct: FIELD")
        for index, field in enumerate(aggregate.by):
            yield from self._field(field, ("by", index))
        if aggregate.distinct is not None:
            yield from self._field(aggregate.distinct, ("distinct",))
        if aggregate.sum is not None:
            hint = "sum integers or decimals; the sum of floats depends on their order"
            yield from self._field(aggregate.sum, ("sum",), SUMMED_KINDS, "be summed", hint)
        if aggregate.at is not None:
            hint = "name an instant, a local_timestamp or a date"
            yield from self._field(aggregate.at, ("at",), WINDOWED_KINDS, "be cut into windows", hint)
        if (aggregate.at is None) is not (aggregate.every_ms is None):
            there = "at" if aggregate.every_ms is None else "every_ms"
            what = "windows need both at, the field that is a time, and every_ms, their length"
            yield Fault(self.root.at(*self.path, there), what, "add the other one, or remove this one")
        if Decimal(aggregate.tolerance.percent) > _PERCENT_MAX:
            place = self.root.at(*self.path, "tolerance", "percent")
            yield Fault(place, "more than 100 per cent would tolerate anything", "write less, or remove the aggregate")

    def _field(
        self,
        field: str,
        path: tuple[str | int, ...],
        kinds: frozenset[Any] | None = None,
        purpose: str = "",
        hint: str = "",
    ) -> Iterator[Fault]:
        place = self.root.at(*self.path, *path)
        member = self.members.get(field)
        if member is None:
            yield Fault(place, f"{shown(field)} is no field of this contract", nearest(field, self.members))
        elif isinstance(member, ComparedField) and member.large:
            what = f"a log may leave {shown(field)} out, so nobody knows what it adds"
            yield Fault(place, what, "aggregate fields that are not large")
        elif kinds is not None and member.type not in kinds:
            yield Fault(place, f"a field of type {member.type.value} cannot {purpose}", hint)
