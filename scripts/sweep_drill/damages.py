"""Fifty rows that are changed, deleted and added behind their log's back, half of them in each store.

The application writes every tenth row; damages are elsewhere, since a change of the row would tell the log how it is.
Some stand at the ends of the table and beyond them, and some side by side.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from demo_parts.sides import Kind, Side

STORES: Final = {"pg": Kind.POSTGRES, "my": Kind.MARIADB}
AUTHORITY: Final = "pg"
APPLICATION_EVERY: Final = 10
COLUMNS: Final = ("name", "price", "quantity", "paid", "bought_at")

_CHANGES: Final = (
    "name = concat(name, ' hidden')",
    "name = NULL",
    "price = price + 0.01",
    "quantity = quantity + 1",
    "paid = NOT paid",
    "bought_at = bought_at + interval '1' second",
)
_SIDE_BY_SIDE: Final = 4
_BEYOND: Final = 7
_HIDING: Final = {
    Kind.MARIADB: ("SET SESSION sql_log_bin = 0", "SET SESSION sql_log_bin = 1"),
    Kind.POSTGRES: (
        "ALTER PUBLICATION driftline_feed DROP TABLES IN SCHEMA public",
        "ALTER PUBLICATION driftline_feed ADD TABLES IN SCHEMA public",
    ),
}
_SEEN_AS: Final = {
    # As which drift a damage to the authority or to the replica is seen: of the authority, the replica shows what was.
    True: {"changed": "stale", "deleted": "extra", "inserted": "missing"},
    False: {"changed": "different", "deleted": "missing", "inserted": "extra"},
}


@dataclass(frozen=True, slots=True)
class Damage:
    """One row of one store. `what` is changed, deleted or inserted; `change` is SQL that sets a column."""

    store: str
    key: int
    what: str
    change: str = ""

    @property
    def seen_as(self) -> str:
        """The kind of drift that it must be told as."""
        return _SEEN_AS[self.store == AUTHORITY][self.what]

    def statement(self, table: str, rows: int) -> str:
        """Return it as SQL; an added row has the values of another."""
        if self.what == "deleted":
            return f"DELETE FROM {table} WHERE id = {self.key}"  # noqa: S608 - numbers and names of the drill
        if self.what == "changed":
            return f"UPDATE {table} SET {self.change} WHERE id = {self.key}"  # noqa: S608
        names = ", ".join(COLUMNS)
        # One of the application's, which are all there and as they were.
        model = key_of(abs(self.key) % (rows // APPLICATION_EVERY) * APPLICATION_EVERY + APPLICATION_EVERY // 2)
        return f"INSERT INTO {table} (id, {names}) SELECT {self.key}, {names} FROM {table} WHERE id = {model}"  # noqa: S608


def key_of(number: int) -> int:
    """Return the key of the n-th row, from 1 on: there is room for a row between any two."""
    return 2 * number


def is_the_applications(number: int) -> bool:
    """Whether the application writes the n-th row."""
    return number % APPLICATION_EVERY == APPLICATION_EVERY // 2


def damages_of(seed: int, rows: int, count: int) -> list[Damage]:
    """Return the damages of a seed to a table of so many rows."""
    chance = random.Random(seed)  # noqa: S311 - a drill's dice
    free = [n for n in range(2, rows) if not is_the_applications(n)]
    numbers = iter(chance.sample(free, count + 2 * _SIDE_BY_SIDE))
    taken: set[int] = set()
    made: list[Damage] = []
    for turn, store in enumerate(STORES):
        share = count // 2 + (count % 2 if turn == 0 else 0)
        first = chance.choice([n for n in free if n % APPLICATION_EVERY == APPLICATION_EVERY // 2 + 1])
        wanted = [
            Damage(store, key_of(1 + turn), "changed", _CHANGES[0]),
            Damage(store, key_of(rows - turn), "deleted"),
            Damage(store, -_BEYOND - turn, "inserted"),
            Damage(store, key_of(rows) + _BEYOND + turn, "inserted"),
            *(Damage(store, key_of(number), "deleted") for number in range(first, first + _SIDE_BY_SIDE)),
        ]
        for turn_of in range(share):
            number = next(numbers)
            what = ("changed", "changed", "deleted", "inserted")[turn_of % 4]
            key = key_of(number) + (what == "inserted")
            wanted.append(Damage(store, key, what, _CHANGES[turn_of % len(_CHANGES)] if what == "changed" else ""))
        fresh = [each for each in wanted if each.key not in taken][:share]
        taken.update(each.key for each in fresh)
        made += fresh
    return made


def hide(side: Side, statements: list[str]) -> None:
    """Run statements as the store's administrator, so that its log does not carry them; nothing else may write then."""
    begin, end = _HIDING[side.kind]
    side.run_all([begin, *statements, end])
