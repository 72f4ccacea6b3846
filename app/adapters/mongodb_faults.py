"""What MongoDB's driver says of a fault, in one line."""

from __future__ import annotations

from collections.abc import Mapping


def said(fault: Exception) -> str:
    """Return the server's own words where it has answered, without the whole answer; else the driver's."""
    lines = str(_answer(fault).get("errmsg") or fault).strip().splitlines()
    return lines[0] if lines else type(fault).__name__


def code_of(fault: Exception) -> str:
    """Return the kind of a fault and the server's code: its words may hold a key."""
    return " ".join(filter(None, (type(fault).__name__, str(_answer(fault).get("code") or ""))))


def _answer(fault: Exception) -> Mapping[str, object]:
    details = getattr(fault, "details", None)
    return details if isinstance(details, Mapping) else {}
