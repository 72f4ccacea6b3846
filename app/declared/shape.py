"""Fits a document's tree to typed records: msgspec structs or dataclasses.

`msgspec.convert` stops at the first mistake and knows no lines. So records, lists and mappings are walked here and only
single values are given to msgspec, with its strict types and its bounds (`msgspec.Meta`). The meaning of a member
(`Meta.description`) is also the hint of a fault in it.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from app.declared.document import Node
from app.declared.fault import Fault, nearest, shown


class Broken(Enum):
    """The type of `BROKEN`: a value whose faults have been noted."""

    TOKEN = 0


BROKEN: Final = Broken.TOKEN

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One member of a record: its declared type, what it means, and its default where it has one."""

    name: str
    type: Any
    meaning: str
    required: bool
    default: Any = None
    factory: Any = None

    def fallback(self) -> Any:  # noqa: ANN401 - as the record declares it
        """Return the default."""
        return self.factory() if self.factory is not None else self.default


_MEMBERS: Final[dict[type[Any], tuple[Member, ...]]] = {}
"""What each type declares. Its hints are evaluated from text, which takes longer than to fit a document to them."""


def members_of(record: type[Any]) -> tuple[Member, ...]:
    """Return the members of a struct or dataclass in their order; names that begin with `_` are not for files."""
    if record not in _MEMBERS:
        _MEMBERS[record] = tuple(member for member in _declared(record) if not member.name.startswith("_"))
    return _MEMBERS[record]


def _declared(record: type[Any]) -> list[Member]:
    hints = get_type_hints(record, include_extras=True)
    found = []
    if issubclass(record, msgspec.Struct):
        for f in msgspec.structs.fields(record):
            default = None if f.default is msgspec.NODEFAULT else f.default
            factory = None if f.default_factory is msgspec.NODEFAULT else f.default_factory
            found.append(Member(f.name, hints[f.name], meaning_of(hints[f.name]), f.required, default, factory))
    else:
        for d in dataclasses.fields(record):
            default = None if d.default is dataclasses.MISSING else d.default
            factory = None if d.default_factory is dataclasses.MISSING else d.default_factory
            required = d.default is dataclasses.MISSING and d.default_factory is dataclasses.MISSING
            found.append(Member(d.name, hints[d.name], meaning_of(hints[d.name]), required, default, factory))
    return found


