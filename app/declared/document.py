"""A YAML document as a tree of values that know their place.

The tree is built from the parser's events and not by a constructor, since a constructor would already have made
objects of tags, expanded aliases and kept the last of two equal keys. Plain scalars are read by the core schema of
YAML 1.2 (`no` is text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from app.declared.fault import Fault, Place, Refused, shown

BYTES_MAX: Final = 1 << 20
DEPTH_MAX: Final = 24
VALUES_MAX: Final = 20_000
"""Reading takes some 0.15 ms for each value; a contract of a thousand columns has a quarter of this."""

Scalar: TypeAlias = str | int | float | bool | None

_NULL = re.compile(r"(~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]{1,40}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?\Z")


@dataclass(slots=True)
class Node:
    """A value of a document, its place, and for a mapping the places of its keys."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)

    def below(self, step: str | int) -> Node | None:
        """Return the value at a key or an index, None if there is none."""
        if isinstance(step, str):
            return self.value.get(step) if isinstance(self.value, dict) else None
        return self.value[step] if isinstance(self.value, list) and step < len(self.value) else None

    def at(self, *path: str | int) -> Place:
        """Return the place of a value below this one, or of the deepest part of the path that exists."""
        return self._deepest(path).place

    def key_at(self, *path: str | int) -> Place:
        """Return the place of the key that ends a path, or of the deepest part of the path that exists."""
        here = self._deepest(path[:-1])
        last = path[-1]
        return here.keys.get(last, here.place) if isinstance(last, str) else here.at(last)

    def _deepest(self, path: tuple[str | int, ...]) -> Node:
        here = self
        for step in path:
            found = here.below(step)
            if found is None:
                break
            here = found
        return here


def plain_scalar(text: str) -> Scalar:
    """Read unquoted text by the core schema of YAML 1.2."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


def read_document(path: Path) -> Node:
    """Read a YAML file as a tree; raise `Refused` if it is no plain, single, bounded document."""
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise Refused([Fault(Place(str(path)), what, "check the path and its permissions")]) from error
    return parse_document(str(path), raw)


def parse_document(source: str, raw: bytes) -> Node:
    """Parse YAML as a tree; `source` names it in faults."""
    if len(raw) > BYTES_MAX:
        raise Refused([Fault(Place(source), f"is larger than {BYTES_MAX} bytes", "split it")])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise Refused([Fault(Place(source, line, column), "is not UTF-8", "save the file as UTF-8")]) from error
    tree = _Tree(source)
    try:
        return tree.build(_events(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)
        what = f"is not YAML: {error.problem or error.context or 'syntax error'}"
        raise Refused([*tree.faults, Fault(place, what, "mend the syntax here or in the line above")]) from error
    except YAMLError as error:  # the reader's, for characters that YAML forbids
        at = getattr(error, "position", 0)
        at = at if isinstance(at, int) else 0
        place = Place(source, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
        fault = Fault(place, "holds a character that YAML does not allow", "remove the control character")
        raise Refused([fault]) from error


def _events(text: str) -> Iterator[Event]:
    parser = YAML(typ="safe", pure=True)
    yield from parser.parse(text)


class _Tree:
    """Builds the tree from events and notes what is refused on the way."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.faults: list[Fault] = []
        self._values = 0

    def build(self, events: Iterator[Event]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent) and root is not None:
                self._refuse(event, "a second document begins", "one document a file: remove the ---")
                break
            if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
                root = self._node(event, events, 1)
        if root is None or root.value is None:
            self.faults.append(Fault(Place(self.source, 1, 1), "is empty", "declare something"))
        if root is None or self.faults:
            raise Refused(self.faults)
        return root

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        place = self._place(event)
        if depth > DEPTH_MAX:
            raise Refused([*self.faults, Fault(place, f"is nested deeper than {DEPTH_MAX} levels", "nest less")])
        self._values += 1
        if self._values > VALUES_MAX:
            raise Refused([*self.faults, Fault(place, f"holds more than {VALUES_MAX} values", "split it")])
        if isinstance(event, AliasEvent):
            self._refuse(event, "an alias (*name) is not allowed", "write the value out")
            return Node(None, place)
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._refuse(event, f"a tag ({shown(str(tag))}) is not allowed", "write a plain value")
        if isinstance(event, ScalarEvent):
            plain = event.style is None or event.style == ""
            return Node(plain_scalar(event.value) if plain else str(event.value), place)
        if isinstance(event, SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(below := next(events), SequenceEndEvent):
                items.append(self._node(below, events, depth + 1))
            return Node(items, place)
        return self._mapping(place, events, depth)

    def _mapping(self, place: Place, events: Iterator[Event], depth: int) -> Node:
        entries: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key_place = self._place(event)
            if isinstance(event, ScalarEvent):
                key = str(event.value)
                if getattr(event, "tag", None) is not None:
                    self._refuse(event, "a tag is not allowed", "write a plain key")
            else:
                self._refuse(event, "a key must be text", "write `name: value`")
                self._node(event, events, depth + 1)
                key = ""
            value = self._node(next(events), events, depth + 1)
            if value.value is None:
                value.place = key_place  # the parser's mark of an empty value stands at what follows it
            if key in entries:
                what = f"{shown(key)} is said twice, first in line {keys[key].line}"
                self.faults.append(Fault(key_place, what, "keep one of them"))
                continue
            entries[key] = value
            keys[key] = key_place
        return Node(entries, place, keys)

    def _place(self, event: Event) -> Place:
        mark = event.start_mark
        return Place(self.source, mark.line + 1, mark.column + 1)

    def _refuse(self, event: Event, what: str, hint: str) -> None:
        self.faults.append(Fault(self._place(event), what, hint))
