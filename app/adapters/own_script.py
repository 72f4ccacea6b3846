"""What `driftline init` shows and runs in a store, one statement after another: SQL, or commands of MongoDB as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["beacon", "read", "apply", "conduct", "canary"]
LOGINS: Final[tuple[Role, ...]] = ("beacon", "read", "apply", "conduct", "canary")
"""The roles whose logins init makes, with the passwords of their files."""

HIDDEN: Final = "'***'"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as a person reads it; `HIDDEN` in it stands for the password of `role`.

    `needs` is a contract's table without which it is left out: the pipeline may make that table later. `for_each` is
    one by whose foreign keys it is run: for each column in other tables, in the place of `REFERRING` and `ITS_TABLE`.
    """

    text: str
    role: str = ""
    needs: str = ""
    for_each: str = ""
