"""Compiles a writer's Avro schema into a function that reads the few fields that are asked for and skips the others.

A general reader looks at the schema again for every value, which costs more than the values. Here the schema is walked
once, and what is to be done for each of its fields becomes a few lines of Python. The lines are made of the fixed texts
in this file and of numbers: names and whatever else a schema says stay values, which the lines reach as `k0`, `k1`...

The function reads what a writer usually writes, and raises one of `MISFITS` for anything that it has doubts about (a
length below zero, a text that is not UTF-8, bytes that are left over, a branch or a type that was not asked for).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Convert = Callable[[Any], object]
Program = Callable[[bytes, int], Any]
"""Reads a record from a place in some bytes to their end."""


class Doubtful(ValueError):
    """Bytes that need a closer look."""


MISFITS: Final = (ValueError, IndexError, struct.error)
"""What a program raises: what it doubts itself, texts that are not UTF-8, and bytes that end too early."""

ANY: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
"""The types that are read; of others, a field that is asked for is given as `OTHER`."""

OTHER: Final = ...

_MOST_DEPTH: Final = 20
_MOST_LINES: Final = 20_000
_BRANCHES: Final = 64  # their numbers take one byte
_LONG_BITS: Final = 63  # a tenth byte is not as usual
_VARINT_FORM: Final = rb"[\x80-\xff]{0,8}[\x00-\x7f]"
_FORMS: Final[dict[object, bytes]] = {
    "null": b"",
    "boolean": rb"[\x00\x01]",
    "int": _VARINT_FORM,
    "long": _VARINT_FORM,
    "float": rb".{4}",
    "double": rb".{8}",
}
"""How types without texts look in bytes, as regular expressions: one match skips any number of such fields."""


@dataclass(frozen=True, slots=True)
class Take:
    """Read a value of one of some types; what is not NULL goes through `convert`."""

    types: frozenset[str] = ANY
    convert: Convert | None = None
    is_natural: bool = False  # numbers below zero are doubtful


@dataclass(frozen=True, slots=True)
class Build:
    """Read a record: `make` is called with what was read of each field, in this order, or with the field's default."""

    make: Callable[..., object]
    fields: Mapping[str, tuple[Take | Build, object]]
    is_optional: bool = False


class Uncompilable(Exception):
    """A schema that has no program: its records need a closer look."""


def compile_program(schema: object, named: Mapping[str, object], want: Build) -> Program:
    """Return the program for a parsed schema; `Uncompilable` if what is asked for is not in it, or it is too large."""
    writer = _Writer(named)
    target = writer.variable()
    writer.read(schema, want, target, 1, 0)
    body = "\n".join(writer.lines)
    code = f"def program(data, at):\n{body}\n if at != len(data): raise Doubtful\n return {target}\n"
    space: dict[str, Any] = {**writer.constants, "Doubtful": Doubtful, "more": _more, **_UNPACK}
    exec(compile(code, "<avro program>", "exec"), space)  # noqa: S102 - made of fixed texts and numbers, see above
    program: Program = space["program"]
    return program


def _more(data: bytes, at: int) -> tuple[int, int]:
    """Return a long of several bytes, still in zigzag form, and the place behind it; its first is before `at`."""
    number, shift = data[at - 1] & 0x7F, 7
    while (byte := data[at]) > 0x7F:  # noqa: PLR2004 - the bit that says that more follows
        number |= (byte & 0x7F) << shift
        at += 1
        shift += 7
    if shift >= _LONG_BITS:
        raise Doubtful
    return number | byte << shift, at + 1


_UNPACK: Final = {
    "float4": struct.Struct("<f").unpack_from,
    "float8": struct.Struct("<d").unpack_from,
}


