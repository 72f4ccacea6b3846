"""What MongoDB's driver says of a fault, in one line."""

from __future__ import annotations

from pymongo.errors import OperationFailure


def said(fault: Exception) -> str:
    """Return the server's own words where it has answered, without the whole answer; else the driver's."""
    words = (fault.details or {}).get("errmsg") if isinstance(fault, OperationFailure) else None
    lines = str(words or fault).strip().splitlines()
    return lines[0] if lines else type(fault).__name__
