"""The one door from data to a terminal or a program. Nothing that came from a store or a topic goes round it."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

_CELL_LENGTH_MAX: Final = 400
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that can move the cursor, turn the direction of writing, or look like nothing."""


class Output(Enum):
    """How a command prints what it found."""

    TABLE = "table"  # for a person
    JSON = "json"  # one document
    JSONL = "jsonl"  # one object a line, as they come


def safe_text(text: str, length_max: int = _CELL_LENGTH_MAX) -> str:
    r"""Return text that a terminal shows and does not obey: control and format characters become escapes.

    >>> safe_text("red\x1b[31m")
    'red\\x1b[31m'
    """
    cut = text if len(text) <= length_max else text[: length_max - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSAFE else c for c in cut)


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:  # noqa: PLR2004 - what two hex digits hold
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - what four hex digits hold


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(each) for each in value) or "-"
    return str(value)


def json_line(record: object) -> str:
    """Return one line of ASCII JSON: whatever stands in the record, a terminal reads no control character."""
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"), default=str).replace("\x7f", "\\u007f")


def print_records(
    records: Iterable[Mapping[str, object]],
    output: Output,
    columns: Sequence[str],
    *,
    to: TextIO | None = None,
) -> None:
    """Print records: all their fields to a program, the named columns to a person."""
    stream = to or sys.stdout
    if output is Output.JSONL:
        for record in records:
            stream.write(json_line(record) + "\n")
            stream.flush()
    elif output is Output.JSON:
        stream.write(json.dumps(list(records), ensure_ascii=True, indent=2, default=str).replace("\x7f", "\\u007f"))
        stream.write("\n")
    else:
        _print_table(records, columns, stream)


def _print_table(records: Iterable[Mapping[str, object]], columns: Sequence[str], stream: TextIO) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for record in records:
        table.add_row(*(Text(safe_text(_shown(record.get(column)))) for column in columns))
    # A pipe has no width: let lines be as long as they are.
    width = None if stream.isatty() else 1_000
    Console(file=stream, width=width, highlight=False, soft_wrap=not stream.isatty()).print(table)


def print_line(values: Sequence[object]) -> None:
    """Print one line for a person at once, where a table cannot wait for its last row."""
    sys.stdout.write("  ".join(safe_text(_shown(value)) for value in values) + "\n")
    sys.stdout.flush()