class _Writer:
    """Writes the lines of one program."""

    def __init__(self, named: Mapping[str, object]) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, object] = {}
        self._named = named
        self._variables = 0

    def variable(self) -> str:
        """Return the name of a new variable."""
        self._variables += 1
        return f"v{self._variables}"

    def _constant(self, value: object) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def _line(self, depth: int, text: str) -> None:
        if len(self.lines) >= _MOST_LINES:
            raise Uncompilable
        self.lines.append(" " * depth + text)

    def read(self, type_: Any, want: Take | Build | None, target: str, depth: int, nesting: int) -> None:  # noqa: ANN401 - JSON
        """Write what reads a value into `target`, or what skips it if nothing is wanted."""
        if nesting > _MOST_DEPTH:
            raise Uncompilable
        if isinstance(type_, list):
            self._union(type_, want, target, depth, nesting)
            return
        name = type_["type"] if isinstance(type_, dict) else type_
        if isinstance(name, str) and name in self._named:
            self.read(self._named[name], want, target, depth, nesting + 1)
        elif isinstance(name, dict | list):
            self.read(name, want, target, depth, nesting + 1)
        elif name == "record":
            self._record(type_, want, target, depth, nesting)
        elif isinstance(want, Build):
            self._null(want.is_optional, target, depth) if name == "null" else self._line(depth, "raise Doubtful")
        elif name in ANY:
            self._scalar(name, want, target, depth)
        else:
            self._container(name, type_, target, depth, nesting)
            if want is not None:
                self._line(depth, f"{target} = ...")

    def _null(self, is_wanted: bool, target: str, depth: int) -> None:  # noqa: FBT001 - either line
        self._line(depth, f"{target} = None" if is_wanted else "raise Doubtful")

    def _union(self, branches: list[Any], want: Take | Build | None, target: str, depth: int, nesting: int) -> None:
        if not 0 < len(branches) < _BRANCHES:
            raise Uncompilable
        self._line(depth, "branch = data[at]; at += 1")
        for number, branch in enumerate(branches):
            self._line(depth, f"{'elif' if number else 'if'} branch == {2 * number}:")
            self.read(branch, want, target, depth + 1, nesting + 1)
        self._line(depth, "else: raise Doubtful")

    def _record(self, type_: Any, want: Take | Build | None, target: str, depth: int, nesting: int) -> None:  # noqa: ANN401
        wanted = want.fields if isinstance(want, Build) else {}
        if not type_["fields"]:
            raise Uncompilable
        found: dict[str, str] = {}
        skipped = b""
        for field in type_["fields"]:
            name = field["name"]
            form = self._form(field["type"]) if name not in wanted else None
            if form is not None:
                skipped += form
                continue
            self._skip(skipped, depth)
            skipped = b""
            found[name] = self.variable()
            part = wanted.get(name)
            self.read(field["type"], None if part is None else part[0], found[name], depth, nesting + 1)
        self._skip(skipped, depth)
        if isinstance(want, Build):
            arguments = [found[n] if n in found else self._constant(default) for n, (_, default) in wanted.items()]
            if any(self.constants.get(argument) is REQUIRED for argument in arguments):
                raise Uncompilable
            self._line(depth, f"{target} = {self._constant(want.make)}({', '.join(arguments)})")
        elif want is not None:
            self._line(depth, f"{target} = ...")

    def _form(self, type_: Any) -> bytes | None:  # noqa: ANN401 - JSON
        if isinstance(type_, list):
            forms = [self._form(branch) for branch in type_[:_BRANCHES]]
            if not all(form is not None for form in forms):
                return None
            branches = [b"\\x%02x%b" % (2 * number, form or b"") for number, form in enumerate(forms)]
            return b"(?:" + b"|".join(branches) + b")"
        name = type_["type"] if isinstance(type_, dict) else type_
        return _FORMS.get(name) if isinstance(name, str) else None

    def _skip(self, form: bytes, depth: int) -> None:
        if form:
            match = self._constant(re.compile(form, re.DOTALL).match)
            self._line(depth, f"found = {match}(data, at)")
            self._line(depth, "if found is None: raise Doubtful")
            self._line(depth, "at = found.end()")

    def _scalar(self, name: str, want: Take | None, target: str, depth: int) -> None:
        if want is not None and name not in want.types:
            self._line(depth, "raise Doubtful")
            return
        for text in _LINES[name, want is not None]:
            self._line(depth, text.replace("TARGET", target))
        if want is None or name == "null":
            return
        if want.is_natural:
            self._line(depth, f"if {target} < 0: raise Doubtful")
        if want.convert is not None:
            self._line(depth, f"{target} = {self._constant(want.convert)}({target})")

    def _container(self, name: object, type_: Any, target: str, depth: int, nesting: int) -> None:  # noqa: ANN401 - JSON
        if name == "enum":
            for text in _LINES["long", True]:
                self._line(depth, text.replace("TARGET", target))
            self._line(depth, f"if not 0 <= {target} < {len(type_['symbols'])}: raise Doubtful")
        elif name == "fixed":
            self._line(depth, f"at += {int(type_['size'])}")
        elif name in {"array", "map"}:
            count = self.variable()
            self._line(depth, "while True:")
            for text in _LINES["long", True]:
                self._line(depth + 1, text.replace("TARGET", count))
            self._line(depth + 1, f"if {count} == 0: break")
            # A block that tells its size has a count below zero. Items that take no bytes could be any number.
            self._line(depth + 1, f"if not 0 < {count} <= len(data): raise Doubtful")
            self._line(depth + 1, f"for _ in range({count}):")
            item = self.variable()
            self._line(depth + 2, f"{item} = at")
            if name == "map":
                self._scalar("string", None, target, depth + 2)
            self.read(type_["items" if name == "array" else "values"], None, target, depth + 2, nesting + 1)
            self._line(depth + 2, f"if at == {item}: raise Doubtful")
        else:
            raise Uncompilable


REQUIRED: Final = object()
"""The default of a field that has none: a schema without the field has no program."""

_VARINT: Final = ("n = data[at]; at += 1", "if n > 127: n, at = more(data, at)")
_LENGTH: Final = (*_VARINT, "if n & 1: raise Doubtful", "start = at; at += n >> 1")
_LINES: Final[dict[tuple[str, bool], tuple[str, ...]]] = {
    ("null", False): ("pass",),
    ("null", True): ("TARGET = None",),
    ("boolean", False): ("if data[at] > 1: raise Doubtful", "at += 1"),
    ("boolean", True): ("if data[at] > 1: raise Doubtful", "TARGET = data[at] == 1; at += 1"),
    ("long", False): _VARINT,
    ("long", True): (*_VARINT, "TARGET = (n >> 1) ^ -(n & 1)"),
    ("float", False): ("at += 4",),
    ("float", True): ("TARGET = float4(data, at)[0]; at += 4",),
    ("double", False): ("at += 8",),
    ("double", True): ("TARGET = float8(data, at)[0]; at += 8",),
    ("bytes", False): _LENGTH,
    ("bytes", True): (*_LENGTH, "TARGET = data[start:at]"),
    ("string", False): (*_LENGTH, "if not data[start:at].isascii(): data[start:at].decode()"),
    ("string", True): (*_LENGTH, "TARGET = data[start:at].decode()"),
}
_LINES.update({("int", wanted): _LINES["long", wanted] for wanted in (False, True)})
"""What reads or skips a value of a type. Reading behind the end of the bytes shows at the latest at the end."""
