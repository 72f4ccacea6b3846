"""What is wrong with a declaration, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.core.errors import ContractViolation


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value stands: a file (or an environment variable, at line 0), a line and a column counted from 1."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Render as compilers do, so that editors can jump there."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One mistake in a declaration."""

    place: Place
    what: str
    hint: str

    def __str__(self) -> str:
        """Render `path:line:column: what (what to do)`."""
        text = f"{self.place}: {self.what} ({self.hint})"
        return "".join(c if c.isprintable() else "?" for c in text)


class Refused(ContractViolation):
    """A declaration that cannot be used; carries every fault that was found in it, in the order of the files."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(sorted(set(faults)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


KNOWN_SHOWN_MAX: Final = 12
TEXT_SHOWN_MAX: Final = 60
SHORT_WORD: Final = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what to do about an unknown word: the nearest known one, else all of them if they are few."""
    names = sorted(known)
    folded = {name.lower(): name for name in names}
    cutoff = 0.6 if len(word) > SHORT_WORD else 0.5
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=cutoff)
    if close:
        return f'did you mean "{folded[close[0]]}"?'
    if len(names) > KNOWN_SHOWN_MAX:
        return "remove it"
    return f"known here: {', '.join(names)}" if names else "nothing is known here"


def shown(text: str) -> str:
    """Return text from a file as it may stand in a message: quoted, without control characters, and short."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return f'"{clean[:TEXT_SHOWN_MAX]}..."' if len(clean) > TEXT_SHOWN_MAX else f'"{clean}"'
