"""Finds the schemas that ship with the product: beside the package once installed, beside `app` in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.core.errors import ContractViolation

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_PLACES: Final = (_PACKAGE / "schemas", _PACKAGE.parent / "schemas")


def schema_text(file_name: str) -> str:
    """Return the text of a shipped schema; `ContractViolation` where the installation lacks it."""
    for folder in _PLACES:
        path = folder / file_name
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ContractViolation(
        f"the schema {file_name} is not part of this installation",
        where=str(_PLACES[0]),
        hint="install the product again, or run it from a checkout",
    )
