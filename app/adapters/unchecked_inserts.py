"""Which inserts have no check behind them, whatever store the ledger is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from app.adapters.sql_ledger import of_digits
from app.core.command import ID_BYTES
from app.core.ledger import check_id

_ASKED_AT_ONCE: Final = 500


def without_checks(inserts: Iterable[str], which: Callable[[Sequence[bytes]], Iterable[str]]) -> list[bytes]:
    """Return the ids of those inserts whose checks are not there; `which` tells what rows there are of some ids.

    Ids are given in hexadecimal digits, as ledgers hold them; one that is none was written by nobody of ours.
    """
    names = [name for name in map(of_digits, inserts) if len(name) == ID_BYTES]
    checks = {check_id(name): name for name in names}
    asked = [*checks]
    for at in range(0, len(asked), _ASKED_AT_ONCE):
        for digits in which(asked[at : at + _ASKED_AT_ONCE]):
            del checks[of_digits(digits)]
    return [*checks.values()]