def meaning_of(declared: Any) -> str:  # noqa: ANN401 - any type
    """Return the description that a type carries in its `msgspec.Meta`."""
    for meta in getattr(declared, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    if get_origin(declared) in {Union, types.UnionType}:
        return next((found for found in map(meaning_of, get_args(declared)) if found), "")
    return ""


def bare(declared: Any) -> Any:  # noqa: ANN401 - any type
    """Return a type without its annotations and without `| None`."""
    while True:
        if get_origin(declared) is Annotated:
            declared = get_args(declared)[0]
        elif get_origin(declared) in {Union, types.UnionType}:
            rest = [a for a in get_args(declared) if a is not type(None)]
            if len(rest) != 1:
                return declared
            declared = rest[0]
        else:
            return declared


def is_record(declared: Any) -> bool:  # noqa: ANN401 - any type
    """Tell whether a type is a struct or a dataclass."""
    return isinstance(declared, type) and (issubclass(declared, msgspec.Struct) or dataclasses.is_dataclass(declared))


def _allows_none(declared: Any) -> bool:  # noqa: ANN401 - any type
    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    return get_origin(declared) in {Union, types.UnionType} and type(None) in get_args(declared)


class Shaper:
    """Fits nodes to types and gathers faults.

    `base` is the folder that relative paths are relative to. `not_built` says of keys what to do without them; `secret`
    are keys that must not be written down, with what to write instead.
    """

    def __init__(
        self,
        base: Path | None = None,
        *,
        not_built: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self.faults: list[Fault] = []
        self._base = base
        self._not_built = not_built or {}
        self._secrets = secrets

    def record(self, record: type[T], node: Node) -> T | Broken:
        """Return the record, or `BROKEN` if a required member is missing or wrong. Other members fall back."""
        members = members_of(record)
        parts = self.parts(record, node)
        if any(member.name not in parts for member in members):
            return BROKEN
        return record(**parts)

    def parts(self, record: type[Any], node: Node) -> dict[str, Any]:
        """Return what is right of a record: a broken member takes its default, or is left out if it has none."""
        members = {member.name: member for member in members_of(record)}
        if not isinstance(node.value, dict):
            self._note(node, f"expected a mapping, found {_kind(node)}", f"write one of {', '.join(members)} per line")
            return {}
        for key in node.value:
            if key not in members:
                self._unknown(node, key, members)
        parts: dict[str, Any] = {}
        for name, member in members.items():
            below = node.value.get(name)
            if below is None:
                if member.required:
                    hint = member.meaning or "add it"
                    self.faults.append(Fault(node.place, f'"{name}" is missing', hint))
                else:
                    parts[name] = member.fallback()
                continue
            value = self.value(member.type, below, member.meaning)
            if value is not BROKEN:
                parts[name] = value
            elif not member.required:
                parts[name] = member.fallback()
        return parts

    def value(self, declared: Any, node: Node, meaning: str) -> Any:  # noqa: ANN401 - a switch over types
        """Return a value of the declared type, or `BROKEN`."""
        if node.value is None:
            if _allows_none(declared):
                return None
            return self._note(node, "has no value", meaning or "write one or remove the key")
        kind = bare(declared)
        origin = get_origin(kind)
        if is_record(kind):
            return self.record(kind, node)
        if origin is dict:
            return self._mapping(declared, get_args(kind)[1], node, meaning)
        if origin in {list, tuple}:
            return self._sequence(declared, kind, node, meaning)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return self._choice(kind, node, meaning)
        if kind is Path:
            return self._path(node, meaning)
        return self._leaf(declared, node, meaning)

    def _mapping(self, declared: Any, of: Any, node: Node, meaning: str) -> Any:  # noqa: ANN401
        if not isinstance(node.value, dict):
            return self._note(node, f"expected a mapping, found {_kind(node)}", meaning or "write `name: value`")
        self._bounds(declared, dict.fromkeys(node.value), node, meaning)
        made = {key: self.value(of, below, meaning_of(of) or meaning) for key, below in node.value.items()}
        return {key: value for key, value in made.items() if value is not BROKEN}

    def _sequence(self, declared: Any, kind: Any, node: Node, meaning: str) -> Any:  # noqa: ANN401
        if not isinstance(node.value, list):
            return self._note(node, f"expected a list, found {_kind(node)}", meaning or "write `- value`")
        self._bounds(declared, [None] * len(node.value), node, meaning)
        of = get_args(kind)[0]
        made = [self.value(of, below, meaning_of(of) or meaning) for below in node.value]
        kept = [value for value in made if value is not BROKEN]
        return tuple(kept) if get_origin(kind) is tuple else kept

    def _choice(self, kind: type[Enum], node: Node, meaning: str) -> Any:  # noqa: ANN401
        names = [str(member.value) for member in kind]
        if not isinstance(node.value, str):
            return self._note(node, f"expected one of {', '.join(names)}, found {_kind(node)}", meaning or "choose one")
        if node.value not in names:
            return self._note(node, f"{shown(node.value)} is unknown", nearest(node.value, names))
        return kind(node.value)

    def _path(self, node: Node, meaning: str) -> Any:  # noqa: ANN401
        if not isinstance(node.value, str) or not node.value:
            return self._note(node, f"expected a path, found {_kind(node)}", meaning or "write a path")
        path = Path(node.value)
        return path if path.is_absolute() or self._base is None else self._base / path

    def _leaf(self, declared: Any, node: Node, meaning: str) -> Any:  # noqa: ANN401
        if isinstance(node.value, list | dict):
            return self._note(node, f"expected a single value, found {_kind(node)}", meaning or "write one value")
        try:
            return msgspec.convert(node.value, declared, strict=True)
        except msgspec.ValidationError as error:
            what = str(error).partition(" - at")[0].replace("`", "")
            if "matching regex" in what:
                what = f"{shown(str(node.value))} has not the right form"
            return self._note(node, what[:1].lower() + what[1:], meaning or "write such a value")

    def _bounds(self, declared: Any, plain: object, node: Node, meaning: str) -> None:  # noqa: ANN401
        """Let msgspec check the number of items, and nothing of the items."""
        for meta in getattr(declared, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta):
                untyped = dict[str, Any] if isinstance(plain, dict) else list[Any]
                try:
                    msgspec.convert(plain, Annotated[untyped, meta])
                except msgspec.ValidationError as error:
                    what = str(error).replace("`", "")
                    self._note(node, what[:1].lower() + what[1:], meaning or "give as many")

    def _unknown(self, node: Node, key: str, members: Mapping[str, Member]) -> None:
        place = node.keys[key]
        if key in self._not_built:
            self.faults.append(Fault(place, f'"{key}" is not built yet', self._not_built[key]))
        elif key.lower() in self._secrets:
            hint = f"put the secret into a file that only this user can read and name it with {key.lower()}_file"
            self.faults.append(Fault(place, f'a secret may not be written here ("{key}")', hint))
        else:
            self.faults.append(Fault(place, f"unknown key {shown(key)}", nearest(key, members)))

    def _note(self, node: Node, what: str, hint: str) -> Broken:
        self.faults.append(Fault(node.place, what, hint))
        return BROKEN


def _kind(node: Node) -> str:
    match node.value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case None:
            return "nothing"
        case text:
            return f"the text {shown(text)}"
